"""Sizes of the CLIP towers, by name. All are QuickGELU unless a checkpoint says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    tokenizer: Literal["clip", "words"] = "clip"  # words: ski_edge/bundle/words.json
    conv_stem: bool = False  # small convolutions before the transformer instead of one patch projection


# Sizes that open_clip has weights for.
OPEN_CLIP = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336")
ARCHS = {
    "ViT-B-16": ClipArch(224, 16, 768, 12, 512, 12, 8, 512),
    "ViT-B-32": ClipArch(224, 32, 768, 12, 512, 12, 8, 512),
    "ViT-L-14": ClipArch(224, 14, 1024, 24, 768, 12, 12, 768),
    "ViT-L-14-336": ClipArch(336, 14, 1024, 24, 768, 12, 12, 768),
    # Trains and exports in seconds on a CPU: for tests, the demo and first steps. Not a model to deploy.
    "tiny": ClipArch(224, 32, 128, 3, 64, 2, 1, 64),
    # 1.8 M parameters with both towers: trains on a CPU, travels in 8 MB. Its text tower is distilled from the sentence
    # encoder (hence 384 numbers) and has a small vocabulary of its own: CLIP's alone would be 6.3 M parameters.
    "mini": ClipArch(
        112, 16, 128, 2, 128, 2, 4, 384, 32, vocab_size=3456, context_length=32, tokenizer="words", conv_stem=True
    ),
}


def clip_arch(name: str) -> ClipArch:
    """The towers called `name`, or an error that lists the choices."""
    if name not in ARCHS:
        raise BadInput(f"arch {name!r} is not known; the choices are: {', '.join(ARCHS)}")
    return ARCHS[name]
