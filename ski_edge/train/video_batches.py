"""Batches of clips for video networks: the same batches for the same seed, however many threads and processes read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ski_edge.data.video.ahead import Allocate, read_ahead
from ski_edge.data.video.cache import CachedVideos
from ski_edge.data.video.crops import centre_crop, flip, jitter_crop, multi_scale_crop, resize_short
from ski_edge.data.video.files import ShortVideos, VideoFiles
from ski_edge.data.video.sampling import segments_train, stride_train
from ski_edge.data.video.source import VideoSource
from ski_edge.data.video.views import Views, view_batches
from ski_edge.errors import BadInput
from ski_edge.train.video_recipe import VideoRecipe


@dataclass(frozen=True)
class Batch:
    """frames: uint8 [n, T, S, S, 3] on the device (`views`: [n, V, T, S, S, 3]); chosen: int64 [n], clips of source."""

    frames: Tensor
    chosen: np.ndarray


class VideoBatches:
    """Training clips `which` of a source: shuffled, sampled in time, cropped, flipped. Colours: `train.pixels`."""

    def __init__(
        self,
        source: VideoSource,
        which: np.ndarray,
        recipe: VideoRecipe,
        device: torch.device | str,
        batch_size: int,
        seed: int,
    ) -> None:
        """batch_size: clips of a batch over all processes."""
        self.which = _checked(source, which)
        if batch_size < 1:
            raise BadInput(f"batch_size must be at least 1, got {batch_size}")
        self.source, self.recipe, self.seed = _resized(source, recipe, _training_short(recipe)), recipe, seed
        self.device = torch.device(device)
        self.batch_size = min(batch_size, len(self.which))

    def __len__(self) -> int:
        """Batches in an epoch, over all processes; an incomplete last one is left out, as in the originals."""
        return len(self.which) // self.batch_size

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on; those before it are not read.

        The order comes from (seed, epoch), what is random about a clip from (seed, epoch, its place in the order): a
        resumed epoch goes on with the batches it would have had. Process `rank` of `world` gets every world-th clip of
        each batch.
        """
        size = self.batch_size
        if not 0 <= rank < world <= size:
            raise BadInput(f"a batch of {size} clips cannot be shared as process {rank} of {world}; set a larger batch")
        order = np.random.default_rng([self.seed, epoch]).permutation(self.which)
        shape = (self.recipe.frames, self.recipe.preprocessing.crop, self.recipe.preprocessing.crop, 3)
        batches = (np.arange(batch * size + rank, (batch + 1) * size, world) for batch in range(start, len(self)))

        def make(place: int) -> np.ndarray:
            return self._clip(int(order[place]), np.random.default_rng([self.seed, epoch, place]))

        for places, frames in read_ahead(make, batches, shape, self.recipe.workers, _allocate(self.device)):
            yield Batch(_moved(frames, self.device), order[places])

    def _clip(self, clip: int, rng: np.random.Generator) -> np.ndarray:
        recipe, size = self.recipe, self.recipe.preprocessing.crop
        length = self.source.length(clip)
        if recipe.sampling == "segments":
            indices = segments_train(length, recipe.frames, rng)
        else:
            indices = stride_train(length, recipe.frames, recipe.rate, rng)
        frames = self.source.read(clip, indices)
        if recipe.crop == "jitter":
            frames = jitter_crop(frames, size, recipe.jitter_short, rng)
        else:
            frames = resize_short(frames, recipe.preprocessing.resize_short)
            if recipe.crop == "multi-scale":
                frames = multi_scale_crop(frames, size, rng, recipe.scales, recipe.scale_gap)
            else:
                frames = centre_crop(frames, size)
        return flip(frames) if rng.random() < recipe.flip else frames


def views(
    source: VideoSource,
    which: np.ndarray,
    recipe: VideoRecipe,
    views: tuple[int, int] = (1, 1),
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """All clips `which` in their order, for evaluation: frames [n, V, T, S, S, 3], V = temporal views * crops.

    views: (temporal, crops); (1, 1) is the runtime's preprocessing, (4, 3) the papers' many views.
    """
    device = torch.device(device)
    spec = Views(
        frames=recipe.frames,
        sampling=recipe.sampling,
        rate=recipe.rate,
        preprocessing=recipe.preprocessing,
        temporal=views[0],
        crops=views[1],
    )
    which = _checked(source, which)
    source = _resized(source, recipe, spec.short)
    for chosen, frames in view_batches(source, which, spec, batch_size, recipe.workers, _allocate(device)):
        yield Batch(_moved(frames, device), chosen)


def _resized(source: VideoSource, recipe: VideoRecipe, short: int | None) -> VideoSource:
    """Video files, resized as they are decoded and kept in the recipe's cache; other sources as they are.

    short: None where frames are wanted as recorded.
    """
    if short is None or not isinstance(source, VideoFiles):
        return source
    if recipe.cache is None:
        return ShortVideos(source, short)
    return CachedVideos(source, recipe.cache, short, int(recipe.cache_gb * 1e9))


def _training_short(recipe: VideoRecipe) -> int | None:
    if recipe.crop != "jitter":
        return recipe.preprocessing.resize_short
    return recipe.jitter_short[1] if recipe.cache else None  # from the cache, each frame is resized twice


def _checked(source: VideoSource, which: np.ndarray) -> np.ndarray:
    which = np.asarray(which, np.int64)
    if not len(which):
        raise BadInput("there is not one clip; check the split")
    if strange := [int(clip) for clip in (which.min(), which.max()) if not 0 <= clip < len(source.names)]:
        raise BadInput(f"clip {strange[0]} was asked for, the source has {len(source.names)}")
    return which


def _allocate(device: torch.device) -> Allocate | None:
    """Memory the device can copy from while it works."""
    if device.type != "cuda":
        return None
    return lambda shape: torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()


def _moved(frames: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(frames).to(device, non_blocking=True)
