"""Logits of a model over a test part, kept in a file: what `evaluate` writes and `ensemble` adds up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput


@dataclass(frozen=True, slots=True)
class Scores:
    """logits float32 [N, K], labels int64 [N], clip names [N], class names [K]."""

    logits: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    classes: tuple[str, ...]


def write_scores(path: Path, scores: Scores) -> None:
    """One npz, no pickled objects."""
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "wb") as file:
        np.savez_compressed(
            file, logits=scores.logits, labels=scores.labels, names=scores.names, classes=np.array(scores.classes)
        )
    os.replace(temporary, path)


def read_scores(path: Path) -> Scores:
    """What `write_scores` wrote, checked."""
    try:
        with np.load(path, allow_pickle=False) as data:
            logits, labels, names, classes = (data[key] for key in ("logits", "labels", "names", "classes"))
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        kind = type(error).__name__  # its text may advise to load pickles
        raise BadInput(f"{path} holds no scores ({kind}); make them with: ski-edge evaluate") from error
    fits = logits.ndim == 2 and labels.shape == names.shape == logits.shape[:1] and classes.shape == logits.shape[1:]
    if not fits or logits.dtype != np.float32 or labels.dtype != np.int64 or not np.isfinite(logits).all():
        raise BadInput(f"{path} does not fit together; make it again with: ski-edge evaluate")
    return Scores(logits, labels, names, tuple(classes.tolist()))
