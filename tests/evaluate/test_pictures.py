"""Embeddings in the plane: classes that are apart stay apart, with and without scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.evaluate.pictures import embedding_picture, flatten

LABELS = np.repeat([0, 1, 2], 12)


def groups(seed: int = 0) -> np.ndarray:
    """[36, 16]: three classes, far apart."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (3, 16))[LABELS] * 8 + rng.normal(0, 0.5, (36, 16))


def apart(places: np.ndarray) -> bool:
    """Whether every clip's nearest neighbour is of its own class."""
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    return bool((LABELS[distance.argmin(axis=1)] == LABELS).all())


@pytest.fixture(params=["scikit-learn", "without"])
def how(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
        return "PCA, two components"
    pytest.importorskip("sklearn")
    return "t-SNE, perplexity 11.6667"


def test_classes_stay_apart(how):
    places, note = flatten(groups().astype(np.float32))
    assert places.shape == (36, 2)
    assert note.startswith(how)
    assert apart(places)
    again, _ = flatten(groups().astype(np.float32))
    np.testing.assert_array_equal(again, places)


def test_picture(how, tmp_path):
    path = tmp_path / "clips.png"
    assert embedding_picture(path, groups(), LABELS, ("a", "costs $5 or $6", "unused", "c")).startswith(how)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_pca_keeps_what_varies_most(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    line = np.linspace(-1, 1, 9)
    rows = np.stack([0 * line + 3, 100 * line, line**2], axis=1)
    places, _ = flatten(rows)
    np.testing.assert_allclose(np.abs(places[:, 0]), np.abs(100 * line), atol=1e-2)
    np.testing.assert_array_equal(flatten(rows[:, :2])[0].shape, (9, 2))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda path: flatten(np.zeros((4, 8))), "at least 5 finite embeddings"),
        (lambda path: flatten(np.full((9, 8), np.nan)), "at least 5 finite embeddings"),
        (lambda path: embedding_picture(path, groups(), LABELS[1:], "abc"), "36 embeddings need as many"),
        (lambda path: embedding_picture(path, groups(), LABELS, "ab"), "labels run from 0 to 2, there are 2 classes"),
    ],
)
def test_what_is_refused(tmp_path, call, says):
    with pytest.raises(BadInput, match=says):
        call(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
