"""Classes that no clip was trained on: from scores of video-text and skeleton-text models to numbers.

Zero-shot: the choice is among the unseen classes alone (SKI's protocol). Generalised: among all classes, and seen ones
win too often; calibrated stacking (Chao et al., ECCV 2016) takes a constant off their scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.evaluate.metrics import measure

# What is added up: softmax over classes of the model's logits (SKI, ViFi-CLIP) or the logits (FROSTER, SKI's fusion)
Sum = Literal["softmax", "logits"]
# What an accuracy is a mean over: clips, or classes and in each its clips (Xian et al., TPAMI 2019)
Mean = Literal["clips", "classes"]
_NARROW = 1e-6  # of the range of all constants: float32 logits are no better


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Choice among the unseen classes alone, on clips of unseen classes. Per cent."""

    clips: int
    classes: int
    top1: float
    top5: float
    mean_class: float  # mean class accuracy, over the classes that have clips


@dataclass(frozen=True, slots=True)
class Generalised:
    """Choice among all classes. Per cent; what `constant`, taken off the scores of seen classes, gives."""

    seen: float  # accuracy on clips of seen classes
    unseen: float
    constant: float
    mean: Mean
    ausuc: float  # area under seen against unseen accuracy as the constant runs over all values; 1 is perfect
    curve: np.ndarray  # float64 [G, 3]: constant, seen, unseen; every different outcome once

    @property
    def harmonic(self) -> float:
        """Harmonic mean of the accuracies on seen and unseen classes."""
        return float(_harmonic(np.float64(self.seen), np.float64(self.unseen)))


def add_views(logits: np.ndarray, policy: Sum) -> np.ndarray:
    """Logits of several views (clips, crops) of each video [N, views, K] -> scores [N, K]: their sum.

    The softmax is of logits as the model gives them: SKI's are cosines without a scale, ViFi-CLIP's have their scale.
    """
    _check_scores(logits, 3, "[N, views, K]")
    return _summands(logits, policy).sum(axis=1)


def fuse(video: np.ndarray, skeleton: np.ndarray, policy: Sum = "logits", weight: float = 1.0) -> np.ndarray:
    """Scores of two models for the same clips and classes, [N, K] each -> video + weight * skeleton, [N, K].

    The official fusion is `logits` with weight 1. SKI's skeleton logits are products with a vector that is not
    normalised, so they outweigh the video's cosines; `softmax` gives both the same say.
    """
    for scores in (video, skeleton):
        _check_scores(scores, 2, "[N, K]")
    if video.shape != skeleton.shape:
        raise BadInput(f"video scores {list(video.shape)} and skeleton scores {list(skeleton.shape)} must be alike")
    if not (np.isfinite(weight) and weight >= 0):
        raise BadInput(f"the skeleton's weight must be a number from 0 up, got {weight}")
    return _summands(video, policy) + weight * _summands(skeleton, policy)


def zero_shot(scores: np.ndarray, labels: np.ndarray, unseen: Sequence[int]) -> ZeroShot:
    """scores [N, C] over all classes, labels int [N], all of unseen classes -> accuracies among these alone.

    With five unseen classes (55/5) top-5 is 100 for any model.
    """
    _check_scores(scores, 2, "[N, C]")
    columns = _class_list(unseen, scores.shape[1])
    position = np.full(scores.shape[1], -1)
    position[columns] = np.arange(len(columns))
    labels = _check_labels(labels, scores)
    if (position[labels] < 0).any():
        raise BadInput(
            f"clip {int(np.argmax(position[labels] < 0))} is of class {int(labels[position[labels] < 0][0])}, which is "
            "no unseen class; give the test part's clips alone"
        )
    metrics = measure(scores[:, columns], position[labels])
    return ZeroShot(metrics.clips, len(columns), metrics.top1, metrics.top5, metrics.mean_recall)


def generalised(
    scores: np.ndarray, labels: np.ndarray, unseen: Sequence[int], constant: float = 0.0, mean: Mean = "classes"
) -> Generalised:
    """scores [N, C] over the seen and the unseen classes and no others, labels int [N] of clips of both.

    constant: taken off the scores of seen classes; from `fit_constant`, on validation scores. Of equal scores a seen
    class's wins, among alike classes the first.
    """
    if not np.isfinite(constant):
        raise BadInput(f"the constant must be a finite number, got {constant}")
    curve = _curve(scores, labels, unseen, mean)
    # Row i holds for constants above row i - 1's and up to its own; the last one also for all above it.
    row = min(int(np.searchsorted(curve[:, 0], constant, side="left")), len(curve) - 1)
    _, seen, new = curve[row].tolist()
    height, width = curve[:, 1] / 100, curve[:, 2] / 100
    area = float((np.diff(width) * (height[1:] + height[:-1]) / 2).sum())
    return Generalised(seen, new, float(constant), mean, area, curve)


def fit_constant(scores: np.ndarray, labels: np.ndarray, unseen: Sequence[int], mean: Mean = "classes") -> float:
    """The constant with the best harmonic mean on these clips; of several the one nearest 0.

    Give it validation scores: of classes held out from training, in the place of the unseen ones. Fitted on the test
    part, the result flatters.
    """
    curve = _curve(scores, labels, unseen, mean)
    edges = curve[:-1, 0]  # row i holds from edge i - 1 to edge i
    low, high = np.append(-np.inf, edges), np.append(edges, np.inf)
    # The middle of a row, away from edges that another rounding moves; rows too narrow to have one are left out.
    places = np.concatenate([[edges[0] - 1], (edges[1:] + edges[:-1]) / 2, [edges[-1] + 1]])
    places = np.where((low < 0) & (high >= 0), 0.0, places)  # no constant at all where none is needed
    harmonic = _harmonic(curve[:, 1], curve[:, 2])
    harmonic[high - low <= _NARROW * (edges[-1] - edges[0])] = -1
    best = np.flatnonzero(harmonic >= harmonic.max() - 1e-9)
    return float(places[best[np.abs(places[best]).argmin()]])


def _curve(scores: np.ndarray, labels: np.ndarray, unseen: Sequence[int], mean: Mean) -> np.ndarray:
    """float64 [G, 3]: constant, accuracy on seen, on unseen classes; row by row more clips are said to be unseen."""
    if mean not in get_args(Mean):
        raise BadInput(f"mean must be one of {', '.join(get_args(Mean))}, got {mean!r}")
    _check_scores(scores, 2, "[N, C]")
    labels = _check_labels(labels, scores)
    new = np.zeros(scores.shape[1], bool)
    new[_class_list(unseen, scores.shape[1])] = True
    of_new = new[labels]
    if new.all() or of_new.all() or not of_new.any():
        raise BadInput("generalised zero-shot needs seen and unseen classes, and clips of both")
    exact = scores.astype(np.float64)
    seen_best, new_best = (np.where(mask, exact, -np.inf).argmax(axis=1) for mask in (~new, new))
    rows = np.arange(len(exact))
    margin = exact[rows, seen_best] - exact[rows, new_best]  # said to be unseen where the constant is above it
    weight = _weights(labels, of_new, mean)
    lost = weight * (~of_new & (seen_best == labels))
    won = weight * (of_new & (new_best == labels))
    order = np.argsort(margin, kind="stable")
    steps = np.unique(margin)
    after = np.searchsorted(margin[order], steps, side="right") - 1
    seen = np.concatenate([[lost.sum()], lost.sum() - np.cumsum(lost[order])[after]])
    gained = np.concatenate([[0.0], np.cumsum(won[order])[after]])
    constants = np.append(steps, np.nextafter(steps[-1], np.inf))
    return np.stack([constants, 100 * seen.clip(0), 100 * gained], axis=1)


def _weights(labels: np.ndarray, of_new: np.ndarray, mean: Mean) -> np.ndarray:
    """[N]: each clip's share of the accuracy of its group, seen or unseen."""
    weight = np.ones(len(labels))
    for group in (of_new, ~of_new):
        if mean == "clips":
            weight[group] = 1 / group.sum()
        else:
            _, which, count = np.unique(labels[group], return_inverse=True, return_counts=True)
            weight[group] = 1 / (count[which] * len(count))
    return weight


def _harmonic(seen: np.ndarray, new: np.ndarray) -> np.ndarray:
    return 2 * seen * new / np.maximum(seen + new, 1e-12)


def _summands(logits: np.ndarray, policy: Sum) -> np.ndarray:
    """float64, softmax over the last axis where the policy says so."""
    if policy not in get_args(Sum):
        raise BadInput(f"scores are added up as one of {', '.join(get_args(Sum))}, got {policy!r}")
    exact = logits.astype(np.float64)
    if policy == "logits":
        return exact
    power = np.exp(exact - exact.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def _check_scores(scores: np.ndarray, dimensions: int, shape: str) -> None:
    if scores.ndim != dimensions or 0 in scores.shape or scores.dtype.kind not in "fiu":
        raise BadInput(f"scores must be numbers {shape}, none of these 0; got {scores.dtype} {list(scores.shape)}")
    if not np.isfinite(scores).all():
        raise BadInput("the scores hold NaN or infinity; the network diverged or its weights are damaged")


def _check_labels(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        raise BadInput(f"labels must be {len(scores)} whole numbers, got {labels.dtype} {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise BadInput(f"labels run from {labels.min()} to {labels.max()}, the scores have {scores.shape[1]} classes")
    return labels


def _class_list(unseen: Sequence[int], classes: int) -> np.ndarray:
    columns = np.asarray(unseen)
    if (
        columns.ndim != 1
        or columns.dtype.kind not in "iu"
        or len(np.unique(columns)) != len(columns)
        or not len(columns)
    ):
        raise BadInput(f"unseen classes must be different whole numbers, got {list(unseen)!r}")
    if columns.min() < 0 or columns.max() >= classes:
        raise BadInput(f"unseen classes run from {columns.min()} to {columns.max()}, the scores have {classes} classes")
    return columns.astype(np.int64)
