"""Files of class names, templates and descriptions."""

from __future__ import annotations

import pytest

from ski_edge.data.prompts import (
    TEMPLATES,
    class_prompts,
    read_classes,
    read_prompts,
    read_templates,
    write_classes,
    write_split_classes,
)
from ski_edge.data.splits import ZERO_SHOT, zero_shot_classes
from ski_edge.errors import BadInput


def test_official_lists_come_out_byte_for_byte(texts, tmp_path):
    """All eight files of SKI, from the 120 names they hold together."""
    for split in ZERO_SHOT:
        stem = split.replace("/", "-")
        base, novel = (
            read_classes(texts / "SKI-Models" / f"zsl_{stem}_{kind}_class_labels.csv") for kind in ("base", "novel")
        )
        classes = list(base)
        unseen = zero_shot_classes(split, range(len(base) + len(novel)))[1]
        for label, name in zip(unseen, novel, strict=True):
            classes.insert(label, name)
        for path, kind in zip(write_split_classes(tmp_path, classes, split), ("base", "novel"), strict=True):
            assert path.name == f"{stem}_{kind}.csv"
            official = (texts / "SKI-Models" / f"zsl_{stem}_{kind}_class_labels.csv").read_text("utf-8-sig")
            assert path.read_text().split() == official.split()


def test_split_files_of_any_classes(tmp_path):
    classes = ("sit", "wave, slowly", "fall")
    base, novel = write_split_classes(tmp_path, classes, "unseen:fall")
    assert base.read_text() == 'id,name\n0,sit\n1,"wave, slowly"\n'
    assert read_classes(base) == ("sit", "wave, slowly")
    assert read_classes(novel) == ("fall",)
    names = {path.name for path in write_split_classes(tmp_path, classes, "unseen:1,seed=3@odd-even")}
    assert names == {"unseen-1-seed3_base.csv", "unseen-1-seed3_novel.csv"}


def test_names_one_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffsit\r\n\nwave, slowly\n", "utf-8")
    assert read_classes(path) == ("sit", "wave, slowly")
    write_classes(tmp_path / "c.csv", ["a"])
    assert read_classes(tmp_path / "c.csv") == ("a",)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.csv", "", "names no classes"),
        ("c.csv", "id,name\n", "names no classes"),
        ("c.csv", "id,name\n1,a\n", "the row of class 0 must be 0,name"),
        ("c.csv", "0,a\n0,b\n", "the row of class 1 must be 1,name"),
        ("c.csv", "0,a,b\n", "the row of class 0"),
        ("c.csv", "0,a\n1,a\n", "'a' is there twice"),
        ("c.csv", "0,\n", "class 0 has no name"),
        ("c.txt", "a\x07\n", "class 0 has no name"),
        ("c.txt", "a\na\n", "'a' is there twice"),
    ],
)
def test_class_files_that_cannot_be(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=says):
        read_classes(tmp_path / name)


def test_descriptions(tmp_path):
    path = tmp_path / "d.txt"
    path.write_text("# what people do\nsit: a person sits down: slowly\n\nwave:the hand moves\n")
    assert read_prompts(path) == {"sit": "a person sits down: slowly", "wave": "the hand moves"}
    for text, says in (
        ("", "describes no class"),
        ("sit\n", "line 1: expected name: description"),
        ("sit:\n", "line 1: expected"),
        (":x\n", "line 1: expected"),
        ("a: b\na: c\n", "line 2: 'a' is described twice"),
        ("a: " + "x" * 2001, "at most 2000"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            read_prompts(path)


def test_templates(tmp_path):
    assert len(TEMPLATES["froster"]) == len(set(TEMPLATES["froster"])) == 28
    assert {"a photo of {}.", "a video of a person practicing {}."} < set(TEMPLATES["froster"])
    path = tmp_path / "t.txt"
    path.write_text("a video of {}.\n\n{}\n")
    assert read_templates(str(path)) == ("a video of {}.", "{}")
    for text, says in (("", "no template"), ("a video\n", "exactly one"), ("{} {}", "exactly one")):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            read_templates(str(path))
    with pytest.raises(BadInput, match="the choices are: bare, vifi, froster"):
        read_templates("clip")


def test_prompts_of_classes():
    assert class_prompts(["sit"]) == {"sit": ("a photo of a sit.",)}
    told = class_prompts(["sit", "wave"], "bare", {"sit": "a person sits"})
    assert told == {"sit": ("a person sits",), "wave": ("wave",)}
    froster = class_prompts(["sit", "wave"], "froster", {"sit": "to rest"})
    assert len(froster["sit"]) == 29
    assert froster["sit"][0] == "a photo of sit. sit: to rest"
    assert froster["sit"][-1] == "sit: to rest"
    assert froster["wave"][0] == "a photo of wave. wave"  # without a description the name is there twice
    assert froster["wave"][-1] == "wave"
    with pytest.raises(BadInput, match="'fall' is described, but is no class"):
        class_prompts(["sit"], "bare", {"fall": "x"})
