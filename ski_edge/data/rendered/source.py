"""Rendered clips as a source of video: drawn once into one memory-mapped file, shared by all runs that want the same.

clips.npy    uint8 [clips, frames, size, size, 3]
labels.npy   int64 [clips, groups], where clips are described (`RenderedFrames`)
world.json   what it was made of
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ski_edge.data.rendered.captions import GROUPS, describe
from ski_edge.data.rendered.clips import render, silhouette
from ski_edge.data.rendered.look import Look, draw_look
from ski_edge.data.rendered.objects import OBJECTS
from ski_edge.data.rendered.world import RenderedFrames, RenderedWorld, held_object, move_arms
from ski_edge.data.store import CLIPS, INDEX, SkeletonData, open_data
from ski_edge.errors import BadInput
from ski_edge.files import sha256_file, write_json

_FRAMES, _LABELS, _WORLD = "clips.npy", "labels.npy", "world.json"
_VERSION = 1  # of the drawing: raise it when the same look gives other pixels
_PIECE = 64  # clips that a worker draws at a time
Progress = Callable[[int, int], None]  # (clips drawn, clips in all)
World = RenderedWorld | RenderedFrames


@dataclass(frozen=True)
class RenderedVideos:
    """A `VideoSource`: clip i shows skeleton i // looks."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray  # int64 [N]; of described frames [N, groups]
    looks: int
    frames: np.ndarray  # memory map

    def length(self, clip: int) -> int:
        return self.frames.shape[1]

    def read(self, clip: int, indices: np.ndarray) -> np.ndarray:
        """uint8 [len(indices), size, size, 3] RGB."""
        return self.frames[clip][indices]


def render_data(
    data: SkeletonData, world: RenderedWorld, cache: Path, progress: Progress = lambda done, total: None
) -> RenderedVideos:
    """All clips of `data`, drawn or found below `cache`. Two processes that want the same wait for each other."""
    folder = _drawn(data, world, len(data) * world.looks, cache, progress)
    frames = _load(folder / _FRAMES, (len(data) * world.looks, world.frames, world.size, world.size, 3), np.uint8)
    names = tuple(f"{clip.name}/{look}" for clip in data.index.clips for look in range(world.looks))
    return RenderedVideos(names, data.index.classes, np.repeat(data.labels, world.looks), world.looks, frames)


def render_frames(
    data: SkeletonData, world: RenderedFrames, cache: Path, progress: Progress = lambda done, total: None
) -> RenderedVideos:
    """Single described frames of people of `data`; classes are the phrases of `captions.GROUPS`, one after another."""
    folder = _drawn(data, world, world.count, cache, progress)
    frames = _load(folder / _FRAMES, (world.count, 1, world.size, world.size, 3), np.uint8)
    labels = _load(folder / _LABELS, (world.count, len(GROUPS)), np.int64)
    phrases = tuple(phrase for group in GROUPS.values() for phrase in group)
    names = tuple(f"frame {i}" for i in range(world.count))
    return RenderedVideos(names, phrases, np.asarray(labels), 1, frames)


def _load(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape != shape or array.dtype != dtype:
        raise BadInput(f"{path} is {array.dtype} {list(array.shape)}, not {list(shape)}; delete {path.parent}")
    return array


def _drawn(data: SkeletonData, world: World, count: int, cache: Path, progress: Progress) -> Path:
    """The folder that holds the clips of a world, drawn now if it is not there."""
    files = [sha256_file(data.folder / name) for name in (CLIPS, INDEX)]
    text = json.dumps([_VERSION, type(world).__name__, *files, world.model_dump(mode="json")])
    key = hashlib.sha256(text.encode()).hexdigest()
    folder = cache / f"rendered-{key[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _WORLD).is_file():
            _draw_all(data, world, count, folder, progress)
            write_json(folder / _WORLD, {"key": key, "dataset": data.index.dataset, **world.model_dump(mode="json")})
    return folder


def _draw_all(data: SkeletonData, world: World, count: int, folder: Path, progress: Progress) -> None:
    temporary = folder / f".{_FRAMES}"
    length = world.frames if isinstance(world, RenderedWorld) else 1
    shape = (count, length, world.size, world.size, 3)
    frames = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    labels = np.zeros((count, len(GROUPS)), np.int64)
    jobs = [(str(data.folder), world, start, min(start + _PIECE, count)) for start in range(0, count, _PIECE)]
    # A fresh interpreter for each worker: torch's and OpenCV's threads do not survive a fork.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for (*_, start, stop), (clips, described) in zip(jobs, pool.map(_draw_piece, jobs), strict=True):
            frames[start:stop], labels[start:stop] = clips, described
            progress(stop, count)
    frames.flush()
    if isinstance(world, RenderedFrames):
        np.save(folder / _LABELS, labels)
    os.replace(temporary, folder / _FRAMES)


def _draw_piece(job: tuple[str, World, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [n, frames, size, size, 3], int64 [n, groups]) of clips start to stop; the same in every process."""
    folder, world, start, stop = job
    data, draw = _opened(folder), _draw_clip if isinstance(world, RenderedWorld) else _draw_frame
    clips, labels = zip(*(draw(data, world, number) for number in range(start, stop)), strict=True)
    return np.stack(clips), np.stack(labels)


def _draw_clip(data: SkeletonData, world: RenderedWorld, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A whole clip. Nothing is said of it."""
    sequence, look = _clip(data, world, number)
    return render(sequence, data.index.layout, look, world.size), np.zeros(len(GROUPS), np.int64)


def bodies(data: SkeletonData, world: RenderedWorld, number: int) -> np.ndarray:
    """Where people are in clip `number` of `render_data`: bool [frames, size, size]."""
    sequence, look = _clip(data, world, number)
    return silhouette(sequence, data.index.layout, look, world.size)


def _clip(data: SkeletonData, world: RenderedWorld, number: int) -> tuple[np.ndarray, Look]:
    """What is drawn of skeleton number // looks: float [frames, M, V, 3], and how."""
    skeleton, look = divmod(number, world.looks)
    entry, sequence = data.index.clips[skeleton], data[skeleton]
    seen = _seen(data, skeleton)
    moments = np.rint(np.linspace(seen[0], seen[-1], world.frames)).astype(int)
    rng = np.random.default_rng([world.seed, skeleton, look])
    held = held_object(world, data.index.classes[entry.label], entry.label, rng) if entry.label >= 0 else None
    return sequence[moments], draw_look(rng, held)


def _draw_frame(data: SkeletonData, world: RenderedFrames, number: int) -> tuple[np.ndarray, np.ndarray]:
    """One frame of anybody, arms moved as nobody did, anything or nothing in the hand."""
    rng = np.random.default_rng([world.seed, number])
    skeleton = int(rng.integers(len(data)))
    moment = int(rng.choice(_seen(data, skeleton)))
    bodies = data[skeleton][moment : moment + 1].copy()
    layout = data.index.layout
    bodies[0, 0] = move_arms(bodies[0, 0], layout, world.moved_arms, rng)
    held = int(rng.integers(len(OBJECTS) + 1))
    look = draw_look(rng, OBJECTS[held] if held < len(OBJECTS) else None)
    return render(bodies, layout, look, world.size), describe(look, bodies[0, 0], layout)


def _seen(data: SkeletonData, skeleton: int) -> np.ndarray:
    """Frames with body 1."""
    seen = np.flatnonzero((data[skeleton][:, 0] != 0).any(axis=(1, 2)))
    if not len(seen):
        name = data.index.clips[skeleton].name
        raise BadInput(f"{name}: the skeleton is empty, so there is nothing to draw; leave the clip out")
    return seen


@lru_cache(maxsize=1)
def _opened(folder: str) -> SkeletonData:
    """Once per worker process."""
    import cv2

    cv2.setNumThreads(1)
    return open_data(folder)
