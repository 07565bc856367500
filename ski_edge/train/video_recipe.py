"""How clips become batches of pixels: frames, crops, colours, mixing. Part of the recipe of a video-text model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ski_edge.contracts import Contract, Preprocessing


class VideoRecipe(Contract):
    """The defaults are those of ViFi-CLIP, X-CLIP and SKI. Labels are mixed with the pixels."""

    frames: int = Field(16, gt=0, le=1024)  # of a clip that the network sees
    sampling: Literal["segments", "stride"] = "segments"  # one frame of each equal part; or every rate-th of a stretch
    rate: int = Field(16, gt=0, le=10_000)  # stride: frames of the video per frame of the clip
    preprocessing: Preprocessing = Preprocessing()  # also the test pipeline, and what the checkpoint will say

    # Training crops. multi-scale: boxes of several shapes; jitter: squares at several scales; centre: the test's
    crop: Literal["multi-scale", "jitter", "centre"] = "multi-scale"
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)  # multi-scale: sides of the box, in short sides
    scale_gap: int = Field(1, ge=0)  # multi-scale: by how many places in `scales` height and width may differ
    jitter_short: tuple[int, int] = (224, 256)  # jitter: the short side is drawn from these, in pixels
    flip: float = Field(0.5, ge=0, le=1)  # chance of a mirrored clip; 0 where a class says left or right

    # Colours, per frame anew as in the originals
    colour_jitter: float = Field(0.8, ge=0, le=1)  # chance that a clip's colours are changed
    brightness: float = Field(0.4, ge=0, le=1)  # each factor is drawn from 1 - x to 1 + x
    contrast: float = Field(0.4, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    hue: float = Field(0.1, ge=0, le=0.5)  # turns of the colour circle, either way
    grey: float = Field(0.2, ge=0, le=1)  # chance of a clip without colours

    # Mixing of two clips of a batch, and of their labels; an alpha of 0 switches its kind off
    mixup_alpha: float = Field(0.8, ge=0)  # both frames see-through: Beta(alpha, alpha)
    cutmix_alpha: float = Field(1.0, ge=0)  # a box of one in the other
    switch_prob: float = Field(0.5, ge=0, le=1)  # chance of cutmix where both are on

    workers: int = Field(4, ge=0, le=256)  # threads that decode and crop; 0: in the training's own thread
    # Folder for decoded frames, so that the second epoch decodes nothing. Same pixels, but for crop: jitter, which then
    # resizes frames that were resized before
    cache: Path | None = None
    cache_gb: float = Field(50.0, gt=0)  # clips beyond this size are decoded every time

    @model_validator(mode="after")
    def _crops_fit(self) -> VideoRecipe:
        low, high = self.jitter_short
        if self.crop == "jitter" and not self.preprocessing.crop <= low <= high:
            raise ValueError(
                f"jitter_short must be ascending and at least the crop of {self.preprocessing.crop}, got {low}, {high}"
            )
        if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
            raise ValueError(f"scales must be above 0 and at most 1, got {self.scales}")
        return self
