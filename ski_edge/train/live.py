"""Windows for networks that watch a stream: an action comes from somewhere and goes somewhere; most of life is *other*.

Clips of a data set begin and end at rest and hold one action each. A network trained on them alone has never seen a
window that starts halfway through an action, or one in which nothing happens, and calls everything something. Here
windows are cut from small artificial streams of one person's clips:

    action   the clip's moving part lies in the window, or fills it; before and after it other clips' rest, blended
    other    pauses; the way from the end of one action to the start of the next; movement between poses drawn at random
             from all clips, which is nobody's action
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ski_edge.data.store import SkeletonData
from ski_edge.errors import BadInput
from ski_edge.skeleton import arrange, to_modality
from ski_edge.skeleton.resample import FixedSeconds
from ski_edge.train.augment import augment, rotate
from ski_edge.train.recipe import LiveWindows, Recipe

_MOVING = 0.25  # of a clip's fastest moment: below it the person rests
_SMOOTH_S = 0.2


def moving_part(clip: np.ndarray, fps: float) -> tuple[int, int]:
    """First and last+1 frame of [T, M, V, 3] in which body 1 moves: its speed exceeds a quarter of its fastest."""
    speed = np.linalg.norm(np.diff(clip[:, 0], axis=0), axis=-1).mean(axis=-1)  # [T - 1]
    if not speed.any():
        return 0, len(clip)
    width = min(max(1, round(_SMOOTH_S * fps)), len(speed))
    smooth = np.convolve(speed, np.ones(width) / width, mode="same")
    fast = np.flatnonzero(smooth > _MOVING * smooth.max())
    return int(fast[0]), int(fast[-1]) + 2


class WindowMaker:
    """Draws labelled windows [F, M, V, 3] from arranged clips."""

    def __init__(self, clips: list[np.ndarray], labels: np.ndarray, owners: np.ndarray, recipe: Recipe) -> None:
        assert isinstance(recipe.skeleton.resample, FixedSeconds)
        assert recipe.live is not None
        self.policy: FixedSeconds = recipe.skeleton.resample
        self.live: LiveWindows = recipe.live
        self.change_speed = recipe.change_speed
        self.clips, self.labels, self.owners = clips, labels, owners
        self.spans = [moving_part(clip, self.policy.fps) for clip in clips]
        self.span = round(self.policy.seconds * self.policy.fps)

    def draw(self, label: int | None, rng: np.random.Generator) -> np.ndarray:
        """A window of class `label`; None: one that is *other*."""
        if label is not None:
            return self._action(int(rng.choice(np.flatnonzero(self.labels == label))), rng)
        kind = rng.random()
        if kind < 0.25:
            return self._pause(rng)
        return self._between(rng) if kind < 0.6 else self._aimless(rng)

    def _action(self, clip: int, rng: np.random.Generator) -> np.ndarray:
        """A window that holds at least `min_action` of the moving part, or is filled with it as far."""
        first, last = self.spans[clip]
        lead, stream = self._embed(clip, rng)
        length = self._length(rng)
        need = self.live.min_action * min(last - first, length)
        # The window [end - length, end) overlaps [first, last) by at least `need` frames.
        earliest = lead + first + need
        latest = lead + last + length - need
        return self._cut(stream, rng.uniform(earliest, max(earliest, latest)), length)

    def _between(self, rng: np.random.Generator) -> np.ndarray:
        """From the end of one action to the start of another of the same person."""
        clip = int(rng.integers(len(self.clips)))
        after = self._same_person(clip, rng)
        first_part = self.clips[clip][max(0, self._edge(clip, rng, at_end=True)) :]
        second_part = self.clips[after][: self._edge(after, rng, at_end=False)]
        length = self._length(rng)
        missing = max(2, round(length - len(first_part) - len(second_part)))
        stream = np.concatenate(
            [first_part, self._pause_between(first_part[-1], second_part[0], missing, rng), second_part]
        )
        return self._cut(stream, rng.uniform(min(length, len(stream)), len(stream)), length)

    def _edge(self, clip: int, rng: np.random.Generator, at_end: bool) -> int:
        """A frame up to `max_other` of the action away from its end (or start)."""
        first, last = self.spans[clip]
        inside = round(rng.uniform(0, self.live.max_other) * (last - first))
        return min(len(self.clips[clip]) - 1, last - inside) if at_end else max(1, first + inside)

    def _pause(self, rng: np.random.Generator) -> np.ndarray:
        """A pose from a clip's edge, held, swaying a little."""
        clip = self.clips[int(rng.integers(len(self.clips)))]
        pose = clip[0] if rng.random() < 0.5 else clip[-1]
        return self._cut(self._sway(np.repeat(pose[None], self.span + 2, axis=0), rng), self.span, self.span)

    def _aimless(self, rng: np.random.Generator) -> np.ndarray:
        """From pose to pose: arms, legs and trunk go somewhere, but nothing is done."""
        length, stream = self._length(rng), []
        pose = self._any_pose(rng)
        while sum(map(len, stream)) < length + 1:
            following = self._any_pose(rng)
            stream.append(_blend(pose, following, round(rng.uniform(0.3, 1.2) * self.policy.fps)))
            if rng.random() < 0.4:
                stream.append(np.repeat(following[None], round(rng.uniform(0.1, 0.8) * self.policy.fps), axis=0))
            pose = following
        whole = np.concatenate(stream)
        return self._cut(self._sway(whole, rng), rng.uniform(length, len(whole)), length)

    def _any_pose(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.clips[int(rng.integers(len(self.clips)))]
        return clip[int(rng.integers(len(clip)))]

    def _embed(self, clip: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """(frames before the clip, stream): the clip between the rest of two others of the same person."""
        body, pause = self.clips[clip], lambda: round(rng.uniform(0.2, 1.0) * self.policy.fps)
        before, after = self._same_person(clip, rng), self._same_person(clip, rng)
        tail, head = self.clips[before][self.spans[before][1] - 1 :], self.clips[after][: max(1, self.spans[after][0])]
        # Long enough on both sides for every window that may be cut.
        still = self.span * 2
        lead = [
            np.repeat(tail[:1], still, axis=0),
            tail,
            self._pause_between(tail[-1], body[0], pause(), rng),
        ]
        trail = [self._pause_between(body[-1], head[0], pause(), rng), head, np.repeat(head[-1:], still, axis=0)]
        return sum(map(len, lead)), np.concatenate([*lead, body, *trail])

    def _same_person(self, clip: int, rng: np.random.Generator) -> int:
        return int(rng.choice(np.flatnonzero(self.owners == self.owners[clip])))

    def _pause_between(self, start: np.ndarray, end: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
        """Stand, move over, stand."""
        moving = max(2, min(frames, round(rng.uniform(0.2, 0.8) * self.policy.fps)))
        before = int(rng.integers(0, max(1, frames - moving + 1)))
        still = np.concatenate(
            [
                np.repeat(start[None], before, axis=0),
                _blend(start, end, moving),
                np.repeat(end[None], max(0, frames - moving - before), axis=0),
            ]
        )
        return self._sway(still, rng)

    def _sway(self, stream: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Nobody stands like a statue: a slow wave per joint and axis, a few hundredths of a bone."""
        time = np.arange(len(stream))[:, None, None, None] / self.policy.fps
        shape = (1, *stream.shape[1:])
        wave = np.sin(2 * np.pi * (rng.uniform(0.1, 0.8, shape) * time + rng.random(shape)))
        return stream + 0.04 * rng.random() * wave

    def _length(self, rng: np.random.Generator) -> float:
        """Frames in a window; more where time is to run faster."""
        return self.span * (1 + self.change_speed * rng.uniform(-1, 1))

    def _cut(self, stream: np.ndarray, end: float, length: float) -> np.ndarray:
        """`frames` moments of [end - length, end), the last one at end - 1."""
        frames = self.policy.frames
        positions = np.clip(end - 1 - np.arange(frames)[::-1] * (length / frames), 0, len(stream) - 1)
        before = np.floor(positions).astype(np.int64)
        after, weight = np.minimum(before + 1, len(stream) - 1), (positions - before)[:, None, None, None]
        return (stream[before] * (1 - weight) + stream[after] * weight).astype(np.float32)


def _blend(start: np.ndarray, end: np.ndarray, frames: int) -> np.ndarray:
    """Pose to pose [F, M, V, 3] with a smooth start and stop."""
    share = (1 - np.cos(np.pi * np.linspace(0, 1, max(2, frames)))) / 2
    return start + share[:, None, None, None] * (end - start)


class LiveBatches:
    """Batches of windows; every epoch draws new ones."""

    def __init__(
        self,
        clips: list[np.ndarray],
        labels: np.ndarray,
        data: SkeletonData,
        which: np.ndarray,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        if not clips:
            raise BadInput("there is not one training clip; check the split")
        self.recipe, self.device, self.other = recipe, device, len(data.index.classes)
        arranged = [arrange(clip, recipe.skeleton) for clip in clips]
        self.maker = WindowMaker(arranged, labels, data.column("subject")[which], recipe)
        self.present = np.unique(labels)

    def __len__(self) -> int:
        assert self.recipe.live is not None
        return max(1, self.recipe.live.windows // self.recipe.batch_size)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """(windows [N, 3, T, V, M], labels [N]); the same for the same recipe.seed and epoch."""
        recipe = self.recipe
        assert recipe.live is not None
        rng = np.random.default_rng([recipe.seed, epoch])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)) + rank)
        spec = recipe.skeleton
        for _ in range(len(self)):
            labels = np.where(
                rng.random(recipe.batch_size) < recipe.live.other_share,
                self.other,
                rng.choice(self.present, recipe.batch_size),
            )
            windows = np.stack([self.maker.draw(None if label == self.other else int(label), rng) for label in labels])
            clips = torch.from_numpy(windows[rank::world]).to(self.device)
            clips = rotate(augment(clips, recipe, spec.layout, generator), recipe, generator)
            stream = to_modality(clips, spec.layout, spec.modality, spec.root_trajectory)
            yield stream.permute(0, 4, 1, 3, 2), torch.from_numpy(labels[rank::world]).to(self.device)
