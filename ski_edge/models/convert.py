"""Official checkpoints become ours: recognise the family by its tensor names, rename, say what was left out.

Video models are here, their names in `video_families`; skeleton networks are in `convert_pose` and `pose_families`,
SKI's teacher in `convert_skeletonclip`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ski_edge.contracts import CLIP_MEAN, CLIP_STD, Contract
from ski_edge.errors import BadInput, require
from ski_edge.files import sha256_file
from ski_edge.models.checkpoint import load_state
from ski_edge.models.clip import ClipModel
from ski_edge.models.convert_pose import convert_pose
from ski_edge.models.convert_skeletonclip import (
    SKELETON_TEXT_FAMILIES,
    SKI_PHASE_TWO,
    SkeletonTextFamily,
    convert_skeletonclip,
)
from ski_edge.models.convert_towers import base_embedding, encode_prompts, match_arch, stored_prompts
from ski_edge.models.pose_families import POSE_FAMILIES, PoseFamily
from ski_edge.models.registry import build, entry, parse_config
from ski_edge.models.tensors import RawCheckpoint, read_tensors
from ski_edge.models.video_families import VIDEO_FAMILIES, VideoFamily
from ski_edge.skeleton.modalities import Modality


class ConvertSettings(Contract):
    """What a checkpoint's names cannot tell; `--set KEY=VALUE` on the command line."""

    activation: Literal["quickgelu", "gelu"] | None = None  # None: OpenAI's QuickGELU, said to be assumed
    base: str | None = None  # weights that have a token embedding: openclip:openai, a folder or a file
    classes: tuple[str, ...] | None = None  # names of the classes it was trained on, in order
    licence: str | None = None  # what you agreed with the authors
    template: str | None = None  # of the prompts it was trained with
    body2: Literal["zeros", "copy"] | None = None  # what body slot 2 held in training when one person was there
    centre: int | None = None  # HD-GCN: joint its hierarchy starts from, 0-based
    layout: str | None = None  # of the joints: a built-in name or a .yaml file
    modality: Modality | None = None  # stream a skeleton network was trained on
    temporal: Literal["padded", "unpadded"] | None = None  # ST-GCN: trained with padding and strides (None, too) or not
    part: Literal["video", "skeleton"] | None = None  # of SKI phase 2: the student (None too), or its skeleton teacher


Family = VideoFamily | SkeletonTextFamily | PoseFamily
FAMILIES: dict[str, Family] = {**VIDEO_FAMILIES, **SKELETON_TEXT_FAMILIES, **POSE_FAMILIES}
# Which settings mean nothing for one kind of model.
_NOT_FOR_POSE = ("activation", "base", "template")
_NOT_FOR_VIDEO = ("body2", "centre", "layout", "modality", "temporal")
_NOT_FOR_SKELETON_TEXT = ("activation", "centre", "temporal")


def convert(path: str | Path, family: str = "auto", settings: ConvertSettings | None = None) -> nn.Module:
    """Read an official checkpoint file into a model of ours; its `config.notes` say what was dropped and assumed.

    family: a key of FAMILIES or `auto`. Raises BadInput, naming the nearest family, when the names do not fit.
    """
    settings, where = settings or ConvertSettings(), str(path)
    raw = read_tensors(path)
    chosen = recognise(raw.tensors, where) if family == "auto" else _family(family)
    if chosen is not FAMILIES["ski-vificlip"]:
        _refuse(settings, ("part",), chosen)
    elif settings.part == "skeleton":
        chosen = SKI_PHASE_TWO
    if missing := chosen.missing(raw.tensors):
        raise BadInput(f"{where} is no {chosen.title}: it lacks {', '.join(missing)}; try --from auto")
    weights = f"{Path(path).name} (sha256 {sha256_file(Path(path))[:16]})"
    if isinstance(chosen, PoseFamily):
        _refuse(settings, _NOT_FOR_POSE, chosen)
        return convert_pose(raw, chosen, settings, weights, where)
    if isinstance(chosen, SkeletonTextFamily):
        _refuse(settings, _NOT_FOR_SKELETON_TEXT, chosen)
        return convert_skeletonclip(raw, chosen, settings, weights, where)
    _refuse(settings, _NOT_FOR_VIDEO, chosen)
    return _convert_video(raw, chosen, settings, weights, where)


def _convert_video(
    raw: RawCheckpoint, chosen: VideoFamily, settings: ConvertSettings, weights: str, where: str
) -> ClipModel:
    require("open_clip", "export", f"converting {chosen.title}")
    tensors, dropped = _rename_all(raw.tensors, chosen, where)
    notes = [f"read as {chosen.title}", *raw.notes, *dropped]
    if settings.activation is None:
        notes.append("activation assumed: quickgelu (OpenAI's)")
    fields: dict[str, object] = {
        "model": chosen.model,
        "arch": match_arch(tensors, where),
        "activation": settings.activation or "quickgelu",
        "licence": settings.licence or chosen.licence,
        "weights": weights,
        "trained_logit_scale": "logit_scale" in tensors,
    }
    if chosen is VIDEO_FAMILIES["clip"]:  # plain weights, whose frames were never ImageNet's
        fields["preprocessing"] = {"mean": CLIP_MEAN, "std": CLIP_STD}
    if settings.template:
        fields["text"] = {"template": settings.template}
    if (positions := tensors.get("integration.positional_embedding")) is not None:  # X-CLIP: T is fixed by training
        if positions.ndim != 3 or positions.shape[0] != 1:
            raise BadInput(f"{where}: mit.positional_embedding is {list(positions.shape)}, expected [1, T, D]")
        fields["video"] = {"window_frames": positions.shape[1]}
    if "logit_scale" in tensors and tensors["logit_scale"].numel() != 1:
        raise BadInput(f"{where}: logit_scale is {list(tensors['logit_scale'].shape)}, expected one number")
    if "logit_scale" not in tensors:
        notes.append("no logit_scale in the checkpoint; scores use 100")
        tensors["logit_scale"] = torch.tensor(100.0).log()
    if "token_embedding.weight" not in tensors:
        if settings.base is None:
            names, prompts = stored_prompts(raw.tensors, settings.classes, notes, where)
            tensors["label_embeddings"] = torch.zeros(len(names), tensors["text_projection"].shape[1])
            model = _finish({**fields, "classes": names, "reads_text": False}, tensors, notes, where)
            model.label_embeddings = encode_prompts(model.clip, prompts, where)
            return model
        tensors["token_embedding.weight"] = base_embedding(settings.base)
        notes.append(f"token embedding taken from {settings.base}, rounded to fp16 as the official code does")
    return _finish({**fields, "classes": settings.classes or ()}, tensors, notes, where)


def parse_settings(values: dict[str, object]) -> ConvertSettings:
    """Settings from KEY=VALUE pairs; an unknown key or value is one line that lists what there is."""
    if unknown := sorted(values.keys() - ConvertSettings.model_fields.keys()):
        raise BadInput(f"--set {unknown[0]} is not known; the keys are: {', '.join(ConvertSettings.model_fields)}")
    try:
        return ConvertSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"--set {first['loc'][0]}: {first['msg']} (got {first['input']!r})") from error


def _refuse(settings: ConvertSettings, names: tuple[str, ...], family: Family) -> None:
    """A setting that would have no effect is a mistake."""
    if given := [name for name in names if getattr(settings, name) is not None]:
        raise BadInput(f"--set {given[0]} means nothing for {family.title}; leave it away")


def _finish(fields: dict[str, object], tensors: dict[str, Tensor], notes: list[str], where: str) -> ClipModel:
    if not -5 < float(tensors["logit_scale"]) < 7:  # exp: 0.007 to 1100; CLIP stops at 100
        raise BadInput(f"{where}: logit_scale is {float(tensors['logit_scale']):g}, expected a logarithm near 4.6")
    model = build(
        parse_config(entry(fields["model"]).config_class, {**fields, "notes": tuple(notes)}, where).for_arch()
    )
    load_state(model, tensors, where)
    return model


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise BadInput(f"--from {name!r} is not known; the choices are: auto, {', '.join(FAMILIES)}")
    return FAMILIES[name]


def recognise(tensors: dict[str, Tensor], where: str) -> Family:
    """The family whose names fit all tensors; otherwise an error that names the nearest one and what does not fit."""
    for family in FAMILIES.values():
        if not family.missing(tensors) and all(family.fits(name) for name in tensors):
            return family
    best: tuple[float, Family, list[str], list[str]] | None = None
    for family in FAMILIES.values():
        foreign = [name for name in tensors if not family.fits(name)]
        missing = family.missing(tensors)
        fit = 1 - len(foreign) / len(tensors) - len(missing) / len(family.needs)
        if best is None or fit > best[0]:
            best = fit, family, foreign, missing
    assert best is not None
    _, family, foreign, missing = best
    parts = [f"{len(foreign)} tensors do not belong to it ({', '.join(foreign[:3])})"] if foreign else []
    parts += [f"it lacks {', '.join(missing)}"] if missing else []
    raise BadInput(
        f"{where} is no checkpoint this version can convert; nearest is {family.title}, but {' and '.join(parts)}. "
        f"Known: {', '.join(FAMILIES)}"
    )


def _rename_all(tensors: dict[str, Tensor], family: VideoFamily, where: str) -> tuple[dict[str, Tensor], list[str]]:
    renamed: dict[str, Tensor] = {}
    dropped: dict[str, int] = {}
    for name, tensor in tensors.items():
        if not family.fits(name):
            hint = "; prompt-tuned checkpoints (VPT) are not supported" if "VPT" in name else ""
            raise BadInput(f"{where}: tensor {name} does not belong to {family.title}{hint}; try --from auto")
        target = family.rename(name)
        if target is None:
            dropped[name.split(".")[0]] = dropped.get(name.split(".")[0], 0) + 1
        elif target in renamed:
            raise BadInput(f"{where}: {name} is there twice under different prefixes; remove one")
        else:
            renamed[target] = tensor
    return renamed, [f"dropped {group}: {n} tensors" for group, n in sorted(dropped.items())]
