"""Sizes of the CLIP towers, by name. All are QuickGELU unless a checkpoint says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from ski_edge.errors import BadInput


@dataclass(frozen=True, slots=True)
class ClipArch:
    """One pair of towers."""

    image_size: int  # pixels
    patch: int  # pixels
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    text_heads: int
    embed_dim: int
    vision_head_width: int = 64
    vocab_size: int = 49408
    context_length: int = 77


ARCHS = {
    "ViT-B-16": ClipArch(224, 16, 768, 12, 512, 12, 8, 512),
    "ViT-B-32": ClipArch(224, 32, 768, 12, 512, 12, 8, 512),
    "ViT-L-14": ClipArch(224, 14, 1024, 24, 768, 12, 12, 768),
    "ViT-L-14-336": ClipArch(336, 14, 1024, 24, 768, 12, 12, 768),
    # Trains and exports in seconds on a CPU: for tests, the demo and first steps. Not a model to deploy.
    "tiny": ClipArch(224, 32, 128, 3, 64, 2, 1, 64),
}


def clip_arch(name: str) -> ClipArch:
    """The towers called `name`, or an error that lists the choices."""
    if name not in ARCHS:
        raise BadInput(f"arch {name!r} is not known; the choices are: {', '.join(ARCHS)}")
    return ARCHS[name]
