"""What all skeleton networks share: config, input normalisation, bodies as samples, pooling and head."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from ski_edge.contracts import Contract
from ski_edge.skeleton import SkeletonInput, get_layout

PoseArch = Literal["base", "small", "tiny"]


class PoseConfig(Contract):
    """Fields every skeleton network has; models add their own."""

    model: str
    arch: PoseArch = "base"  # base: the original's width; small: half; tiny: a quarter, for tests and first steps
    num_classes: int = Field(gt=0, le=100_000)
    classes: tuple[str, ...] = ()  # names, in the order of the logits; empty: class_0, class_1, ...
    skeleton: SkeletonInput
    dropout: float = Field(0.0, ge=0, lt=1)  # before the head
    weights: str = "random"  # provenance, for the manifest
    licence: str = "Apache-2.0"
    notes: tuple[str, ...] = ()  # what conversion dropped and assumed

    @model_validator(mode="before")
    @classmethod
    def _layout_alone(cls, fields: Any) -> Any:
        """`layout="ntu25"` stands for a SkeletonInput with that layout; `classes` alone gives their number."""
        if not isinstance(fields, dict):
            return fields
        fields = dict(fields)
        if "layout" in fields:
            spec = fields.get("skeleton") or {}
            spec = spec.model_dump() if isinstance(spec, SkeletonInput) else dict(spec)
            fields["skeleton"] = {**spec, "layout": get_layout(fields.pop("layout"))}
        if fields.get("classes") and "num_classes" not in fields:
            fields["num_classes"] = len(fields["classes"])
        return fields

    @model_validator(mode="after")
    def _names_fit(self) -> PoseConfig:
        if self.classes and len(self.classes) != self.num_classes:
            raise ValueError(f"{len(self.classes)} class names for {self.num_classes} classes")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or tuple(f"class_{i}" for i in range(self.num_classes))


class PoseNetwork(nn.Module):
    """clip [N, 3, T, V, M] -> logits [N, K]. Subclasses set `trunk` and `feature_dim` through `__init__`.

    Bodies go through the trunk as samples of their own and are averaged; an all-zero body is averaged in as well,
    as in all the original codes.
    """

    def __init__(self, config: PoseConfig, trunk: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        spec = config.skeleton
        self.input_norm = nn.BatchNorm1d(spec.persons * spec.layout.num_joints * 3)
        self.trunk = trunk
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(feature_dim, config.num_classes)
        nn.init.normal_(self.head.weight, 0, math.sqrt(2 / config.num_classes))

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(clip)))

    def features(self, clip: Tensor) -> Tensor:
        """[N, 3, T, V, M] -> [N, D]: trunk output averaged over time, joints, then bodies."""
        people = clip.shape[4]
        x = self.trunk(self.normalise(clip))
        return x.mean(dim=(2, 3)).unflatten(0, (-1, people)).mean(dim=1)

    def normalise(self, clip: Tensor) -> Tensor:
        """[N, 3, T, V, M] -> [N*M, 3, T, V]: BatchNorm with statistics per body, joint and coordinate."""
        n, c, t, v, m = clip.shape
        x = clip.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t)
        x = self.input_norm(x).view(n, m, v, c, t)
        return x.permute(0, 1, 3, 4, 2).reshape(n * m, c, t, v)


def conv1x1(
    inputs: int, outputs: int, stride: int = 1, bias: bool = True, parts: int = 1, groups: int = 1
) -> nn.Conv2d:
    """1x1 convolution over [N, C, T, V]; the stride is along time. He initialisation, bias 0.

    parts: how many convolutions of an original it stands for, side by side; each keeps its own fan-out.
    """
    return he_init(nn.Conv2d(inputs, outputs, 1, stride=(stride, 1), bias=bias, groups=groups), parts)


def he_init(conv: nn.Conv2d, parts: int = 1) -> nn.Conv2d:
    """Kaiming normal by fan-out (of each part), bias 0."""
    taps = conv.kernel_size[0] * conv.kernel_size[1]
    nn.init.normal_(conv.weight, 0, math.sqrt(2 * parts / (conv.out_channels * taps)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class ConvNorm(nn.Module):
    """1x1 convolution and BatchNorm: the projection of a shortcut whose width or frame rate changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv1x1(inputs, outputs, stride)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class SpatialTemporalBlock(nn.Module):
    """relu(temporal(spatial(x)) + skip(x)), [N, C, T, V] -> [N, C', T', V]: the block of every network here."""

    def __init__(
        self, spatial: nn.Module, temporal: nn.Module, inputs: int, outputs: int, stride: int, residual: bool = True
    ) -> None:
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.residual = residual
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same or not residual else ConvNorm(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.temporal(self.spatial(x))
        return (y + self.skip(x)).relu() if self.residual else y.relu()


def trunk_widths(base: int, inputs: int = 3) -> list[tuple[int, int, int]]:
    """(inputs, outputs, stride) of the ten blocks: three widths, time halved at the fifth and the eighth."""
    widths = [base] * 4 + [2 * base] * 3 + [4 * base] * 3
    strides = [2 if i in (4, 7) else 1 for i in range(10)]
    return list(zip([inputs, *widths[:-1]], widths, strides, strict=True))


BASE_WIDTH = {"base": 64, "small": 32, "tiny": 16}
