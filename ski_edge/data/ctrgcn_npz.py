"""CTR-GCN's prepared files: NTU60_CS.npz, NTU60_CV.npz, NTU120_CSub.npz, NTU120_CSet.npz.

`x_train`, `x_test` [n, frames, 150] (frame, body, joint, xyz; centred; zeros behind the last frame), `y_train`,
`y_test` one-hot [n, 60 or 120]. SKI adds `files_train`, `files_test` [n] with the samples' names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.data.checks import FARTHEST_M
from ski_edge.data.npz import Member, damage_named, members
from ski_edge.errors import BadInput

_BODIES, _JOINTS = 2, 25
_WIDTH = _BODIES * _JOINTS * 3
_LONGEST = 10_000  # frames of a clip
_MOST = 10_000_000  # clips


@dataclass(frozen=True)
class Sample:
    """One clip of the file."""

    name: str  # the sample's own where the file has it, else train_000000
    split: str  # "train" or "test"
    label: int
    joints: np.ndarray  # float32 [T, 2, 25, 3]; T = 0 where the clip is all zeros
    copied: bool  # body 2 was a copy of body 1 (NTU-120's files); here it is zeros


def num_classes(path: str | Path) -> int:
    """60 or 120, from the width of the labels."""
    return _parts(Path(path))["train"][1].shape[1]


def read_ctrgcn(path: str | Path) -> Iterator[Sample]:
    """The clips of a file in its order, a few megabytes at a time."""
    path = Path(path)
    with damage_named(path):
        for split, (clips, labels, names) in _parts(path).items():
            label = _labels(labels)
            known = [_text(name) for name in names.read(_MOST)] if names else []
            number = 0
            for block in clips.pieces():
                for row in block.astype(np.float32, copy=False):
                    joints, copied = _clip(row, f"{path}: {clips.name}[{number}]")
                    name = known[number] if known else f"{split}_{number:06d}"
                    yield Sample(name, split, int(label[number]), joints, copied)
                    number += 1


def _parts(path: Path) -> dict[str, tuple[Member, Member, Member | None]]:
    """split -> (clips, labels, names), every shape checked before anything is read."""
    found, parts = members(path), {}
    for split in ("train", "test"):
        clips, labels, names = (found.get(f"{letter}_{split}") for letter in ("x", "y", "files"))
        if clips is None or labels is None:
            raise BadInput(
                f"{path} lacks x_{split} or y_{split} (it has: {', '.join(found) or 'none'}); is it CTR-GCN's file?"
            )
        if (
            len(clips.shape) != 3
            or clips.shape[2] != _WIDTH
            or clips.dtype.kind != "f"
            or not 0 < clips.shape[1] <= _LONGEST
        ):
            raise BadInput(
                f"{path}: x_{split} is {clips.dtype} {list(clips.shape)}, expected floats [n, frames, {_WIDTH}]"
            )
        if labels.shape not in ((clips.shape[0], 60), (clips.shape[0], 120)) or labels.dtype.kind not in "fiub":
            raise BadInput(
                f"{path}: y_{split} is {labels.dtype} {list(labels.shape)}, expected [{clips.shape[0]}, 60 or 120]"
            )
        if names and (names.shape != clips.shape[:1] or names.dtype.kind not in "SU" or names.dtype.itemsize > 1024):
            raise BadInput(
                f"{path}: files_{split} is {names.dtype} {list(names.shape)}, expected {clips.shape[0]} names"
            )
        if clips.shape[0] > _MOST:
            raise BadInput(f"{path}: x_{split} claims {clips.shape[0]} clips; the file is damaged")
        parts[split] = (clips, labels, names)
    if parts["train"][1].shape[1] != parts["test"][1].shape[1]:
        raise BadInput(f"{path}: y_train and y_test have different numbers of classes; the file is damaged")
    return parts


def _labels(member: Member) -> np.ndarray:
    """int64 [n] from one-hot rows."""
    found = [np.zeros(0, np.int64)]
    for block in member.pieces():
        if not ((block == 0) | (block == 1)).all() or not (block.sum(axis=1) == 1).all():
            raise BadInput(f"{member.path}: {member.name} holds a row that is not one-hot; the file is damaged")
        found.append(block.argmax(axis=1))
    return np.concatenate(found)


def _clip(row: np.ndarray, where: str) -> tuple[np.ndarray, bool]:
    """[frames, 150] -> ([T, 2, 25, 3] without the zeros behind the last frame, whether body 2 copied body 1)."""
    if not (np.abs(row) <= FARTHEST_M).all():
        raise BadInput(
            f"{where} holds a joint that is not finite or farther than {FARTHEST_M:g} m; the file is damaged"
        )
    filled = np.flatnonzero((row != 0).any(axis=1))
    joints = row[: filled[-1] + 1 if len(filled) else 0].reshape(-1, _BODIES, _JOINTS, 3).copy()
    copied = len(joints) > 0 and np.array_equal(joints[:, 0], joints[:, 1])
    if copied:
        joints[:, 1] = 0
    return joints, copied


def _text(name: object) -> str:
    return name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
