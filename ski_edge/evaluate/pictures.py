"""Embeddings as a picture: do clips of a class lie together, and apart from others?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput, require

_PERPLEXITY = 30.0  # t-SNE's own default: how many neighbours a clip minds; fewer where there are few clips
_COMPONENTS = 50  # t-SNE starts from so many principal components; the rest is noise and costs time
_SEED = 0
_MARKERS = "os^vDP*X"


def flatten(embeddings: np.ndarray) -> tuple[np.ndarray, str]:
    """[N, D], N > 4 -> places in the plane [N, 2], and how they were made: t-SNE with scikit-learn, else PCA."""
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or len(rows) < 5 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise BadInput(f"a picture needs at least 5 finite embeddings [N, D], D above 1; got {list(rows.shape)}")
    principal = _principal(rows.astype(np.float64), _COMPONENTS)
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return principal[:, :2], "PCA, two components (t-SNE needs scikit-learn, which is not installed)"
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(principal)
    return places.astype(np.float64), f"t-SNE, perplexity {perplexity:g}"


def embedding_picture(path: Path, embeddings: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> str:
    """PNG of embeddings [N, D], coloured by labels int [N]; returns how the places were made."""
    labels = np.asarray(labels)
    if labels.shape != (len(embeddings),) or labels.dtype.kind not in "iu" or labels.size == 0:
        raise BadInput(f"{len(embeddings)} embeddings need as many whole-numbered labels, got {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise BadInput(f"labels run from {labels.min()} to {labels.max()}, there are {len(classes)} classes")
    require("matplotlib", "plot", "the picture")
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    places, how = flatten(embeddings)
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["tab10"].colors
    for number, label in enumerate(np.unique(labels)):
        chosen = places[labels == label]
        marker = _MARKERS[number // len(colours) % len(_MARKERS)]  # colours come again, with another shape
        style = {"color": colours[number % len(colours)], "marker": marker, "linewidths": 0, "alpha": 0.75}
        axes.scatter(*chosen.T, s=18, label=classes[label].replace("$", r"\$"), **style)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{len(places)} clips, {how}", loc="left")
    figure.legend(loc="outside right upper", fontsize=7, frameon=False, ncols=1 + len(np.unique(labels)) // 30)
    figure.savefig(path, dpi=110)
    return how


def _principal(rows: np.ndarray, count: int) -> np.ndarray:
    """[N, at most count]: centred rows along their principal axes; each axis points to its farthest row."""
    left, size, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    places = (left * size)[:, :count]
    return places * np.sign(places[np.abs(places).argmax(axis=0), np.arange(places.shape[1])] + 1e-300)
