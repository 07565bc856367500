"""Batches of pairs: every random choice of a step follows from (seed, epoch, step), whatever came before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ski_edge.data.clips import load_clips
from ski_edge.skeleton import SkeletonInput
from ski_edge.train.batches import ClipFrames
from ski_edge.train.pixels import augment, blend, soft_labels
from ski_edge.train.ski.recipe import SkiRecipe
from ski_edge.train.ski.world import World
from ski_edge.train.video_batches import VideoBatches


@dataclass(frozen=True)
class PairBatch:
    """One process's part of a batch."""

    frames: Tensor | None  # float32 [n, T, 3, S, S]
    skeleton: Tensor | None  # float32 [n, 3, T, V, M]; int64 [n] for saved embeddings
    target: Tensor  # float32 [n, K], smoothed and mixed as the frames are
    skeleton_target: Tensor  # float32 [n, K]
    labels: Tensor  # int64 [n, groups]
    names: tuple[str, ...]  # of the clips, to name them when something goes wrong


class PairBatches:
    """The training part of a world, batch by batch."""

    def __init__(self, recipe: SkiRecipe, world: World, spec: SkeletonInput | None, device: torch.device) -> None:
        """spec: what the teacher expects of skeletons; None where it reads none."""
        self.recipe, self.world, self.device = recipe, world, device
        self.size = recipe.optim.batch_size
        self.labels = torch.from_numpy(world.train_labels)
        self.video = None
        if recipe.student is not None:
            which = world.video[world.train]
            self.video = VideoBatches(world.videos, which, recipe.video, device, self.size, recipe.seed)
            self.position = {int(clip): position for position, clip in enumerate(which)}
        self.clips: ClipFrames | None = None
        if spec is not None:
            needed, self.row = np.unique(world.skeleton[world.train], return_inverse=True)
            frames = load_clips(world.skeletons, needed, spec)
            self.clips = ClipFrames(frames, spec, recipe.teacher.augment, device)

    def __len__(self) -> int:
        """Batches in an epoch, over all processes; an incomplete last one is left out."""
        return len(self.world.train) // self.size

    def epoch(self, epoch: int, rank: int, world_size: int, start: int) -> Iterator[PairBatch]:
        """Batches `start`, `start` + 1, ... of an epoch; rank r of w takes clips r, r + w, ... of each."""
        mine = slice(rank, None, world_size)
        if self.video is not None:
            stream = (
                (b.frames, np.array([self.position[int(c)] for c in b.chosen]))
                for b in self.video.epoch(epoch, rank, world_size, start)
            )
        else:
            order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.world.train))
            whole = (order[step * self.size : (step + 1) * self.size] for step in range(start, len(self)))
            stream = ((None, chosen[mine]) for chosen in whole)
        for step, (frames, chosen) in enumerate(stream, start):
            yield self._batch(frames, chosen, [self.recipe.seed, epoch, step, rank])

    def _batch(self, frames: Tensor | None, chosen: np.ndarray, seed: list[int]) -> PairBatch:
        recipe, labels = self.recipe, self.labels[torch.from_numpy(chosen)].to(self.device)
        columns = zip(labels.unbind(1), self.world.groups, strict=True)
        soft = [soft_labels(column, size, recipe.label_smoothing) for column, size in columns]
        target = skeleton_target = torch.cat(soft, dim=1)
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if frames is None and recipe.mix_skeleton_labels:
            # The official first stage mixes the labels of images that the network never sees
            size = recipe.video.preprocessing.crop
            _, skeleton_target = blend(torch.empty(len(chosen), 1, 1, size, size), target, recipe.video, generator)
        if frames is not None:
            frames = augment(frames, recipe.video, generator)
            frames, target = blend(frames, target, recipe.video, generator)
            if recipe.mix_skeleton_labels:
                skeleton_target = target
        skeleton = None
        if self.clips is not None:
            rows = self.row[chosen]
            resample = self.clips.spec.resample
            positions = [resample.random_positions(int(self.clips.lengths[row]), rng) for row in rows]
            turns = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
            skeleton = self.clips.batch(rows, positions, turns)
        elif recipe.teacher is not None:
            skeleton = torch.from_numpy(self.world.skeleton[self.world.train[chosen]]).to(self.device)
        names = tuple(self.world.name_of(int(pair)) for pair in self.world.train[chosen])
        return PairBatch(frames, skeleton, target, skeleton_target, labels, names)
