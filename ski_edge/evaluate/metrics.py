"""Accuracy, per-class recall, confusion: from logits and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ski_edge.errors import BadInput


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a classifier did on N labelled clips."""

    clips: int
    top1: float  # per cent
    top5: float  # per cent
    recall: np.ndarray  # [K], per cent of each class's clips that were found; NaN where a class has no clip
    confusion: np.ndarray  # int64 [K, K]: rows are true classes, columns what was said

    @property
    def mean_recall(self) -> float:
        """Per cent; the mean over classes that occur."""
        return float(np.nanmean(self.recall))


def measure(logits: np.ndarray, labels: np.ndarray) -> Metrics:
    """logits [N, K], labels int64 [N]. The first of equal logits wins."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise BadInput(f"logits {list(logits.shape)} and labels {list(labels.shape)} must be [N, K] and [N], N > 0")
    if not np.isfinite(logits).all():
        raise BadInput("the logits hold NaN or infinity; the network diverged or its weights are damaged")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise BadInput(f"labels run from {labels.min()} to {labels.max()}, the logits have {logits.shape[1]} classes")
    order = np.argsort(-logits, axis=1, kind="stable")
    classes = logits.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, order[:, 0]), 1)
    total = confusion.sum(axis=1)
    recall = np.divide(100 * np.diag(confusion), total, out=np.full(classes, np.nan), where=total > 0)
    hits = order[:, :5] == labels[:, None]
    return Metrics(len(labels), 100 * float(hits[:, 0].mean()), 100 * float(hits.any(axis=1).mean()), recall, confusion)
