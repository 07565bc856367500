"""The small towers as a bundle: small, verified, and its labels change on the device."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge.bundle import Label, read_manifest
from ski_edge.runtime.verify import verify
from ski_edge.testing.weights import clip_like


@pytest.fixture(scope="module")
def mini_model():
    return clip_like(ski_edge.create_model("ski-vificlip", arch="mini", seed=0, weights="clip-like (seed 0)"))


@pytest.fixture(scope="module")
def mini_bundle(mini_model, tmp_path_factory):
    labels = [Label("eat meal/snack"), Label("falling", ("a person falls down.",))]
    return ski_edge.export_model(mini_model, tmp_path_factory.mktemp("mini") / "bundle", classes=labels)


def test_it_is_small_and_verified(mini_bundle):
    manifest = read_manifest(mini_bundle)
    assert (manifest.arch, manifest.embed_dim, manifest.text.context_length) == ("mini", 384, 32)
    assert (manifest.preprocessing.resize_short, manifest.preprocessing.crop) == (128, 112)
    assert verify(ski_edge.open_bundle(mini_bundle)).passed
    assert sum(path.stat().st_size for path in mini_bundle.iterdir()) < 8_000_000


def test_tokenizer_travels(mini_bundle, mini_model):
    content = json.loads((mini_bundle / "tokenizer.json").read_text("utf-8"))
    assert content["model"]["type"] == "WordPiece"
    prompts = ["a photo of a falling.", "", "東京 café", "word " * 100, "drink from a cup"]
    with torch.no_grad():
        want = mini_model.encode_text(prompts).numpy()
    got = ski_edge.open_bundle(mini_bundle).encode_text(prompts)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def test_labels_change_on_the_device_without_torch(mini_bundle, without_torch):
    code = """
import numpy as np, ski_edge
from ski_edge.testing.clips import moving_shapes
session = ski_edge.open_bundle(sys.argv[1])
frames = moving_shapes(20)
assert session.predict(frames).label in ("eat meal/snack", "falling")
session.labels.add("taking medicine", ["a person swallows a pill."])
session.labels.remove("falling")
session.labels.replace(["eat meal/snack", "taking medicine", "東京 😀"])
found = session.predict(frames)
assert found.label in session.labels.current.names
assert np.isfinite(session.labels.current.embeddings).all()
"""
    done = without_torch(code, mini_bundle)
    assert done.returncode == 0, done.stderr
