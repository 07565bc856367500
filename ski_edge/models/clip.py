"""What all video-text models share: CLIP's two towers, their config, their checkpoint, and text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from importlib.resources import as_file, files
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ski_edge.bundle.tokenizer import WORDS, ClipTokenizer
from ski_edge.contracts import Contract, Preprocessing, TextContract, VideoContract
from ski_edge.errors import BadInput
from ski_edge.models.archs import clip_arch
from ski_edge.models.stem import ConvStem

_TOKENS = "token_embedding.weight"


def exact(x: Tensor) -> Tensor:
    """float32 of what mixed precision left in sixteen bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def products(rows: Tensor, text: Tensor) -> Tensor:
    """rows [N, D], texts [K, D] (or [N, K, D], read anew by each row), any length -> rows @ normalised texts, [N, K].

    float32 in mixed precision, too: a temperature stretches cosines by up to 100, and bfloat16 would leave them two to
    three digits.
    """
    rows, text = exact(rows), F.normalize(exact(text), dim=-1)
    # No context where nothing is cast: exporters would write it into the graph
    mixed = torch.is_autocast_enabled(rows.device.type)
    with torch.autocast(rows.device.type, enabled=False) if mixed else nullcontext():
        return rows @ text.T if text.ndim == 2 else (text @ rows.unsqueeze(2)).squeeze(2)


def mean_of_prompts(features: Tensor) -> Tensor:
    """[K, P, D] -> [K, D]: the mean of each class's normalised sentences; a single one stays as it is."""
    return features.squeeze(1) if features.shape[1] == 1 else F.normalize(features, dim=-1).mean(dim=1)


class ClipConfig(Contract):
    """Everything that turns weights into a recogniser; stored beside them as `config.json`."""

    model: str
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

    @model_validator(mode="before")
    @classmethod
    def _own_video(cls, fields: Any) -> Any:
        """Mode and pooling are the network's own: a config that says only `window_frames` leaves them as they are."""
        if isinstance(fields, dict) and isinstance(fields.get("video"), dict):
            return {**fields, "video": {**cls.model_fields["video"].default.model_dump(), **fields["video"]}}
        return fields

    @model_validator(mode="after")
    def _video_is_what_the_network_does(self) -> ClipConfig:
        own = type(self).model_fields["video"].default
        if (self.video.mode, self.video.pooling) != (own.mode, own.pooling):
            raise ValueError(f"{self.model} is {own.mode}, {own.pooling}; got {self.video.mode}, {self.video.pooling}")
        return self

    def for_arch(self) -> ClipConfig:
        """This config with the crop and the context of its arch.

        The resize keeps its proportion to the crop: 384 for the 336 px towers, as 256 for 224.
        """
        arch, default = clip_arch(self.arch), self.preprocessing
        short = round(arch.image_size * default.resize_short / default.crop)
        spec = default.model_copy(update={"crop": arch.image_size, "resize_short": short})
        text = self.text.model_copy(update={"context_length": arch.context_length})
        return self.model_copy(update={"preprocessing": spec, "text": text})


class ClipModel(nn.Module):
    """CLIP's towers. Frames arrive preprocessed (see `Preprocessing`); subclasses say how frames become a video."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # slow to import: torchvision and timm with it

        arch = clip_arch(config.arch)
        if config.preprocessing.crop != arch.image_size:
            raise BadInput(
                f"{config.arch} takes {arch.image_size} px frames, the config crops {config.preprocessing.crop}"
            )
        if config.text.context_length > arch.context_length:
            raise BadInput(
                f"{config.arch} reads at most {arch.context_length} tokens, the config's text.context_length is "
                f"{config.text.context_length}"
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
        if arch.conv_stem:
            self.clip.visual.conv1 = ConvStem(arch.vision_width, arch.patch)
        self.label_embeddings: Tensor | None
        fixed = None if config.reads_text else torch.zeros(len(config.classes), arch.embed_dim)
        self.register_buffer("label_embeddings", fixed)

    def forward(self, video: Tensor, text: list[str] | Tensor) -> Tensor:
        """video [N, T, 3, S, S], K prompts or tokens -> logits [N, K] = exp(logit_scale) * cosine."""
        return self.clip.logit_scale.exp() * self.compare(video, self.text_features(text))[1]

    def compare(self, frames: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """frames [N, T, 3, S, S], text features [K, D], not normalised -> (video embedding [N, D], cosines [N, K])."""
        raise NotImplementedError

    def encode_text(self, text: list[str] | Tensor) -> Tensor:
        """K prompts, used as they are, or tokens int64 [K, L] of the arch's context -> [K, D], L2-normalised."""
        return F.normalize(self.text_features(text), dim=-1)

    def text_features(self, text: list[str] | Tensor) -> Tensor:
        """`encode_text` before the normalisation."""
        if not self.config.reads_text:
            raise BadInput(
                "these weights have no token embedding, so new prompts cannot be encoded (label_embeddings holds "
                "those of its classes); convert again with --set base=openclip:openai"
            )
        return self.clip.encode_text(tokenize(text, self.config.arch) if isinstance(text, list) else text)

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Tensors by open_clip's names (and the model's own), minus a token embedding that is not real."""
        state = {
            name.removeprefix("clip."): tensor
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        if self.label_embeddings is not None:
            del state[_TOKENS]
        return state

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Fill from `checkpoint_state`'s names (checked by the caller)."""
        own = self.state_dict().keys()
        named = {name if name in own else f"clip.{name}": tensor for name, tensor in state.items()}
        self.load_state_dict(named, strict=False)  # step counters are not stored

    @property
    def score_scale(self) -> float:
        """What multiplies cosines before a softmax that people read; 100 (CLIP's) where none was trained."""
        return float(self.clip.logit_scale.detach().exp()) if self.config.trained_logit_scale else 100.0


def tokenize(prompts: list[str], arch: str = "ViT-B-16") -> Tensor:
    """int64 [K, L], L the context length of the arch, padded with 0.

    CLIP's ids come from open_clip's tokenizer: the truth that a bundle's tokenizer.json is tested against. The small
    vocabulary has one implementation, the device's.
    """
    sizes = clip_arch(arch)
    if sizes.tokenizer == "clip":
        from open_clip.tokenizer import tokenize as clip_tokenize

        return clip_tokenize(prompts)
    ids = torch.from_numpy(_words_tokenizer(sizes.context_length).encode(prompts))
    return F.pad(ids, (0, sizes.context_length - ids.shape[1]))


@functools.lru_cache
def _words_tokenizer(context_length: int) -> ClipTokenizer:
    with as_file(files("ski_edge.bundle") / WORDS) as path:
        return ClipTokenizer(path, context_length)


# Attention with the weights of `nn.MultiheadAttention`, in two steps, so that models can change what lies between.


def project(attention: nn.MultiheadAttention, x: Tensor, queries: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """x [B, L, W] -> queries [B, queries or L, W] of the first tokens, keys and values [B, L, W]."""
    width, weight, bias = attention.embed_dim, attention.in_proj_weight, attention.in_proj_bias
    if queries is None:
        return F.linear(x, weight, bias).chunk(3, dim=-1)
    q = F.linear(x[:, :queries], weight[:width], bias[:width])
    return (q, *F.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1))


def attend(attention: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Projected [B, Lq, W], [B, Lk, W], [B, Lk, W] -> [B, Lq, W]."""
    q, k, v = (z.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for z in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.out_proj(out.transpose(1, 2).flatten(2))


def run_block(visual: nn.Module, block: Callable[..., Tensor], *arguments: object) -> Tensor:
    """`block(*arguments)`; where `set_grad_checkpointing` asks for it, its activations are computed twice."""
    if visual.transformer.grad_checkpointing:
        return checkpoint(block, *arguments, use_reentrant=False)
    return block(*arguments)


def embed_patches(visual: nn.Module, frames: Tensor) -> Tensor:
    """frames [B, 3, S, S] -> [B, 1 + patches, W]: class token first, positions added, normalised; before block 1."""
    patches = visual.conv1(frames).flatten(2).transpose(1, 2)
    token = visual.class_embedding.expand(frames.shape[0], 1, -1)
    return visual.ln_pre(torch.cat([token, patches], dim=1) + visual.positional_embedding)
