"""SKI's teacher out of official files: SkeletonCLIP of phase 1, or the skeleton half of phase 2.

Both keep a Hyperformer behind `hyperformer_model.`, its classifier replaced by `fc2`, and the teacher's text tower
behind a prefix of its own. No weights were published; the names are those of SKI-Models' code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ski_edge.errors import BadInput, require
from ski_edge.models import convert_rules as rules
from ski_edge.models.archs import clip_arch
from ski_edge.models.checkpoint import load_state, state_of
from ski_edge.models.convert_pose import convert_pose
from ski_edge.models.convert_towers import base_embedding, encode_prompts, match_text_arch, stored_prompts
from ski_edge.models.pose_families import POSE_FAMILIES
from ski_edge.models.registry import build, entry, parse_config
from ski_edge.models.skeletonclip import SkeletonCLIP
from ski_edge.models.tensors import RawCheckpoint
from ski_edge.skeleton import get_layout
from ski_edge.skeleton.graphs import hyperedges
from ski_edge.skeleton.resample import ZeroPad

if TYPE_CHECKING:
    from ski_edge.models.convert import ConvertSettings

_SKELETON, _PROMPTS = "hyperformer_model.", "prompt_learner."
_LICENCE = "unknown: SKI-Models publishes no licence file; ask its authors before you deploy"
_REMARKS = (
    "input assumed: origin at body 1's spine in its first frame (Hyperformer's preparation), all frames as they are, "
    "zeros after the clip up to 300, and zeros where body 2 is missing unless --set body2=copy",
    "scores are products with the skeleton's vector as it is, as in the official code: no norm, no temperature",
)


def _ski_input(joints: int, classes: int) -> dict[str, Any]:
    """SKI's loaders leave out all that Hyperformer's feeder does; its preparation had set the origin before."""
    return {"centre": "first-frame", "resample": ZeroPad(frames=300), "persons": 2}


# The skeleton half: Hyperformer by its own rules, behind a prefix and with another head.
_HYPERFORMER = replace(
    POSE_FAMILIES["hyperformer"],
    title="SkeletonCLIP",
    rules=tuple(replace(rule, source=re.sub(r"^fc\.", "fc2.", rule.source)) for rule in rules.HYPERFORMER),
    needs=(),
    licence=_LICENCE,
    preprocessing=_ski_input,
    clean=((f"^{re.escape(_SKELETON)}", ""),),
    fields=(("hyperedges", tuple(hyperedges(get_layout("ntu25")).tolist())),),  # SKI's copy knows no others
    remarks=_REMARKS,
)


@dataclass(frozen=True, slots=True)
class SkeletonTextFamily:
    """One kind of checkpoint that holds a SkeletonCLIP."""

    title: str
    text: str  # what stands before the names of its text tower
    needs: tuple[str, ...]  # official names without which it is not this family
    drops: tuple[str, ...] = ()  # prefixes of what is beside it
    model: str = "skeletonclip"
    licence: str = _LICENCE

    def missing(self, tensors: dict[str, Tensor]) -> list[str]:
        return [name for name in self.needs if name not in tensors]

    def fits(self, name: str) -> bool:
        if name.startswith(_SKELETON):
            return _HYPERFORMER.fits(name)
        return name.startswith((self.text, _PROMPTS, *self.drops)) and "VPT" not in name


_NEEDS = tuple(_SKELETON + name for name in ("data_bn.weight", "fc2.weight", "fc2.bias"))
SKELETON_TEXT_FAMILIES = {
    "skeletonclip": SkeletonTextFamily(
        "SkeletonCLIP (SKI-Models, phase 1)", "text_encoder.", (*_NEEDS, "text_encoder.text_projection")
    ),
}
SKI_PHASE_TWO = SkeletonTextFamily(
    "SkeletonCLIP (SKI-Models, teacher in phase 2)",
    "clip_text_encoder.",
    (*_NEEDS, "clip_text_encoder.text_projection"),
    drops=("image_encoder.", "text_encoder."),  # the student
)


def convert_skeletonclip(
    raw: RawCheckpoint, family: SkeletonTextFamily, settings: ConvertSettings, weights: str, where: str
) -> SkeletonCLIP:
    """The SkeletonCLIP of a checkpoint known to hold one; weights: its provenance. Raises BadInput in one line."""
    require("open_clip", "export", f"converting {family.title}")
    skeleton, text, dropped = _split(raw.tensors, family, where)
    # Class names belong to the texts; the skeleton network's outputs are an embedding.
    alone = settings.model_copy(update={"classes": None})
    backbone = convert_pose(
        RawCheckpoint(skeleton, ()), replace(_HYPERFORMER, title=family.title), alone, weights, where
    )
    first, *others = backbone.config.notes
    notes = [first, *raw.notes, *dropped, *others]
    text_arch = match_text_arch(text, where)
    contract = {"context_length": clip_arch(text_arch).context_length}
    fields: dict[str, object] = {
        "model": family.model,
        "backbone": backbone.config.model_copy(update={"notes": ()}),
        "text_arch": text_arch,
        "text": {**contract, "template": settings.template} if settings.template else contract,
        "skeleton_norm": False,
        "temperature": "none",
        "classes": settings.classes or (),
        "weights": weights,
        "licence": settings.licence or family.licence,
    }
    prompts = None
    tensors = {f"skeleton.{name}": tensor for name, tensor in state_of(backbone).items()}
    tensors |= {f"text.{name}": tensor for name, tensor in text.items()}
    if settings.base is not None:
        tensors["text.token_embedding.weight"] = base_embedding(settings.base)
        notes.append(f"token embedding taken from {settings.base}, rounded to fp16 as the official code does")
    elif "token_embedding.weight" not in text:
        names, prompts = stored_prompts(raw.tensors, settings.classes, notes, where)
        tensors["label_embeddings"] = torch.zeros(len(names), text["text_projection"].shape[1])
        fields |= {"classes": names, "reads_text": False}
    config_class = entry(family.model).config_class
    model = build(parse_config(config_class, {**fields, "notes": tuple(notes)}, where))
    load_state(model, tensors, where)
    if prompts is not None:
        model.label_embeddings = encode_prompts(model.text, prompts, where)
    return model


def _split(
    tensors: dict[str, Tensor], family: SkeletonTextFamily, where: str
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """(skeleton tensors by their official names, text tensors by CLIP's, notes on what is left out)."""
    skeleton, text = {}, {}
    dropped = dict.fromkeys(family.drops, 0)
    for name, tensor in tensors.items():
        group = name.split(".")[0] + "."
        if not family.fits(name):
            raise BadInput(f"{where}: tensor {name} does not belong to {family.title}; try --from auto")
        if group == _SKELETON:
            skeleton[name] = tensor
        elif group == family.text:
            text[name.removeprefix(group)] = tensor
        elif group in dropped:
            dropped[group] += 1
    return skeleton, text, [f"dropped {group[:-1]}: {count} tensors" for group, count in dropped.items() if count]
