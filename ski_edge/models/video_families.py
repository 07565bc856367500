"""Video checkpoints by family: how each is recognised and what its tensors are called here.

ViFi-CLIP and SKI phase 2 keep CLIP's names behind `image_encoder.` and `text_encoder.`; both store the token embeddings
of their prompts (already looked up) instead of the embedding table. X-CLIP adds parts to CLIP's own names, FROSTER puts
`model.` before them and carries its teacher. SKI-XCLIP and SKI-FROSTER are those networks by the same names, with or
without SKI's teacher beside them; no code or weights of theirs were published.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class VideoFamily:
    """One kind of checkpoint. `rename` gives the CLIP name of a tensor, None to drop it; KeyError = not ours."""

    model: str
    title: str
    rename: Callable[[str], str | None]
    needs: tuple[str, ...]  # source names without which it is not this family
    licence: str
    text_prefix: str = ""  # that some files put before the names of the text tower

    def missing(self, tensors: dict[str, Tensor]) -> list[str]:
        return [name for name in self.needs if name not in tensors and self.text_prefix + name not in tensors]

    def fits(self, name: str) -> bool:
        try:
            self.rename(name)
        except KeyError:
            return False
        return "VPT" not in name


def _rename_vifi(name: str) -> str | None:
    if name.startswith("image_encoder."):
        return "visual." + name.removeprefix("image_encoder.")
    if name.startswith("text_encoder."):
        return name.removeprefix("text_encoder.")
    if name == "logit_scale":
        return name
    if name.startswith("prompt_learner."):
        return None
    raise KeyError(name)


def _with_ski_teacher(student: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """The student's names, and those of the skeleton teacher, which is dropped: needed in training only."""
    teacher = ("hyperformer_model.", "clip_text_encoder.")
    return lambda name: None if name.startswith(teacher) else student(name)


def _rename_clip(name: str) -> str | None:
    if name in ("input_resolution", "context_length", "vocab_size"):
        return None
    name = name.removeprefix("text.")
    if re.match(
        r"(visual|transformer|ln_final)\.|(positional_embedding|text_projection|logit_scale|token_embedding\.weight)$",
        name,
    ):
        return name
    raise KeyError(name)


# X-CLIP's own parts: pattern of the official name, our name.
_XCLIP = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"visual\.transformer\.resblocks\.(\d+)\.message_fc\.(\w+)", r"messages.\1.fc.\2"),
        (r"visual\.transformer\.resblocks\.(\d+)\.message_ln\.(\w+)", r"messages.\1.norm.\2"),
        (r"visual\.transformer\.resblocks\.(\d+)\.message_attn\.([\w.]+)", r"messages.\1.attention.\2"),
        (r"mit\.positional_embedding", r"integration.positional_embedding"),
        (r"mit\.resblocks\.0\.ln_([12])\.(\w+)", r"integration.norm_\1.\2"),
        (r"mit\.resblocks\.0\.attn\.([\w.]+)", r"integration.attention.\1"),
        (r"mit\.resblocks\.0\.mlp\.c_fc\.(\w+)", r"integration.mlp.0.\1"),
        (r"mit\.resblocks\.0\.mlp\.c_proj\.(\w+)", r"integration.mlp.2.\1"),
        (r"prompts_visual_ln\.(\w+)", r"prompts.patch_norm.\1"),
        (r"prompts_visual_proj", r"prompts.patch_proj"),
        (r"prompts_generator\.(alpha|norm\.\w+)", r"prompts.\1"),
        (r"prompts_generator\.decoder\.(\d)\.cross_attn\.q_proj\.(\w+)", r"prompts.layers.\1.query.\2"),
        (r"prompts_generator\.decoder\.(\d)\.cross_attn\.k_proj\.(\w+)", r"prompts.layers.\1.key.\2"),
        (r"prompts_generator\.decoder\.(\d)\.cross_attn\.v_proj\.(\w+)", r"prompts.layers.\1.value.\2"),
        (r"prompts_generator\.decoder\.(\d)\.cross_attn\.proj\.(\w+)", r"prompts.layers.\1.out.\2"),
        (r"prompts_generator\.decoder\.(\d)\.norm1\.(\w+)", r"prompts.layers.\1.norm_1.\2"),
        (r"prompts_generator\.decoder\.(\d)\.norm3\.(\w+)", r"prompts.layers.\1.norm_2.\2"),
        (r"prompts_generator\.decoder\.(\d)\.mlp\.0\.(\w+)", r"prompts.layers.\1.mlp.0.\2"),
        (r"prompts_generator\.decoder\.(\d)\.mlp\.3\.(\w+)", r"prompts.layers.\1.mlp.2.\2"),
    )
)


def _rename_xclip(name: str) -> str | None:
    for pattern, ours in _XCLIP:
        if match := pattern.fullmatch(name):
            return match.expand(ours)
    return _rename_clip(name)


def _rename_froster(name: str) -> str | None:
    if name.startswith(("raw_model.", "projector_v.", "projector_t.")):
        return None  # the teacher and what meets it: needed in training only
    if name.startswith("model."):
        return _rename_clip(name.removeprefix("model."))
    raise KeyError(name)


_XCLIP_NEEDS = ("visual.conv1.weight", "mit.positional_embedding", "prompts_generator.alpha")
_FROSTER_NEEDS = ("model.visual.conv1.weight", "model.text_projection")
_TRAINED_BY_SOMEBODY = "unknown: SKI-Models publishes no such weights; ask whoever trained them before you deploy"

# The first that fits is taken, so a file of SKI-XCLIP or SKI-FROSTER shows by its teacher; without one, it is named.
VIDEO_FAMILIES: dict[str, VideoFamily] = {
    "ski-vificlip": VideoFamily(
        "ski-vificlip",
        "SKI-ViFiCLIP (SKI-Models, phase 2)",
        _with_ski_teacher(_rename_vifi),
        ("image_encoder.proj", "text_encoder.text_projection", "hyperformer_model.data_bn.weight"),
        "unknown: SKI-Models publishes no licence file; ask its authors before you deploy",
    ),
    "vificlip": VideoFamily(
        "vificlip",
        "ViFi-CLIP",
        _rename_vifi,
        ("image_encoder.proj", "text_encoder.text_projection"),
        "unknown: ViFi-CLIP's repository has no licence file; ask its authors before you deploy",
    ),
    "xclip": VideoFamily(
        "xclip",
        "X-CLIP",
        _rename_xclip,
        _XCLIP_NEEDS,
        "unknown: X-CLIP's folder has no licence file of its own (its repository, VideoX, has MIT's text)",
    ),
    "ski-xclip": VideoFamily(
        "ski-xclip", "SKI-XCLIP", _with_ski_teacher(_rename_xclip), _XCLIP_NEEDS, _TRAINED_BY_SOMEBODY
    ),
    "froster": VideoFamily(
        "froster",
        "FROSTER",
        _rename_froster,
        _FROSTER_NEEDS,
        "CC BY-NC-SA 4.0 (FROSTER): not for commercial use",
    ),
    "ski-froster": VideoFamily(
        "ski-froster", "SKI-FROSTER", _with_ski_teacher(_rename_froster), _FROSTER_NEEDS, _TRAINED_BY_SOMEBODY
    ),
    "clip": VideoFamily(
        "vificlip",
        "CLIP (OpenAI or open_clip names)",
        _rename_clip,
        ("visual.proj", "visual.conv1.weight", "text_projection"),
        "unknown: set it with --set licence=...",
        text_prefix="text.",
    ),
}
