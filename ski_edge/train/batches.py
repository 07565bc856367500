"""Batches of whole clips: all frames lie on the device, every epoch draws its own crops and turns from its own seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ski_edge.errors import BadInput
from ski_edge.skeleton import SkeletonInput, arrange, box, to_modality
from ski_edge.skeleton.resample import neighbours, take
from ski_edge.train.augment import augment, rotate
from ski_edge.train.recipe import Recipe, SkeletonAugment


class ClipFrames:
    """Whole clips, arranged once, all frames on the device."""

    def __init__(
        self, clips: list[np.ndarray], spec: SkeletonInput, augmentation: SkeletonAugment, device: torch.device
    ) -> None:
        if not len(clips):
            raise BadInput("there is not one training clip; check the split")
        self.spec, self.augmentation, self.device = spec, augmentation, device
        arranged = [arrange(clip, spec) for clip in clips]
        self.lengths = np.array([len(clip) for clip in arranged])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.frames = torch.from_numpy(np.concatenate(arranged)).to(device)  # [all frames, M, V, 3]

    def batch(self, chosen: np.ndarray, positions: list[np.ndarray], generator: torch.Generator) -> Tensor:
        """Clips `chosen` at these frame positions, augmented -> [N, 3, T, V, M]."""
        spec, lengths = self.spec, self.lengths[chosen]
        found = [neighbours(at, int(length)) for at, length in zip(positions, lengths, strict=True)]
        before, after, weight, real = (
            torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*found, strict=True)
        )
        starts = torch.from_numpy(self.starts[chosen]).to(self.device)[:, None]
        if spec.scale == "box":  # the box is that of the whole turned clip
            whole = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # padded with its own last frame
            clips = self.frames[starts + torch.from_numpy(whole).to(self.device)]
            clips = box(rotate(clips, self.augmentation, generator), spec)
            rows = torch.arange(len(clips), device=self.device)[:, None] * clips.shape[1]
            clips = take(clips.flatten(0, 1), rows + before, rows + after, weight, real)
            clips = augment(clips, self.augmentation, spec.layout, generator)
        else:
            clips = take(self.frames, starts + before, starts + after, weight, real)
            clips = augment(clips, self.augmentation, spec.layout, generator)
            clips = rotate(clips, self.augmentation, generator)
        return to_modality(clips, spec.layout, spec.modality, spec.root_trajectory).permute(0, 4, 1, 3, 2)


class ClipBatches:
    """Whole clips and their labels, shuffled, cropped, turned."""

    def __init__(self, clips: list[np.ndarray], labels: np.ndarray, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.store = ClipFrames(clips, recipe.skeleton, recipe, device)
        self.labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        """Batches in an epoch, over all processes; an incomplete last one is left out, as in the originals."""
        return max(1, len(self.labels) * self.recipe.repeat // self.recipe.batch_size)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """(clips [N, 3, T, V, M], labels [N]) of one epoch; the same for the same recipe.seed and epoch."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        order = np.concatenate([rng.permutation(len(self.labels)) for _ in range(self.recipe.repeat)])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)) + rank)
        size, resample = self.recipe.batch_size, self.recipe.skeleton.resample
        for batch in range(len(self)):
            chosen = order[batch * size : (batch + 1) * size]
            positions = [resample.random_positions(int(self.store.lengths[i]), rng) for i in chosen]
            mine = slice(rank, None, world)
            clips = self.store.batch(chosen[mine], positions[mine], generator)
            yield clips, self.labels[torch.from_numpy(chosen[mine])]
