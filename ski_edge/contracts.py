"""What a video network expects of its input and how its scores are made.

The same objects sit in a checkpoint's config (torch side) and in a bundle's manifest (device side), so that no
field can be reworded on the way from one to the other.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)  # OpenAI's 0.48145466, 0.4578275, 0.40821073, times 255
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)  # 0.26862954, 0.26130258, 0.27577711, times 255


class Contract(BaseModel):
    """Frozen, and a key that is not known is an error: a typo must not become a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Preprocessing(Contract):
    """uint8 RGB frame [H, W, 3] -> float32 [3, crop, crop]: resize, centre crop, (pixel - mean) / std."""

    resize_short: int = Field(256, gt=0, le=4096)  # pixels; the short side after the resize, aspect kept
    crop: int = Field(224, gt=0, le=2048)  # pixels; square, centred
    interpolation: Literal["bilinear"] = "bilinear"  # OpenCV's, without antialiasing, as in ViFi-CLIP's test pipeline
    colour: Literal["RGB"] = "RGB"
    mean: tuple[float, float, float] = IMAGENET_MEAN  # 0-255 scale; ViFi-CLIP and SKI use ImageNet's, not CLIP's
    std: tuple[float, float, float] = IMAGENET_STD  # 0-255 scale

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(std) < 1e-3:
            raise ValueError(f"every std must be above 0 (at least 0.001), got {std}")
        return std

    @model_validator(mode="after")
    def _crop_fits(self) -> Preprocessing:
        if self.crop > self.resize_short:
            raise ValueError(f"crop {self.crop} is larger than the resized short side {self.resize_short}")
        return self


class VideoContract(Contract):
    """How frames become a video embedding."""

    # frame: frames are encoded one by one, nothing mixes them inside the network; clip: the network sees them together
    mode: Literal["frame", "clip"] = "frame"
    # mean-then-norm: mean of raw frame embeddings, then one L2 norm (ViFi-CLIP); norm-then-mean: mean of the frames'
    # scores (FROSTER); joint: the label's embedding depends on the video (X-CLIP)
    pooling: Literal["mean-then-norm", "norm-then-mean", "joint"] = "mean-then-norm"
    window_frames: int = Field(16, gt=0, le=1024)  # frames in a clip, in training and in the stream
    window_s: float = Field(4.0, ge=0.1, le=3600)  # seconds a streaming window spans; NTU actions last 2 to 5

    @property
    def period_s(self) -> float:
        """Seconds between two frames of a full window."""
        return self.window_s / self.window_frames

    @property
    def raw_text(self) -> bool:
        """Whether labels are wanted as the text tower gives them, not L2-normalised: where the video rewrites them."""
        return self.pooling == "joint"


class TextContract(Contract):
    """How a label becomes a text embedding."""

    template: str = "a photo of a {}."  # with the final period: ViFi-CLIP and SKI train with it
    context_length: int = Field(77, gt=2, le=1024)

    @field_validator("template")
    @classmethod
    def _one_slot(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError(f"the template needs exactly one {{}} for the label, got {template!r}")
        return template
