"""What a run learns from and is asked about: pairs of a video and a skeleton in three parts, and classes' texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.prompts import class_prompts, prompts_file, read_prompts
from ski_edge.data.rendered.captions import GROUPS
from ski_edge.data.rendered.source import render_data, render_frames
from ski_edge.data.splits import is_zero_shot, split, validation_part, zero_shot_classes
from ski_edge.data.store import SkeletonData, open_data
from ski_edge.data.video import VideoSource, open_videos, pair
from ski_edge.errors import BadInput
from ski_edge.train.ski.recipe import Data, SkiRecipe, Text

CACHE = Path("runs/cache")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class World:
    """P pairs. Parts are indices into them."""

    classes: tuple[str, ...]  # all
    seen: np.ndarray  # int64: labels of the base classes, ascending; training counts classes in this order
    unseen: np.ndarray  # int64: labels of the novel classes
    labels: np.ndarray  # int64 [P]; of described frames [P, groups], counted inside each group
    video: np.ndarray  # int64 [P]: clip of `videos`
    skeleton: np.ndarray  # int64 [P]: clip of `skeletons`
    videos: VideoSource | None
    skeletons: SkeletonData
    train: np.ndarray  # base classes
    seen_test: np.ndarray  # base classes, held out; may be empty
    unseen_test: np.ndarray  # novel classes
    groups: tuple[int, ...]  # sizes of the groups of classes in training, of each of which one is true; mostly one

    @property
    def train_labels(self) -> np.ndarray:
        """int64 [len(train), groups]: positions in `seen`, or in the groups of described frames."""
        labels = self.labels[self.train]
        return labels if labels.ndim == 2 else np.searchsorted(self.seen, labels)[:, None]

    def name_of(self, pair: int) -> str:
        """A pair's clip, for messages."""
        clip = int(self.video[pair])
        return self.videos.names[clip] if clip >= 0 else self.skeletons.index.clips[int(self.skeleton[pair])].name

    def names(self, which: np.ndarray) -> list[str]:
        return [self.classes[int(label)] for label in which]


def open_world(recipe: SkiRecipe, progress: Progress = lambda done, total: None) -> World:
    """Open the data of a recipe; draws the clips if they are to be drawn and are not there yet."""
    spec = recipe.data
    skeletons = open_data(spec.skeletons)
    if spec.described is not None:
        world = _described(spec, skeletons, progress)
    else:
        world = _paired(recipe, skeletons, progress)
    if len(world.train) < recipe.optim.batch_size:  # said here: recipes that come before would be trained first
        raise BadInput(
            f"batch_size {recipe.optim.batch_size} is larger than the training part of {len(world.train)} pairs"
        )
    return world


def _paired(recipe: SkiRecipe, skeletons: SkeletonData, progress: Progress) -> World:
    """Videos and skeletons of the same clips, or skeletons alone; the split says whom of them nobody may see."""
    spec = recipe.data
    base, novel = split(skeletons, spec.split)
    held_out = np.array([], np.int64)
    if spec.seen_test_share:
        base, held_out = validation_part(skeletons, base, novel, spec.seen_test_share, 0)
    labels = skeletons.labels
    seen, unseen = np.unique(labels[base]), np.unique(labels[novel])
    if both := sorted(set(seen) & set(unseen)):
        name = skeletons.index.classes[both[0]]
        raise BadInput(f"split {spec.split} trains and tests on {name!r}; SKI training needs one that divides classes")
    if is_zero_shot(spec.split):  # all its classes, with or without clips: fewer to choose among would be easier
        seen, unseen = (np.array(part, np.int64) for part in zero_shot_classes(spec.split, skeletons.index.classes))
    videos, pairs = _videos(recipe, spec, skeletons, progress)
    parts = [np.flatnonzero(np.isin(pairs[:, 1], part)) for part in (base, held_out, novel)]
    for part, what in ((parts[0], "training"), (parts[2], "test")):
        if not len(part):
            raise BadInput(
                f"split {spec.split} leaves no {what} pair of a video and a skeleton; see ski-edge data check"
            )
    return World(
        skeletons.index.classes,
        seen,
        unseen,
        labels[pairs[:, 1]],
        pairs[:, 0],
        pairs[:, 1],
        videos,
        skeletons,
        *parts,
        (len(seen),),
    )


def _described(spec: Data, skeletons: SkeletonData, progress: Progress) -> World:
    """Frames and phrases: all classes are seen, a share of the frames is held out."""
    videos = render_frames(skeletons, spec.described, CACHE, progress)
    count, every = len(videos.names), np.arange(len(videos.classes))
    held_out = max(1, round(count * spec.seen_test_share))
    nothing, clips = np.array([], np.int64), np.arange(count)
    groups = tuple(len(group) for group in GROUPS.values())
    parts = clips[:-held_out], clips[-held_out:], nothing
    alone = np.full(count, -1)
    return World(videos.classes, every, nothing, videos.labels, clips, alone, videos, skeletons, *parts, groups)


def _videos(
    recipe: SkiRecipe, spec: Data, skeletons: SkeletonData, progress: Progress
) -> tuple[VideoSource | None, np.ndarray]:
    """(videos, int64 [P, 2] pairs of a video and a skeleton). Without a student every skeleton is a pair alone."""
    own = np.arange(len(skeletons))
    if recipe.student is None:
        return None, np.stack([np.full_like(own, -1), own], axis=1)
    if spec.rendered is not None:
        videos = render_data(skeletons, spec.rendered, CACHE, progress)
        clips = np.arange(len(own) * videos.looks)
        return videos, np.stack([clips, clips // videos.looks], axis=1)
    if not spec.videos.exists():
        raise BadInput(
            f"data.videos {spec.videos} does not exist; this recipe needs a folder of RGB videos named as the "
            "skeletons, or a list of them (skeletons alone train skeletonclip-official and skeletonclip-paper)"
        )
    found = open_videos(spec.videos, skeletons.index.classes, spec.root, spec.checked)
    return found, np.stack(pair(found, skeletons), axis=1)


def prompts(names: list[str], text: Text) -> list[tuple[str, ...]]:
    """What the text encoder reads for each class, equally many sentences of each, whose embeddings are averaged: the
    description if the file has one, else the template, or what `text.templates` makes of both.
    """
    described: dict[str, str] = {}
    if text.prompts is not None:
        found = read_prompts(prompts_file(text.prompts))
        described = {name: found[name] for name in names if name in found}
    if text.templates is None:
        return [(described.get(name) or text.template.replace("{}", name),) for name in names]
    made = class_prompts(names, text.templates, described)
    count = max(map(len, made.values()))  # a description stands alone; it counts as often as templates do
    return [made[name] * (count // len(made[name])) for name in names]
