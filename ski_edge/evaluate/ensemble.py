"""Several streams of one network family, added up: joint, bone, joint motion, bone motion."""

from __future__ import annotations

import itertools

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.evaluate.scores import Scores

# Of raw logits: joint, bone, joint motion, bone motion, as CTR-GCN adds them.
CTRGCN = (0.6, 0.6, 0.4, 0.4)
_GRID = np.round(np.arange(0, 1.01, 0.1), 1)


def combine(streams: list[Scores], weights: tuple[float, ...]) -> Scores:
    """Weighted sum of logits. All streams must have scored the same clips in the same classes."""
    streams = aligned(streams)
    if len(weights) != len(streams) or not np.isfinite(weights).all() or min(weights) < 0 or not any(weights):
        raise BadInput(
            f"{len(streams)} streams need as many weights, none below zero, not all zero; got {list(weights)}"
        )
    first = streams[0]
    total = sum(weight * stream.logits.astype(np.float64) for weight, stream in zip(weights, streams, strict=True))
    return Scores(total.astype(np.float32), first.labels, first.names, first.classes)


def aligned(streams: list[Scores]) -> list[Scores]:
    """All in the order of the first stream's clips, or one line that says which stream differs, and in what."""
    if len(streams) < 2:
        raise BadInput("an ensemble needs at least two score files")
    first, same = streams[0], [streams[0]]
    for number, other in enumerate(streams[1:], start=2):
        if other.classes != first.classes:
            raise BadInput(f"score file {number} has other classes than the first; evaluate all on the same data")
        places = {name: place for place, name in enumerate(other.names.tolist())}
        order = [places.get(name, -1) for name in first.names.tolist()]
        if sorted(order) != list(range(len(other.names))) or not np.array_equal(other.labels[order], first.labels):
            raise BadInput(f"score file {number} has other clips than the first; evaluate all on the same split")
        same.append(Scores(other.logits[order], first.labels, first.names, first.classes))
    return same


def fit(streams: list[Scores]) -> tuple[float, ...]:
    """Weights of a grid of tenths that classify these clips best; of equal ones the most even.

    Give it validation scores: fitted on the test part, the result flatters.
    """
    streams = aligned(streams)
    labels, logits = streams[0].labels, np.stack([stream.logits for stream in streams])
    best: tuple[float, float] = (-1.0, 0.0)
    chosen: tuple[float, ...] = (1.0,) * len(streams)
    for weights in itertools.product(_GRID, repeat=len(streams)):
        if not any(weights):
            continue
        top1 = float((np.tensordot(weights, logits, axes=1).argmax(axis=1) == labels).mean())
        evenness = -float(np.std(weights))
        if (top1, evenness) > best:
            best, chosen = (top1, evenness), tuple(float(weight) for weight in weights)
    return chosen
