from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import ftfy
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ski_edge.bundle.labels import label_set
from ski_edge.bundle.tokenizer import WORDS, ClipTokenizer, build_words_tokenizer
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


# The small vocabulary.

PAD_ID, UNKNOWN_ID, START_ID, END_ID = 0, 1, 2, 3455


@pytest.fixture(scope="module")
def words():
    return ClipTokenizer(Path(str(files("ski_edge.bundle") / WORDS)), 32)


def test_words_end_in_the_highest_id(words):
    ids = words.encode(["falling", "a photo of a falling person."])
    assert ids.shape == (2, 9)
    assert ids[0].tolist()[:1] + ids[0].tolist()[2:] == [START_ID, END_ID, *[PAD_ID] * 6]
    assert (ids.max(axis=1) == END_ID).all()


def test_words_are_small_enough_to_travel():
    path = files("ski_edge.bundle") / WORDS
    assert len(path.read_bytes()) < 150_000


def test_words_know_every_class_name(words):
    names = [label.name for label in label_set("ntu120") + label_set("ntu60")]
    ids = words.encode(names)
    assert not (ids == UNKNOWN_ID).any()
    assert len({tuple(row) for row in ids}) == len(set(names))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Drink Water", "drink water"),
        ("naïve CAFÉ", "naive cafe"),
        ("e\u0301te\u0301", "été"),
        ("O’Brien", "O'Brien"),
        ("eat  a\tmeal\n", "eat a meal"),
        ("eat meal/snack", "eat meal / snack"),
        ("tea &amp; milk", "tea & milk"),
    ],
)
def test_words_are_read_alike(words, text, same):
    np.testing.assert_array_equal(words.encode([text]), words.encode([same]))


def test_unknown_characters_are_unknown_words(words):
    assert words.encode(["東"])[0].tolist() == [START_ID, UNKNOWN_ID, END_ID]
    row = words.encode(["drink 😀 water"])[0].tolist()
    assert row.count(UNKNOWN_ID) == 1
    assert row[1] == words.encode(["drink"])[0][1]


@pytest.mark.parametrize("text", ["<end_of_text>", "<start_of_text>", "<pad>", "<unknown>", "a <end_of_text> b"])
def test_special_tokens_cannot_be_typed(words, text):
    row = words.encode([text])[0].tolist()
    assert (row[0], row[-1]) == (START_ID, END_ID)
    assert not {PAD_ID, UNKNOWN_ID, START_ID, END_ID} & set(row[1:-1])


@pytest.mark.parametrize("text", ["falling " * 400, "x" * 5000, "x" * 39, ".", "1234567890" * 30, "東" * 500])
def test_long_texts_are_cut_before_the_end_token(words, text):
    row = words.encode([text])[0]
    assert len(row) <= 32
    assert row.argmax() == len(row) - 1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_between_start_and_end(words, text):
    row = words.encode([text])[0].tolist()
    assert (row[0], row[-1]) == (START_ID, END_ID)
    assert len(row) <= 32
    assert END_ID not in row[:-1]


def test_a_word_list_becomes_a_tokenizer_of_that_size():
    tokenizer = build_words_tokenizer(["a", "b", "##b", "water"])
    assert tokenizer.get_vocab_size() == 8
    assert tokenizer.encode("Water ab bba").tokens == [
        "<start_of_text>",
        "water",
        "a",
        "##b",
        "<unknown>",
        "<end_of_text>",
    ]
