"""NTU's pipeline as CTR-GCN has it: which tracks are people, who is actor 1, where the origin is.

The same thresholds, the same order and the same quirks, in float32 as there, because published checkpoints have been
trained on exactly these numbers. Recording -> float32 [T, 2, 25, 3].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ski_edge.data.ntu import JOINTS, NtuRecording
from ski_edge.errors import BadInput

SHORTEST = 11  # frames; a track must be longer
WIDEST = 0.8  # a frame is noise where the body is wider than this share of its height
MOST_WIDE = 0.69754  # a track is noise where this share of its frames is
_ORIGIN = 1  # spine mid


@dataclass(frozen=True)
class Track:
    """One track id's bodies, in order."""

    start: int  # frame of the first one, counted without the frames that hold nobody
    joints: np.ndarray  # float32 [n, 25, 3]
    motion: float  # variance of all its joint positions, summed over x, y, z

    @property
    def end(self) -> int:
        """Its last frame if it had no gaps: the originals count on after the first one, and lose sight of gaps."""
        return self.start + len(self.joints) - 1


def to_clip(recording: NtuRecording, where: str) -> np.ndarray:
    """Denoise, choose actors, subtract actor 1's first spine mid: float32 [T, 2, 25, 3], missing bodies all zeros."""
    tracks, frames = tracks_of(recording)
    if not tracks:
        raise BadInput(f"{where}: none of its {recording.frames} frames holds a body")
    if len(tracks) > 1:
        tracks = drop_wide(drop_short(tracks))
        if not tracks:
            raise BadInput(f"{where}: no body is seen for more than {SHORTEST} frames")
        return _translated(_without_empty(_actors(tracks, frames)), len(tracks) > 1)
    return _translated(_actors(tracks, frames), False)


def tracks_of(recording: NtuRecording) -> tuple[list[Track], int]:
    """(tracks in order of appearance, frames that hold somebody)."""
    seen, position = np.unique(recording.frame, return_inverse=True)
    rows: dict[str, list[int]] = {}
    for row, track_id in enumerate(recording.ids):
        rows.setdefault(track_id, []).append(row)
    tracks = []
    for found in rows.values():
        joints = recording.joints[found]
        tracks.append(Track(int(position[found[0]]), joints, _motion(joints)))
    return tracks, len(seen)


def drop_short(tracks: list[Track]) -> list[Track]:
    """Tracks of more than 11 frames."""
    return [track for track in tracks if len(track.joints) > SHORTEST]


def drop_wide(tracks: list[Track]) -> list[Track]:
    """Without the tracks that lie flat in most frames, as long as more than one is left; then by motion, most first."""
    kept = list(tracks)
    for track in tracks:
        if len(kept) == 1:
            break
        spread = np.ptp(track.joints, axis=1).astype(np.float64)
        valid = spread[:, 0] <= WIDEST * spread[:, 1]
        noise = len(valid) - int(valid.sum())
        if noise == 0:
            continue
        place = next(i for i, other in enumerate(kept) if other is track)
        if noise / len(valid) >= MOST_WIDE:
            del kept[place]
        else:
            kept[place] = Track(track.start, track.joints, min(track.motion, _motion(track.joints[valid])))
    return sorted(kept, key=lambda track: track.motion, reverse=True)


def _motion(joints: np.ndarray) -> float:
    return float(np.sum(np.var(joints.reshape(-1, 3), axis=0)))


def _actors(tracks: list[Track], frames: int) -> np.ndarray:
    """float32 [frames, 2, 25, 3]: the first track is actor 1; the others join whom they do not overlap, or nobody."""
    clip = np.zeros((frames, 2, JOINTS, 3), np.float32)
    first, *others = tracks
    clip[first.start : first.end + 1, 0] = first.joints
    spans = [(first.start, first.end), (0, 0)]  # actor 2 begins as a point at frame 0
    for track in others:
        for actor, (start, end) in enumerate(spans):
            if min(end, track.end) - max(start, track.start) <= 0:
                clip[track.start : track.end + 1, actor] = track.joints
                spans[actor] = (min(start, track.start), max(end, track.end))
                break
    return clip


def _without_empty(clip: np.ndarray) -> np.ndarray:
    """Frames in which both actors are missing are cut out; missing means that the coordinates sum to 0."""
    return clip[clip.reshape(len(clip), -1).sum(axis=1) != 0]


def _translated(clip: np.ndarray, two: bool) -> np.ndarray:
    """Origin at actor 1's spine mid where actor 1 is first seen; a missing actor stays zeros."""
    seen = np.flatnonzero((clip[:, 0] != 0).any(axis=(1, 2)))
    origin = clip[seen[0], 0, _ORIGIN].copy()
    missing = clip.reshape(len(clip), 2, -1).sum(axis=2) == 0
    moved = clip - origin
    if two:
        moved[missing] = 0
    else:
        moved[:, 1] = 0
    return moved
