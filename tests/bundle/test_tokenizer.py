from __future__ import annotations

import csv

import ftfy
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ski_edge.bundle.labels import label_set
from ski_edge.bundle.tokenizer import ClipTokenizer
from ski_edge.errors import BadInput
from ski_edge.models.clip import tokenize


@pytest.fixture(scope="module")
def tokenizer(tiny_bundle):
    return ClipTokenizer(tiny_bundle / "tokenizer.json", 77)


def padded(tokenizer, texts):
    ids = tokenizer.encode(texts)
    return np.pad(ids, ((0, 0), (0, 77 - ids.shape[1])))


def assert_same(tokenizer, texts):
    want = tokenize(texts).numpy()
    got = padded(tokenizer, texts)
    wrong = [text for text, a, b in zip(texts, got, want, strict=True) if not np.array_equal(a, b)]
    assert not wrong, wrong


def test_every_ntu_name_has_open_clips_ids(tokenizer):
    names = [label.name for label in label_set("ntu120") + label_set("ntu60")]
    assert any("’" in name for name in names)
    assert_same(tokenizer, names + [f"a photo of a {name}." for name in names])


def test_every_kinetics_and_ucf_name_has_open_clips_ids(tokenizer, texts):
    names = []
    for file in ("kinetics_400_labels", "kinetics_600_labels", "ucf_101_labels", "hmdb_51_labels", "ssv2_labels"):
        with open(texts / "ViFi-CLIP" / f"{file}.csv", encoding="utf-8") as rows:
            names += [row[-1] for row in csv.reader(rows)]
    names += (texts / "mmaction2_label_map" / "label_map_k400.txt").read_text("utf-8").splitlines()
    assert len(names) > 1500
    assert_same(tokenizer, names + [f"a photo of a {name}." for name in names])


def test_descriptions_longer_than_the_context_are_cut_alike(tokenizer, texts):
    lines = (texts / "GAP" / "sentence_openai_t01.txt").read_text("utf-8").splitlines()
    assert_same(tokenizer, [*lines, "falling " * 200, "x" * 500])


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "naïve café’s", "“quoted”", "ﬁne", "ＦＵＬＬ width！", "a  b\tc\n", "&amp;lt; tag", "東京タワー",
        "😀 don't", "e\u0301", "100% 3.5kg", "İstanbul", "½ ² ①", "l’été…", "O’Brien ‘n’ Co", "I'VE IT'S",
        "Ĳ ŉ ǅ ﬅ ﬆ", "ｶﾀｶﾅ　￥",
    ],
)  # fmt: skip
def test_awkward_text(tokenizer, text):
    assert_same(tokenizer, [text])


letters = st.sampled_from("abcXYZ éüß'’“”-./,!?()0123456789 \t&;#%東京привет")


@settings(max_examples=300, deadline=None)
@given(st.text(letters, max_size=60))
def test_random_text(tokenizer, text):
    assume(ftfy.fix_encoding(text) == text)  # repairing broken encodings is not imitated
    assert_same(tokenizer, [text])


def test_rows_are_as_long_as_the_longest(tokenizer):
    ids = tokenizer.encode(["falling", "a photo of a falling person."])
    assert ids.dtype == np.int64
    assert ids.shape == (2, 9)
    assert (ids[0, 3:] == 0).all()


def test_damaged_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"is not a tokenizer\.json"):
        ClipTokenizer(tmp_path / "tokenizer.json", 77)
