"""ViFi-CLIP: OpenAI's CLIP, frame by frame, the frames' features averaged. Also SKI-ViFiCLIP's deployed half.

Rasheed et al., "Fine-tuned CLIP Models are Efficient Video Learners" (CVPR 2023), section 3. SKI-ViFiCLIP
distils SkeletonCLIP into the same network, so at run time the two differ in weights only.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ski_edge.contracts import Contract, Preprocessing, TextContract, VideoContract
from ski_edge.errors import BadInput
from ski_edge.models.archs import clip_arch

_TOKENS, _LABELS = "token_embedding.weight", "label_embeddings"


class ViFiCLIPConfig(Contract):
    """Everything that turns weights into a recogniser; stored beside them as `config.json`."""

    model: Literal["vificlip", "ski-vificlip"] = "vificlip"
    arch: str = "ViT-B-16"
    activation: Literal["quickgelu", "gelu"] = "quickgelu"  # OpenAI's weights need QuickGELU; some open_clip tags GELU
    preprocessing: Preprocessing = Preprocessing()
    video: VideoContract = VideoContract()
    text: TextContract = TextContract()
    classes: tuple[str, ...] = ()  # names it was trained on, if known
    # Official checkpoints hold no token embedding: their text tower then cannot read new prompts, only the
    # embeddings of their own classes, kept as `label_embeddings`.
    reads_text: bool = True
    trained_logit_scale: bool = True  # False: SKI phase 2 has none; scores then use 100
    weights: str = "random"  # provenance, for people
    licence: str = "unknown"
    notes: tuple[str, ...] = Field(default=())  # what conversion dropped or assumed

    def for_arch(self) -> ViFiCLIPConfig:
        """This config with the crop of its arch (336 px towers resize to 384, in proportion)."""
        size = clip_arch(self.arch).image_size
        spec = self.preprocessing.model_copy(update={"crop": size, "resize_short": round(size * 256 / 224)})
        return self.model_copy(update={"preprocessing": spec})


class ViFiCLIP(nn.Module):
    """CLIP towers with ViFi-CLIP's video pooling. Frames arrive preprocessed (see `Preprocessing`)."""

    def __init__(self, config: ViFiCLIPConfig) -> None:
        super().__init__()
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # slow to import: torchvision and timm with it

        arch = clip_arch(config.arch)
        if config.preprocessing.crop != arch.image_size:
            raise BadInput(
                f"{config.arch} takes {arch.image_size} px frames, the config crops {config.preprocessing.crop}"
            )
        self.config = config
        self.clip = CLIP(
            arch.embed_dim,
            CLIPVisionCfg(
                image_size=arch.image_size,
                layers=arch.vision_layers,
                width=arch.vision_width,
                head_width=arch.vision_head_width,
                patch_size=arch.patch,
            ),
            CLIPTextCfg(
                context_length=arch.context_length,
                vocab_size=arch.vocab_size,
                width=arch.text_width,
                heads=arch.text_heads,
                layers=arch.text_layers,
            ),
            quick_gelu=config.activation == "quickgelu",
        )
        self.label_embeddings: Tensor | None
        fixed = None if config.reads_text else torch.zeros(len(config.classes), arch.embed_dim)
        self.register_buffer("label_embeddings", fixed)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """frames [B, 3, S, S] -> [B, D], before any normalisation."""
        return self.clip.encode_image(frames)

    def encode_video(self, frames: Tensor) -> Tensor:
        """frames [N, T, 3, S, S] -> [N, D], L2-normalised: mean over T of raw frame features, then one norm."""
        rows = self.encode_frames(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return F.normalize(rows.mean(dim=1), dim=-1)

    def encode_text(self, text: list[str] | Tensor) -> Tensor:
        """K prompts, used as they are, or tokens int64 [K, 77] -> [K, D], L2-normalised."""
        if not self.config.reads_text:
            raise BadInput(
                "these weights have no token embedding, so new prompts cannot be encoded (label_embeddings holds "
                "those of its classes); convert again with --set base=openclip:openai"
            )
        return self.clip.encode_text(tokenize(text) if isinstance(text, list) else text, normalize=True)

    def forward(self, video: Tensor, text: list[str] | Tensor) -> Tensor:
        """video [N, T, 3, S, S], K prompts or tokens -> logits [N, K] = exp(logit_scale) * cosine."""
        return self.clip.logit_scale.exp() * self.encode_video(video) @ self.encode_text(text).T

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Tensors by open_clip's names, minus a token embedding that is not real, plus fixed labels."""
        state = dict(self.clip.state_dict())
        if self.label_embeddings is not None:
            del state[_TOKENS]
            state[_LABELS] = self.label_embeddings
        return state

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Fill from `checkpoint_state`'s names (checked by the caller)."""
        if self.label_embeddings is not None:
            self.label_embeddings = state.pop(_LABELS)
        self.clip.load_state_dict(state, strict=self.label_embeddings is None)

    @property
    def score_scale(self) -> float:
        """What multiplies cosines before a softmax that people read; 100 (CLIP's) where none was trained."""
        return float(self.clip.logit_scale.detach().exp()) if self.config.trained_logit_scale else 100.0


def tokenize(prompts: list[str]) -> Tensor:
    """int64 [K, 77], by open_clip's tokenizer: the truth that a bundle's tokenizer.json is tested against."""
    from open_clip.tokenizer import tokenize as clip_tokenize

    return clip_tokenize(prompts)
