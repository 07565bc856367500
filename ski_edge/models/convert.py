"""Official checkpoints become ours: recognise the family by its tensor names, rename, say what was left out.

Video models are here, their names in `video_families`; skeleton networks are in `convert_pose` and `pose_families`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput, require
from ski_edge.files import sha256_file
from ski_edge.models.archs import ARCHS, ClipArch
from ski_edge.models.checkpoint import load_state, state_of
from ski_edge.models.clip import ClipModel
from ski_edge.models.convert_pose import convert_pose
from ski_edge.models.pose_families import POSE_FAMILIES, PoseFamily
from ski_edge.models.registry import build, entry, parse_config
from ski_edge.models.tensors import RawCheckpoint, read_tensors
from ski_edge.models.video_families import VIDEO_FAMILIES, VideoFamily
from ski_edge.skeleton.modalities import Modality

PROMPTS = "prompt_learner.complete_text_embeddings"


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


FAMILIES: dict[str, VideoFamily | PoseFamily] = {**VIDEO_FAMILIES, **POSE_FAMILIES}
# Which settings mean something for one kind of model only.
_VIDEO_SETTINGS = ("activation", "base", "template")
_POSE_SETTINGS = ("body2", "centre", "layout", "modality")


def convert(path: str | Path, family: str = "auto", settings: ConvertSettings | None = None) -> nn.Module:
    """Read an official checkpoint file into a model of ours; its `config.notes` say what was dropped and assumed.

    family: a key of FAMILIES or `auto`. Raises BadInput, naming the nearest family, when the names do not fit.
    """
    settings, where = settings or ConvertSettings(), str(path)
    raw = read_tensors(path)
    chosen = recognise(raw.tensors, where) if family == "auto" else _family(family)
    if missing := chosen.missing(raw.tensors):
        raise BadInput(f"{where} is no {chosen.title}: it lacks {', '.join(missing)}; try --from auto")
    weights = f"{Path(path).name} (sha256 {sha256_file(Path(path))[:16]})"
    if isinstance(chosen, PoseFamily):
        _refuse(settings, _VIDEO_SETTINGS, chosen)
        return convert_pose(raw, chosen, settings, weights, where)
    _refuse(settings, _POSE_SETTINGS, chosen)
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
            return _with_fixed_labels(fields, tensors, raw, settings.classes, notes, where)
        tensors["token_embedding.weight"] = _base_embedding(settings.base)
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


def _refuse(settings: ConvertSettings, names: tuple[str, ...], family: VideoFamily | PoseFamily) -> None:
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


def _family(name: str) -> VideoFamily | PoseFamily:
    if name not in FAMILIES:
        raise BadInput(f"--from {name!r} is not known; the choices are: auto, {', '.join(FAMILIES)}")
    return FAMILIES[name]


def recognise(tensors: dict[str, Tensor], where: str) -> VideoFamily | PoseFamily:
    """The family whose names fit all tensors; otherwise an error that names the nearest one and what does not fit."""
    for family in FAMILIES.values():
        if not family.missing(tensors) and all(family.fits(name) for name in tensors):
            return family
    best: tuple[float, VideoFamily | PoseFamily, list[str], list[str]] | None = None
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


def match_arch(tensors: dict[str, Tensor], where: str) -> str:
    """The arch whose sizes these CLIP tensors have."""

    def shape(name: str, axes: int) -> torch.Size:
        if name not in tensors or tensors[name].ndim != axes or 0 in tensors[name].shape:
            got = list(tensors[name].shape) if name in tensors else "missing"
            raise BadInput(f"{where}: {name} is {got}, expected {axes} axes; the size of the towers is unknown")
        return tensors[name].shape

    width, _, patch, _ = shape("visual.conv1.weight", 4)
    found = {
        "patch": patch,
        "vision_width": width,
        "embed_dim": shape("visual.proj", 2)[1],
        "text_width": shape("text_projection", 2)[0],
        "context_length": shape("positional_embedding", 2)[0],
        "vision_layers": _layers(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
        "text_layers": _layers(tensors, r"transformer\.resblocks\.(\d+)\."),
        "image_size": round((shape("visual.positional_embedding", 2)[0] - 1) ** 0.5) * patch,
    }

    def off(arch: ClipArch) -> list[str]:
        return [f"{k} {v} (not {getattr(arch, k)})" for k, v in found.items() if getattr(arch, k) != v]

    name = min(ARCHS, key=lambda name: len(off(ARCHS[name])))
    if wrong := off(ARCHS[name]):
        raise BadInput(f"{where}: towers of an unknown size; nearest is {name}, but it has {', '.join(wrong)}")
    return name


def _layers(tensors: dict[str, Tensor], pattern: str) -> int:
    return 1 + max((int(m[1]) for m in (re.match(pattern, name) for name in tensors) if m), default=-1)


def _base_embedding(spec: str) -> Tensor:
    """The token embedding of other weights, through fp16 as in the official code (it stores prompts so)."""
    from ski_edge.models.weights import resolve_weights

    base = resolve_weights("vificlip", spec, arch=None)
    if not base.config.reads_text:
        raise BadInput(f"--set base={spec} has no token embedding itself; use openclip:openai or its file")
    return state_of(base)["token_embedding.weight"].half().float()


def _with_fixed_labels(
    fields: dict[str, object],
    tensors: dict[str, Tensor],
    raw: RawCheckpoint,
    classes: tuple[str, ...] | None,
    notes: list[str],
    where: str,
) -> ClipModel:
    """No token embedding and no base: the checkpoint's own prompt embeddings still give its classes' labels."""
    prompts = raw.tensors.get(PROMPTS)
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
    tensors["label_embeddings"] = torch.zeros(len(names), tensors["text_projection"].shape[1])
    model = _finish({**fields, "classes": names, "reads_text": False}, tensors, notes, where)
    model.label_embeddings = _encode_prompts(model, prompts.float(), where)
    return model


@torch.no_grad()
def _encode_prompts(model: ClipModel, prompts: Tensor, where: str) -> Tensor:
    """Looked-up prompt embeddings [K, L, width] -> label embeddings [K, D], L2-normalised.

    The token ids are gone, but a prompt ends with the end token and is filled up with token 0: the end token is
    the row before the run of equal rows that closes the prompt. Prompts with no room for such a run are read with
    the end token of the others.
    """
    clip = model.clip
    if prompts.shape[1:] != clip.positional_embedding.shape:
        raise BadInput(f"{where}: {PROMPTS} is {list(prompts.shape)}, expected [K, {clip.positional_embedding.shape}]")
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
    x = clip.transformer(prompts + clip.positional_embedding, attn_mask=clip.attn_mask)
    x = clip.ln_final(x)[torch.arange(len(prompts)), end] @ clip.text_projection
    return F.normalize(x, dim=-1)
