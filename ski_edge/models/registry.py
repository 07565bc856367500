"""Names of models, as users type them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a model lives; imported on first use, because the video towers bring open_clip with them."""

    module: str  # below ski_edge.models
    class_name: str  # its config is class_name + "Config"
    task: str  # "video-text", "skeleton" or "skeleton-text"

    @property
    def model_class(self) -> type[nn.Module]:
        return getattr(importlib.import_module(f"ski_edge.models.{self.module}"), self.class_name)

    @property
    def config_class(self) -> type[Contract]:
        return getattr(importlib.import_module(f"ski_edge.models.{self.module}"), f"{self.class_name}Config")


REGISTRY = {
    "vificlip": Entry("vificlip", "ViFiCLIP", "video-text"),
    "ski-vificlip": Entry("vificlip", "ViFiCLIP", "video-text"),
    "xclip": Entry("xclip", "XCLIP", "video-text"),
    "ski-xclip": Entry("xclip", "XCLIP", "video-text"),
    "froster": Entry("froster", "FROSTER", "video-text"),
    "ski-froster": Entry("froster", "FROSTER", "video-text"),
    "skeletonclip": Entry("skeletonclip", "SkeletonCLIP", "skeleton-text"),
    "ctrgcn": Entry("ctrgcn", "CTRGCN", "skeleton"),
    "ctrsgcn": Entry("ctrsgcn", "CTRSGCN", "skeleton"),
    "hdgcn": Entry("hdgcn", "HDGCN", "skeleton"),
    "stgcn": Entry("stgcn", "STGCN", "skeleton"),
    "hyperformer": Entry("hyperformer", "Hyperformer", "skeleton"),
}


def entry(name: object) -> Entry:
    """The registered model called `name`, or an error that lists the choices."""
    if name not in REGISTRY:
        raise BadInput(f"model {name!r} is not known; the choices are: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def create_model(name: str, *, seed: int | None = None, **config: Any) -> nn.Module:
    """A registered model with random weights, in eval mode.

    config: fields of the model's config class (`arch="ViT-B-32"`, `num_classes=60, layout="ntu25"`, ...), checked
    there; seed makes the weights reproducible without touching the caller's random state.
    """
    parsed = parse_config(entry(name).config_class, {"model": name, **config}, f"model {name}")
    if hasattr(parsed, "for_arch") and "preprocessing" not in config:
        parsed = parsed.for_arch()
    return build(parsed, seed)


def build(config: Any, seed: int | None = None) -> nn.Module:
    """The module a config describes, randomly initialised, in eval mode."""
    model_class = entry(config.model).model_class
    if seed is None:
        return model_class(config).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config).eval()


def parse_config(config_class: type[Contract], fields: dict[str, Any], where: str) -> Any:
    """Validate config fields; the first thing wrong becomes one line."""
    try:
        return config_class.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # a rule about several fields, whose message has the values
            raise BadInput(f"{where}: {message}") from error
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{where}: {field}: {message} (got {str(first['input'])[:60]!r})") from error
