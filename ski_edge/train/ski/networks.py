"""The networks of a run, from where they begin: nothing, a checkpoint, open_clip, or a run that comes before."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.errors import BadInput
from ski_edge.models import create_model, load_model, resolve_weights
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import ClipModel, mean_of_prompts, tokenize
from ski_edge.models.pose import PoseNetwork
from ski_edge.models.sentence import SentenceEncoder
from ski_edge.models.skeletonclip import SkeletonCLIP
from ski_edge.models.vificlip import ViFiCLIP
from ski_edge.train.ski.pair import Pair, SavedTeacher
from ski_edge.train.ski.recipe import SkiRecipe, Student, Teacher
from ski_edge.train.ski.world import World, prompts
from ski_edge.train.text.distil import text_parameters
from ski_edge.train.text.tower import load_text_tower

_SIMILARITIES = (
    "captions",
    "student",
    "skeletonclip",
    "scd",
)  # objectives whose sides meet in similarities with text only
TEXTS_NOTE = "texts:"  # how a note of a config begins that an evaluation by bare template should print
_SENTENCES = 512  # read at a time
# `recipe:NAME` -> checkpoint folder of that run, trained first if it is not there
Stage = Callable[[str], Path]


def build_pair(recipe: SkiRecipe, world: World, stage: Stage) -> Pair:
    """Student and teacher as the recipe begins, and the texts of the classes in training."""
    names = tuple(world.names(world.seen))
    student = _student(recipe, recipe.student, names, stage) if recipe.student is not None else None
    teacher = _teacher(recipe, recipe.teacher, world, stage) if recipe.teacher is not None else None
    if recipe.objective not in _SIMILARITIES:
        _same_space(student, teacher)
    with torch.random.fork_rng(devices=[]):  # heads
        torch.manual_seed(recipe.seed)
        pair = Pair(recipe, student, teacher, None, None, world.groups)
    video_text, skeleton_text = class_texts(pair, names, trained=True)
    if isinstance(teacher, SkeletonCLIP) and skeleton_text is None:
        raise BadInput(
            f"this skeletonclip reads no new text and was not trained on these {len(names)} classes; if it was trained "
            "with the sentence encoder, set text.encoder: sentence"
        )
    pair.video_text, pair.skeleton_text = video_text, skeleton_text
    for side, text in ((student, video_text), (teacher, skeleton_text)):
        if isinstance(side, (ClipModel, SkeletonCLIP)) and side.label_embeddings is not None:
            side.label_embeddings = F.normalize(text, dim=-1)
    return pair


@torch.no_grad()
def class_texts(pair: Pair, names: list[str] | tuple[str, ...], trained: bool = False) -> tuple[Tensor | None, ...]:
    """(for the video, for the skeleton side): features [K, D].

    trained: tokens [K, P, L] instead, where a tower learns. A teacher reads the template that it was trained with.
    """
    recipe, sides = pair.recipe, []
    learns = (trained and not recipe.text.freeze, trained and recipe.teacher is not None and pair.teacher_reads_anew)
    for side, trained in zip((pair.student, pair.teacher), learns, strict=True):
        if side is None or isinstance(side, SavedTeacher):
            sides.append(None)
            continue
        text = recipe.text
        if isinstance(side, SkeletonCLIP):
            text = text.model_copy(update={"template": side.config.text.template, "templates": None})
        described = prompts(list(names), text)
        every, count = [sentence for sentences in described for sentence in sentences], len(described[0])
        if recipe.text.encoder == "sentence":
            sides.append(mean_of_prompts(SentenceEncoder().encode(every).unflatten(0, (-1, count))))
        elif isinstance(side, ClipModel):
            tokens = tokenize(every, side.config.arch).unflatten(0, (-1, count))
            sides.append(tokens if trained else _read(side.text_features, tokens, device_of(side)))
        elif not side.config.reads_text:
            sides.append(_own_texts(side, names))
        else:
            tokens = tokenize(every, side.config.text_arch).unflatten(0, (-1, count))
            sides.append(tokens if trained else _read(side.text, tokens, device_of(side)))
    return tuple(sides)


def _read(tower: Callable[[Tensor], Tensor], tokens: Tensor, device: torch.device) -> Tensor:
    """tokens int64 [K, P, L] -> features [K, D], a few classes at a time."""
    some = max(1, _SENTENCES // tokens.shape[1])
    rows = []
    for part in tokens.split(some):
        features = tower(part.flatten(0, 1).to(device))
        rows.append(mean_of_prompts(features.unflatten(0, part.shape[:2])))
    return torch.cat(rows).cpu()


@torch.no_grad()
def join_video_space(pair: Pair) -> None:
    """After cross-projection: what the skeleton needs to be compared with text moves into the teacher.

    The projection to video goes into its last layer, the student's texts become its own, so that its checkpoint alone
    is what was trained. Embeddings keep their direction: the map is linear, so it may as well come before the norm.
    """
    projection, head = pair.heads["to_video"].weight, pair.teacher.skeleton.head
    head.weight.copy_(projection @ head.weight)
    head.bias.copy_(projection @ head.bias)
    if pair.teacher.text is not None:
        _take_text(pair.teacher, pair.student, "student")
    if pair.teacher.label_embeddings is not None:
        pair.teacher.label_embeddings.copy_(F.normalize(pair.video_text, dim=-1))


def _own_texts(teacher: SkeletonCLIP, names: list[str] | tuple[str, ...]) -> Tensor | None:
    """What a teacher that reads no text keeps for its own classes; None where it is asked for others."""
    rows = {name: row for row, name in enumerate(teacher.config.classes)}
    if any(name not in rows for name in names):
        return None
    return teacher.label_embeddings[[rows[name] for name in names]].cpu()


def device_of(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device


def _student(recipe: SkiRecipe, spec: Student, names: tuple[str, ...], stage: Stage) -> ClipModel:
    """What it is trained with becomes its config: classes, template, preprocessing, frames."""
    video = recipe.video
    if spec.init == "random":
        fields = {
            "arch": spec.arch,
            "preprocessing": video.preprocessing,
            "video": {"window_frames": video.frames},
            "text": {"template": recipe.text.template, "context_length": clip_arch(spec.arch).context_length},
        }
        if taken := sorted(spec.options.keys() & {*fields, "model", "seed", "classes", "weights"}):
            raise BadInput(f"student.options.{taken[0]} is not for options; the recipe or the data decide it")
        model = create_model(spec.model, seed=recipe.seed, **fields, **spec.options)
        model.clip.logit_scale.data.fill_(math.log(recipe.start_scale))
    else:
        model = _load(spec.init, stage, spec.arch)
        if isinstance(model, ViFiCLIP) and spec.model not in get_args(
            type(model.config).model_fields["model"].annotation
        ):
            model = _grown(model, spec, recipe)
    if spec.text_tower is not None:
        _give_text(model, spec.text_tower)
    before = model.config
    if not isinstance(model, ClipModel) or spec.model not in get_args(type(before).model_fields["model"].annotation):
        raise BadInput(f"student.init {spec.init} is a {before.model}; it cannot become a {spec.model}")
    if before.arch != spec.arch:
        raise BadInput(f"student.init {spec.init} is {before.arch}, not {spec.arch}; set student.arch={before.arch}")
    if video.preprocessing.crop != before.preprocessing.crop:
        raise BadInput(
            f"{spec.arch} takes {before.preprocessing.crop} px frames, video.preprocessing.crop is "
            f"{video.preprocessing.crop}; set it and resize_short"
        )
    if before.video.pooling == "joint" and before.video.window_frames != video.frames:
        raise BadInput(
            f"student.init {spec.init} takes {before.video.window_frames} frames; set video.frames to that "
            f"(now {video.frames})"
        )
    sentence = recipe.text.encoder == "sentence"
    if not (sentence or before.reads_text or spec.text_tower is not None):
        raise BadInput(
            f"student.init {spec.init} reads no text of its own; set student.text_tower, or text.encoder: sentence"
        )
    reads_text = not sentence or spec.text_tower is not None
    if reads_text == (model.label_embeddings is not None):
        # Its own tower knows no text: what the checkpoint can be asked for are the classes it was trained on
        model.label_embeddings = None if reads_text else torch.zeros(len(names), clip_arch(before.arch).embed_dim)
    notes = tuple(note for note in before.notes if not note.startswith(TEXTS_NOTE))
    if recipe.text.templates is not None or recipe.text.prompts is not None:
        said = " and ".join(str(x) for x in (recipe.text.templates, recipe.text.prompts) if x is not None)
        notes += (f"{TEXTS_NOTE} training read more of each class than its name ({said}); see data prompts",)
    update = {
        "model": spec.model,
        "notes": notes,
        "reads_text": reads_text,
        "trained_logit_scale": recipe.temperature == "learned",
        "classes": names,
        "weights": f"trained by ski-edge ({recipe.objective}, seed {recipe.seed}) on {recipe.data.skeletons.name}",
        "text": before.text.model_copy(update={"template": recipe.text.template}),
        "preprocessing": video.preprocessing,
        "video": before.video.model_copy(update={"window_frames": video.frames}),
    }
    model.config = before.model_copy(update=update)
    return model


def _give_text(model: torch.nn.Module, tower: str) -> None:
    """Put a trained text tower into a student that learns from a sentence encoder."""
    if not isinstance(model, ClipModel):
        raise BadInput(f"student.text_tower: a {model.config.model} has no text tower")
    if tower != "shipped":
        load_text_tower(model, tower)
        return
    source = text_parameters(resolve_weights("ski-vificlip", None, model.config.arch).clip)
    with torch.no_grad():
        for name, parameter in text_parameters(model.clip).items():
            parameter.copy_(source[name])


def _grown(source: ViFiCLIP, spec: Student, recipe: SkiRecipe) -> ClipModel:
    """X-CLIP and FROSTER begin with CLIP's towers; what they add begins at random."""
    config = source.config
    model = create_model(
        spec.model,
        seed=recipe.seed,
        arch=config.arch,
        activation=config.activation,
        preprocessing=config.preprocessing,
        video={"window_frames": recipe.video.frames},
        text={"context_length": config.text.context_length},
        licence=config.licence,
        **spec.options,
    )
    model.clip.load_state_dict(source.clip.state_dict())
    return model


def _same_space(student: ClipModel | None, teacher: SkeletonCLIP | SavedTeacher | None) -> None:
    """Objectives that compare embeddings themselves need them in one space."""
    if student is None or not isinstance(teacher, SkeletonCLIP):
        return
    video, skeleton = clip_arch(student.config.arch).embed_dim, teacher.config.embed_dim
    if video != skeleton:
        raise BadInput(
            f"the student's embedding has {video} numbers, the teacher's {skeleton}; this objective compares them: "
            "begin with a teacher of the student's size"
        )


def _teacher(recipe: SkiRecipe, spec: Teacher, world: World, stage: Stage) -> SkeletonCLIP | SavedTeacher:
    if spec.embeddings is not None:
        return _saved(spec.embeddings, world)
    names = tuple(world.names(world.seen))
    weights = f"trained by ski-edge ({recipe.objective}, seed {recipe.seed}) on {recipe.data.skeletons.name}"
    if spec.init != "random":
        model = _load(spec.init, stage, None)
        if not isinstance(model, SkeletonCLIP):
            raise BadInput(f"teacher.init {spec.init} is a {model.config.model}, not a skeletonclip")
        if not spec.freeze:
            update = {"classes": names, "weights": weights}
            if recipe.temperature == "learned" and model.log_scale is None:  # SKI's own have none
                model.log_scale = torch.nn.Parameter(torch.tensor(math.log(recipe.start_scale)))
                update["temperature"] = "learned"
            model.config = model.config.model_copy(update=update)
        return model
    if spec.skeleton is None:
        raise BadInput("a teacher that begins at random needs teacher.skeleton: layout, persons, resample, ...")
    sentence = recipe.text.encoder == "sentence"
    text_arch = None if sentence else (recipe.student.arch if recipe.student is not None else recipe.text.arch)
    model = create_model(
        "skeletonclip",
        seed=recipe.seed,
        backbone=spec.backbone or "hyperformer",
        arch=spec.arch or "base",
        skeleton=spec.skeleton,
        embed_dim=SentenceEncoder.embed_dim if sentence else clip_arch(text_arch).embed_dim,
        text_arch=text_arch,
        text={"template": recipe.text.template},
        reads_text=not sentence,
        sentence_encoder=sentence,
        classes=names,
        skeleton_norm=spec.skeleton_norm is not False,
        temperature=recipe.temperature,
        weights=weights,
        licence="Apache-2.0",
    )
    if model.log_scale is not None:
        model.log_scale.data.fill_(math.log(recipe.start_scale))
    if text_arch is not None and recipe.text.init != "random":  # first: the trunk may be trained for days
        _take_text(model, _load(recipe.text.init, stage, text_arch), recipe.text.init)
    if spec.backbone_init not in (None, "random"):
        _take_trunk(model, _load(spec.backbone_init, stage, None), spec.backbone_init)
    return model


def _take_text(model: SkeletonCLIP, source: torch.nn.Module, where: str) -> None:
    """The text tower of a video-text model."""
    config, arch = source.config, model.config.text_arch
    if not isinstance(source, ClipModel) or config.arch != arch or not config.reads_text:
        raise BadInput(
            f"text.init {where} is a {config.model} {config.arch}; it must be CLIP's towers of {arch} that read text"
        )
    wanted = model.text.state_dict().keys()
    model.text.load_state_dict({n: t for n, t in source.clip.state_dict().items() if n in wanted})


def _take_trunk(model: SkeletonCLIP, source: torch.nn.Module, where: str) -> None:
    """All of a skeleton classifier but its head, as SKI does (fc2 stays random)."""
    spec = model.config.backbone.skeleton
    # Windows and centring may differ: SKI trains its backbone on 64 frames and goes on with all 300 as they are.
    fits = isinstance(source, PoseNetwork) and (source.config.skeleton.layout, source.config.skeleton.persons) == (
        spec.layout,
        spec.persons,
    )
    if not fits:
        raise BadInput(
            f"teacher.backbone_init {where} is no skeleton network for {spec.layout.name} and {spec.persons} bodies"
        )
    state = {name: t for name, t in source.state_dict().items() if not name.startswith("head.")}
    missing, unexpected = model.skeleton.load_state_dict(state, strict=False)
    if unexpected or [name for name in missing if not name.startswith("head.")]:
        raise BadInput(f"teacher.backbone_init {where} is a {source.config.model} {source.config.arch}, not what fits")


def _load(init: str, stage: Stage, arch: str | None) -> torch.nn.Module:
    if init.startswith("recipe:"):
        name, _, part = init.removeprefix("recipe:").partition("#")
        checkpoint = stage(name)
        return load_model(checkpoint.parent / part if part else checkpoint)
    if init.startswith("openclip:"):
        return resolve_weights("vificlip", init, arch)
    if Path(init).is_dir():
        return load_model(init)
    from ski_edge.models.convert import convert

    if not Path(init).is_file():
        raise BadInput(f"init {init!r} is no folder, no file, not random, openclip:TAG or recipe:NAME")
    return convert(init)


def _saved(path: Path, world: World) -> SavedTeacher:
    """Embeddings by clip name: of every clip, zeros where the file has none and training needs none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = [file[key] for key in ("names", "embeddings", "classes", "class_embeddings")]
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        raise BadInput(
            f"teacher.embeddings {path} cannot be read ({type(error).__name__}); see ski_edge/train/ski"
        ) from error
    names, embeddings, classes, class_embeddings = parts
    rows = {str(name): row for row, name in enumerate(names)}
    class_rows = {str(name): row for row, name in enumerate(classes)}
    if (
        embeddings.ndim != 2
        or class_embeddings.shape != (len(classes), embeddings.shape[1])
        or len(names) != len(embeddings)
    ):
        raise BadInput(
            f"teacher.embeddings {path}: names {names.shape}, embeddings {embeddings.shape}, classes "
            f"{classes.shape} and class_embeddings {class_embeddings.shape} do not fit together"
        )
    wanted = [world.skeletons.index.clips[int(clip)].name for clip in world.skeleton[world.train]]
    for what, known, names_wanted in (("clip", rows, wanted), ("class", class_rows, world.names(world.seen))):
        if lost := [name for name in names_wanted if name not in known]:
            raise BadInput(f"teacher.embeddings {path} has no {what} {lost[0]!r} ({len(lost)} such); training needs it")
    table = np.zeros((len(world.skeletons), embeddings.shape[1]), np.float32)
    for clip, entry in enumerate(world.skeletons.index.clips):
        if entry.name in rows:
            table[clip] = embeddings[rows[entry.name]]
    chosen = class_embeddings[[class_rows[name] for name in world.names(world.seen)]]
    return SavedTeacher(torch.from_numpy(table), torch.from_numpy(chosen.astype(np.float32)))
