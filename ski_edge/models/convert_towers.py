"""What official files tell of CLIP's towers: their size, and prompts that stand for a token embedding.

ViFi-CLIP and SKI store the token embeddings of their prompts (already looked up) instead of the embedding table.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.models.archs import ARCHS, ClipArch
from ski_edge.models.checkpoint import state_of

PROMPTS = "prompt_learner.complete_text_embeddings"


def match_arch(tensors: dict[str, Tensor], where: str) -> str:
    """The arch whose sizes these CLIP tensors have."""
    width, _, patch, _ = _shape(tensors, "visual.conv1.weight", 4, where)
    found = {
        "patch": patch,
        "vision_width": width,
        **_text_sizes(tensors, where),
        "embed_dim": _shape(tensors, "visual.proj", 2, where)[1],
        "vision_layers": _layers(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
        "image_size": round((_shape(tensors, "visual.positional_embedding", 2, where)[0] - 1) ** 0.5) * patch,
    }
    return _nearest(found, where)


def match_text_arch(tensors: dict[str, Tensor], where: str) -> str:
    """The first arch whose text tower has the sizes of these tensors (several share one)."""
    return _nearest(_text_sizes(tensors, where), where)


def _text_sizes(tensors: dict[str, Tensor], where: str) -> dict[str, int]:
    width, embed_dim = _shape(tensors, "text_projection", 2, where)
    return {
        "embed_dim": embed_dim,
        "text_width": width,
        "context_length": _shape(tensors, "positional_embedding", 2, where)[0],
        "text_layers": _layers(tensors, r"transformer\.resblocks\.(\d+)\."),
    }


def _nearest(found: dict[str, int], where: str) -> str:
    def off(arch: ClipArch) -> list[str]:
        return [f"{k} {v} (not {getattr(arch, k)})" for k, v in found.items() if getattr(arch, k) != v]

    name = min(ARCHS, key=lambda name: len(off(ARCHS[name])))
    if wrong := off(ARCHS[name]):
        raise BadInput(f"{where}: towers of an unknown size; nearest is {name}, but it has {', '.join(wrong)}")
    return name


def _shape(tensors: dict[str, Tensor], name: str, axes: int, where: str) -> torch.Size:
    if name not in tensors or tensors[name].ndim != axes or 0 in tensors[name].shape:
        got = list(tensors[name].shape) if name in tensors else "missing"
        raise BadInput(f"{where}: {name} is {got}, expected {axes} axes; the size of the towers is unknown")
    return tensors[name].shape


def _layers(tensors: dict[str, Tensor], pattern: str) -> int:
    return 1 + max((int(m[1]) for m in (re.match(pattern, name) for name in tensors) if m), default=-1)


def base_embedding(spec: str) -> Tensor:
    """The token embedding of other weights, through fp16 as in the official code (it stores prompts so)."""
    from ski_edge.models.weights import resolve_weights

    base = resolve_weights("vificlip", spec, arch=None)
    if not base.config.reads_text:
        raise BadInput(f"--set base={spec} has no token embedding itself; use openclip:openai or its file")
    return state_of(base)["token_embedding.weight"].half().float()


def stored_prompts(
    tensors: dict[str, Tensor], classes: tuple[str, ...] | None, notes: list[str], where: str
) -> tuple[tuple[str, ...], Tensor]:
    """(class names, looked-up prompt embeddings [K, L, width]): what is left without token embedding and base."""
    prompts = tensors.get(PROMPTS)
    if prompts is None or prompts.ndim != 3:
        raise BadInput(
            f"{where} has no token embedding and no {PROMPTS}, so no label can be encoded; "
            "convert again with --set base=openclip:openai"
        )
    if classes is not None and len(classes) != len(prompts):
        raise BadInput(f"{where} holds prompts of {len(prompts)} classes, --set classes gives {len(classes)} names")
    names = classes or tuple(f"class_{i}" for i in range(len(prompts)))
    notes.append(
        f"no token embedding: labels are fixed to the checkpoint's {len(names)} classes"
        + ("" if classes else ", named class_0...; name them with --set classes=FILE")
        + "; for new labels convert with --set base=openclip:openai"
    )
    return names, prompts.float()


@torch.no_grad()
def encode_prompts(tower: nn.Module, prompts: Tensor, where: str) -> Tensor:
    """Looked-up prompt embeddings [K, L, width] -> label embeddings [K, D], L2-normalised.

    tower: open_clip's CLIP or its text tower alone. The token ids are gone, but a prompt ends with the end token and is
    filled up with token 0: the end token is the row before the run of equal rows that closes the prompt. Prompts with
    no room for such a run are read with the end token of the others.
    """
    if prompts.shape[1:] != tower.positional_embedding.shape:
        raise BadInput(f"{where}: {PROMPTS} is {list(prompts.shape)}, expected [K, {tower.positional_embedding.shape}]")
    equal_last = (prompts == prompts[:, -1:]).all(dim=-1)
    padding = equal_last.flip(1).long().cumprod(dim=1).sum(dim=1)  # length of the closing run; 1 may be no padding
    padded = padding > 1
    end = prompts.shape[1] - 1 - padding
    token = prompts[padded.nonzero()[0, 0], end[padded.nonzero()[0, 0]]] if padded.any() else None
    if token is not None:
        end = torch.where(padded, end, prompts.shape[1] - 1 - (~(prompts[:, -1] == token).all(dim=-1)).long())
    rows = prompts[torch.arange(len(prompts)), end]
    if token is None or (end < 1).any() or not (rows == token).all():
        raise BadInput(f"{where}: {PROMPTS} does not look like padded prompts with one end token; use --set base=...")
    x = tower.transformer(prompts + tower.positional_embedding, attn_mask=tower.attn_mask)
    x = tower.ln_final(x)[torch.arange(len(prompts)), end] @ tower.text_projection
    return F.normalize(x, dim=-1)
