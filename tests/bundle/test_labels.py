from __future__ import annotations

import csv
import threading

import numpy as np
import pytest

import ski_edge
from ski_edge.bundle.labels import Label, LabelBank, check_labels, embed_labels, label_set, labels_json, read_labels
from ski_edge.errors import BadInput


def fake_text(prompts):
    """A deterministic unit vector per prompt."""
    rows = [np.random.default_rng(abs(hash(p)) % 2**32).normal(size=8) for p in prompts]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def bank(names=("a", "b"), encode=fake_text):
    labels = [Label(name) for name in names]
    return LabelBank(labels, embed_labels(labels, "x {}", fake_text), "x {}", encode)


def test_ntu_names_equal_the_official_class_lists(texts):
    for split, name in (("55-5", "ntu60"), ("48-12", "ntu60"), ("110-10", "ntu120"), ("96-24", "ntu120")):
        official = set()
        for part in ("base", "novel"):
            with open(texts / "SKI-Models" / f"zsl_{split}_{part}_class_labels.csv", encoding="utf-8") as file:
                official |= {row["name"].strip() for row in csv.DictReader(file)}
        assert official == {label.name for label in label_set(name)}


def test_unseen_classes_keep_their_numbers():
    """ski.md 3.7: 1-based numbers of the 55/5 split."""
    names = [label.name for label in label_set("ntu60")]
    assert [names[a - 1] for a in (11, 12, 20, 27, 57)] == [
        "reading", "writing", "put on a hat/cap", "jump up", "touch person's pocket",
    ]  # fmt: skip
    assert len(label_set("ntu120")) == 120


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("l.txt", "cooking\n\n# a comment\n falling \n", [Label("cooking"), Label("falling")]),
        ("l.txt", "\ufeffcooking\r\nfalling\r\n", [Label("cooking"), Label("falling")]),
        ("l.csv", "id,name\n0,cooking\n1,falling\n", [Label("cooking"), Label("falling")]),
        ("l.csv", '0,cooking\n1,"eat, drink"\n', [Label("cooking"), Label("eat, drink")]),
        ("l.json", '["cooking", "falling"]', [Label("cooking"), Label("falling")]),
        (
            "l.json",
            '{"fall": ["a fall", "a person on the floor"]}',
            [Label("fall", ("a fall", "a person on the floor"))],
        ),
        ("l.json", '{"fall": "a fall"}', [Label("fall", ("a fall",))]),
    ],
)
def test_label_files(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_labels(str(tmp_path / name)) == expected


def test_labels_json_reads_back(tmp_path):
    import json

    labels = [Label("a", ("x", "y")), Label("touch person’s pocket")]
    (tmp_path / "labels.json").write_text(json.dumps(labels_json(labels)), encoding="utf-8")
    assert read_labels(str(tmp_path / "labels.json")) == labels


def test_lists_and_set_names():
    assert read_labels("cooking, falling,") == [Label("cooking"), Label("falling")]
    assert read_labels("ntu60") == label_set("ntu60")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.txt", "épée".encode("latin-1"), "not UTF-8 (byte 0xe9 at offset 0); save it as UTF-8"),
        ("l.txt", "cooking".encode("utf-16"), "is UTF-16, expected UTF-8"),
        ("l.txt", b"", "no label found"),
        ("l.txt", b"a\nb\na\n", "'a' is there twice"),
        ("l.txt", b"a\x00b\n", "is not a label"),
        ("l.txt", b"x" * 501, "1 to 500 printable characters"),
        ("l.txt", "\n".join(map(str, range(10_001))).encode(), "10001 labels, at most 10000"),
        ("l.csv", b"id,name\n0\n", "row 2: no column 2"),
        ("l.json", b"{", "is not JSON (line 1"),
        ("l.json", b"3", "must hold a list of names or a mapping"),
        ("l.json", b'[{"prompts": ["x"]}]', "is neither a name nor a name with prompts"),
        ("l.json", b'{"a": [1]}', "is neither a name nor a name with prompts"),
    ],
)
def test_bad_label_files(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as error:
        read_labels(str(tmp_path / name))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_longer_than_a_file_name_may_be():
    names = [f"label number {i}" for i in range(200)]
    assert [label.name for label in read_labels(",".join(names))] == names


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.json", b"[" * 100_000, "is not usable JSON"),
        ("l.json", b"[" + b"1" * 5000 + b"]", "is not usable JSON"),
        ("l.csv", b"0," + b"x" * 200_000, "is not CSV"),
    ],
)
def test_files_that_exhaust_a_parser(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says):
        read_labels(str(tmp_path / name))


def test_one_text_is_not_a_list_of_prompts():
    with pytest.raises(BadInput, match="must be a list of prompts, got the text 'abc'"):
        bank().add("z", "abc")


def test_embeddings_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        bank().current.embeddings[0] = 0


def test_absent_and_directory_label_files(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        read_labels(str(tmp_path / "no.txt"))
    with pytest.raises(BadInput, match="is a directory"):
        read_labels(str(tmp_path))


def test_several_prompts_are_averaged_and_normalised_again():
    rows = fake_text(["one", "two"])
    got = embed_labels([Label("n", ("one", "two"))], "{}", fake_text)
    mean = rows.mean(0)
    np.testing.assert_allclose(got[0], mean / np.linalg.norm(mean), rtol=1e-6, atol=1e-7)


def test_bank_changes_are_new_versions_and_keep_known_embeddings():
    labels = bank()
    first = labels.current
    labels.add("c", ["one", "two"])
    assert labels.current.names == ["a", "b", "c"]
    assert labels.current.version == 2
    np.testing.assert_array_equal(labels.current.embeddings[:2], first.embeddings)
    labels.remove("a")
    labels.replace(["b", Label("d")])
    assert labels.current.names == ["b", "d"]
    np.testing.assert_array_equal(labels.current.embeddings[0], first.embeddings[1])
    assert first.names == ["a", "b"]  # a reader's set never changes under it


def test_bank_refuses_and_stays_as_it_was():
    labels = bank(("a",))
    before = labels.current
    for change in (
        lambda: labels.add("a"),
        lambda: labels.remove("z"),
        lambda: labels.remove("a"),
        lambda: labels.add(" "),
    ):
        with pytest.raises(BadInput):
            change()
        assert labels.current is before
    with pytest.raises(BadInput, match="no label 'z'; the labels are: a"):
        labels.remove("z")


def test_readers_always_see_names_and_embeddings_of_one_set():
    labels = bank()
    stop = threading.Event()
    broken = []

    def read():
        while not stop.is_set():
            now = labels.current
            if len(now.names) != len(now.embeddings):
                broken.append(now)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        labels.replace([f"l{k}" for k in range(1 + i % 7)])
    stop.set()
    reader.join()
    assert not broken


def test_shape_mismatch_is_refused():
    with pytest.raises(BadInput, match="1 labels but embeddings"):
        LabelBank([Label("a")], np.zeros((2, 4)), "{}", fake_text)
    with pytest.raises(BadInput, match="no label found"):
        check_labels([], "labels")


def test_real_bank_equals_the_exported_labels(tiny_bundle):
    """The device's text encoder gives what torch stored at export."""
    fresh = ski_edge.open_bundle(tiny_bundle)
    want = fresh.labels.current
    fresh.labels.replace(["something else"])
    fresh.labels.replace(want.names)
    np.testing.assert_allclose(fresh.labels.current.embeddings, want.embeddings, atol=2e-6)
