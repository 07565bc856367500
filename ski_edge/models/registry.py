"""Names of models, as users type them."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError

from ski_edge.errors import BadInput
from ski_edge.models.vificlip import ViFiCLIP, ViFiCLIPConfig

REGISTRY: dict[str, tuple[type[ViFiCLIPConfig], type[ViFiCLIP]]] = {
    "vificlip": (ViFiCLIPConfig, ViFiCLIP),
    "ski-vificlip": (ViFiCLIPConfig, ViFiCLIP),
}


def create_model(name: str, *, seed: int | None = None, **config: Any) -> ViFiCLIP:
    """A registered model with random weights, in eval mode.

    config: fields of the model's config class (`arch="ViT-B-32"`, ...), checked there; seed makes the weights
    reproducible without touching the caller's random state.
    """
    if name not in REGISTRY:
        raise BadInput(f"model {name!r} is not known; the choices are: {', '.join(REGISTRY)}")
    config_class, model_class = REGISTRY[name]
    parsed = parse_config(config_class, {"model": name, **config}, f"model {name}")
    if "preprocessing" not in config:
        parsed = parsed.for_arch()
    return build(parsed, model_class, seed)


def build(config: ViFiCLIPConfig, model_class: type[ViFiCLIP] = ViFiCLIP, seed: int | None = None) -> ViFiCLIP:
    """The module a config describes, randomly initialised, in eval mode."""
    if seed is None:
        return model_class(config).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config).eval()


def parse_config(config_class: type[ViFiCLIPConfig], fields: dict[str, Any], where: str) -> ViFiCLIPConfig:
    """Validate config fields; the first thing wrong becomes one line."""
    try:
        return config_class.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{where}: {field}: {first['msg']} (got {str(first['input'])[:60]!r})") from error
