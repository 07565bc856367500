"""SkeletonCLIP: a skeleton network whose output lies in the space of a text encoder. SKI's teacher, stage 1.

Sinha et al., "SKI Models: Skeleton Induced Vision-Language Embeddings for Understanding Activities of Daily Living"
(AAAI 2025), eq. 1. The network's last layer gives the embedding; the text encoder is CLIP's text tower, or lives
outside (class embeddings of a frozen sentence encoder).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, SerializeAsAny, field_validator, model_validator
from torch import Tensor, nn

from ski_edge.contracts import Contract, TextContract
from ski_edge.errors import BadInput
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import exact, products, tokenize
from ski_edge.models.pose import PoseConfig, PoseNetwork
from ski_edge.models.registry import entry

_TOKENS = "text.token_embedding.weight"


class SkeletonCLIPConfig(Contract):
    """`backbone` is a pose network's config (its num_classes is the embedding's size), or its name beside `layout`."""

    model: Literal["skeletonclip"] = "skeletonclip"
    backbone: SerializeAsAny[PoseConfig]
    text_arch: str | None = "ViT-B-16"  # sizes of the text tower; None: label embeddings come from outside
    text: TextContract = TextContract()
    # Paper, eq. 1: cosine over a temperature. Official code: the skeleton's vector as it is, no temperature.
    skeleton_norm: bool = True
    temperature: Literal["learned", "none"] = "learned"
    classes: tuple[str, ...] = ()  # names it was trained on, if known
    reads_text: bool = True  # False: labels are `label_embeddings` alone
    sentence_encoder: bool = False  # trained with the frozen sentence encoder, which can read for it
    weights: str = "random"  # provenance, for people
    licence: str = "unknown"
    notes: tuple[str, ...] = Field(default=())

    @model_validator(mode="before")
    @classmethod
    def _backbone_by_name(cls, fields: Any) -> Any:
        """`backbone="ctrgcn", arch="tiny", layout="utd20", embed_dim=384` stands for the nested config."""
        if not isinstance(fields, dict):
            return fields
        fields = dict(fields)
        short = {key: fields.pop(key) for key in ("arch", "layout", "skeleton", "embed_dim") if key in fields}
        backbone = fields.get("backbone", "hyperformer")
        if isinstance(backbone, str):
            text_arch = fields.get("text_arch", "ViT-B-16")
            default = clip_arch(text_arch).embed_dim if text_arch else 512
            dim = short.pop("embed_dim", default)
            fields["backbone"] = {"model": backbone, "num_classes": dim, **short}
        elif short:
            raise ValueError(f"{', '.join(short)}: write it inside backbone, or give backbone as a name")
        return fields

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_of_its_class(cls, value: Any) -> Any:
        if isinstance(value, PoseConfig):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("model"), str):
            raise ValueError("backbone must be a skeleton network's name or its config")
        try:
            found = entry(value["model"])
        except BadInput as error:
            raise ValueError(str(error)) from error
        if found.task != "skeleton":
            raise ValueError(f"backbone {value['model']!r} is no skeleton network")
        return found.config_class.model_validate(value)

    @model_validator(mode="after")
    def _spaces_meet(self) -> SkeletonCLIPConfig:
        if self.text_arch is not None and clip_arch(self.text_arch).embed_dim != self.embed_dim:
            raise ValueError(
                f"the skeleton's embedding has {self.embed_dim} numbers, the text tower's "
                f"{clip_arch(self.text_arch).embed_dim}"
            )
        if self.text_arch is None and self.reads_text:
            raise ValueError("without a text tower (text_arch: null) reads_text must be false")
        return self

    @property
    def embed_dim(self) -> int:
        return self.backbone.num_classes

    @property
    def arch(self) -> str:
        return self.backbone.arch


class SkeletonCLIP(nn.Module):
    """clip [N, 3, T, V, M] and text -> logits [N, K]."""

    def __init__(self, config: SkeletonCLIPConfig) -> None:
        super().__init__()
        self.config = config
        network = entry(config.backbone.model).model_class
        self.skeleton: PoseNetwork = network(config.backbone)  # its head is SKI's fc2, initialised as there
        self.text = text_tower(config.text_arch) if config.text_arch is not None else None
        self.log_scale: nn.Parameter | None = None
        if config.temperature == "learned":
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's start
        self.label_embeddings: Tensor | None
        fixed = None if config.reads_text else torch.zeros(len(config.classes), config.embed_dim)
        self.register_buffer("label_embeddings", fixed)

    def encode_skeleton(self, clip: Tensor) -> Tensor:
        """[N, 3, T, V, M] -> [N, D]; L2-normalised if the config says so."""
        embedding = exact(self.skeleton(clip))
        return F.normalize(embedding, dim=-1) if self.config.skeleton_norm else embedding

    def encode_text(self, text: list[str] | Tensor) -> Tensor:
        """K prompts, used as they are, or tokens int64 [K, L] -> [K, D], L2-normalised."""
        if self.text is None or not self.config.reads_text:
            raise BadInput(
                "this skeletonclip cannot encode new prompts (no text tower, or no token embedding); "
                "label_embeddings holds its own classes"
            )
        tokens = tokenize(text, self.config.text_arch) if isinstance(text, list) else text
        return F.normalize(self.text(tokens), dim=-1)

    def compare(self, clip: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """clip [N, 3, T, V, M], text features [K, D] -> (embedding [N, D], its products with the texts [N, K])."""
        skeleton = self.encode_skeleton(clip)
        return skeleton, products(skeleton, text)

    def forward(self, clip: Tensor, text: list[str] | Tensor) -> Tensor:
        """Logits [N, K]: the products over the temperature, if there is one."""
        return self.scale * self.compare(clip, self.encode_text(text))[1]

    @property
    def scale(self) -> Tensor | float:
        """What multiplies similarities in the loss; 1 where the config has no temperature."""
        return self.log_scale.exp() if self.log_scale is not None else 1.0

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Tensors minus step counters and minus a token embedding that is not real."""
        state = {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}
        if self.label_embeddings is not None:
            state.pop(_TOKENS, None)
        return state

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Fill from `checkpoint_state`'s names (checked by the caller)."""
        self.load_state_dict(state, strict=False)


def text_tower(arch_name: str, quick_gelu: bool = True) -> nn.Module:
    """CLIP's text tower by itself: tokens int64 [K, L] -> features [K, D], names as in open_clip's `text.`."""
    from open_clip.transformer import QuickGELU, TextTransformer

    arch = clip_arch(arch_name)
    return TextTransformer(
        context_length=arch.context_length,
        vocab_size=arch.vocab_size,
        width=arch.text_width,
        heads=arch.text_heads,
        layers=arch.text_layers,
        output_dim=arch.embed_dim,
        act_layer=QuickGELU if quick_gelu else nn.GELU,
    )
