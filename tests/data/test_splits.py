"""Official counts of every split, and what a validation part may not do."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from ski_edge.data import ClipEntry, Index, split, validation_part
from ski_edge.data.ntu import read_names
from ski_edge.data.splits import ZERO_SHOT, available, is_zero_shot, zero_shot_classes
from ski_edge.errors import BadInput
from ski_edge.skeleton import get_layout

DRAWN_0 = (2, 4, 6, 10, 14, 17, 25)
DRAWN_3 = (1, 7, 9, 18, 19, 23, 24)


def index_of(dataset, clips, classes, layout="ntu25"):
    fields = {"dataset": dataset, "layout": get_layout(layout), "fps": 30, "persons": 1, "classes": classes}
    return Index(**fields, clips=tuple(clips))


@pytest.fixture(scope="module")
def ntu120(ntu_samples):
    entries = []
    for name in sorted(read_names(ntu_samples / "NTU" / "lists" / "ctrgcn_ntu120_skes_available_name.txt")):
        setup, camera, subject, action = (int(name[at : at + 3]) for at in (1, 5, 9, 17))
        fields = {"label": action - 1, "subject": subject, "camera": camera, "setup": setup, "split": ""}
        entries.append(ClipEntry.model_construct(name=name, frames=1, **fields))  # 113,945 of them: unchecked
    index = index_of("ntu", (), tuple(map(str, range(120))))
    return index.model_copy(update={"clips": tuple(entries)})


@pytest.fixture(scope="module")
def ntu60(ntu120):
    clips = tuple(clip for clip in ntu120.clips if clip.label < 60)
    return ntu120.model_copy(update={"clips": clips, "classes": ntu120.classes[:60]})


def counts(index, name):
    return tuple(len(part) for part in split(index, name))


def test_ntu_official_counts(ntu60, ntu120):
    assert (len(ntu60.clips), len(ntu120.clips)) == (56_578, 113_945)
    for index in (ntu60, ntu120):  # NTU-60's splits are the same clips in both
        assert counts(index, "xsub60") == (40_091, 16_487)
        assert counts(index, "xview") == (37_646, 18_932)
    assert counts(ntu120, "xsub120") == (63_026, 50_919)
    assert counts(ntu120, "xset") == (54_468, 59_477)


def test_zero_shot_counts(ntu60, ntu120):
    assert counts(ntu60, "48/12") == (45_266, 11_312)
    assert counts(ntu60, "55/5") == (51_877, 4_701)
    assert counts(ntu120, "110/10") == (104_437, 9_508)
    assert counts(ntu120, "96/24") == (91_168, 22_777)
    assert counts(ntu60, "48/12@xsub60") == (32_070, 3_291)
    assert [
        counts(i, s)[1] for i, s in ((ntu60, "55/5@xsub60"), (ntu120, "110/10@xsub120"), (ntu120, "96/24@xsub120"))
    ] == [
        1_368,
        4_249,
        9_892,
    ]


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_novel_classes_are_those_of_ski(texts, name):
    def names(kind):
        with open(texts / "SKI-Models" / f"zsl_{name.replace('/', '-')}_{kind}_class_labels.csv", newline="") as file:
            return [row["name"] for row in csv.DictReader(file)]

    base, novel = names("base"), names("novel")
    order = [line.strip() for line in (texts / "pyskl_label_map" / "nturgbd_120.txt").read_text().splitlines()]
    seen, unseen = zero_shot_classes(name, order)
    assert len(novel) == int(name.split("/")[1]) == len(unseen)
    assert len(base) == int(name.split("/")[0]) == len(seen)
    assert sorted((*seen, *unseen)) == list(range(len(base) + len(novel)))
    # Both files list classes in ascending order, so base and novel interleave into the whole list.
    merged, rest = {}, iter(base)
    for label, novel_name in zip(unseen, novel, strict=True):
        merged[label] = novel_name
    whole = [merged[label] if label in merged else next(rest) for label in range(len(base) + len(novel))]
    # The two lists spell names in their own ways; a shifted order would agree nowhere.
    same = [a[:3].lower() == b[:3].lower() for a, b in zip(whole, order, strict=False)]
    assert sum(same) >= len(whole) - 1
    assert len(set(whole)) == len(whole)


def test_ucla_and_utd(nw_ucla, utd_mhad):
    from ski_edge.data import ucla, utd

    clips = []
    for path in sorted(nw_ucla.glob("*.json")):
        ids = ucla.parse_name(path)
        clips.append(ClipEntry(name=path.stem, frames=1, **{key: ids[key] for key in ("label", "subject", "camera")}))
    assert counts(index_of("nw-ucla", clips, tuple("abcdefghij"), "kinect20"), "cross-view") == (1020, 464)
    clips = []
    for path in sorted(utd_mhad.glob("*.mat")):
        ids = utd.parse_name(path)
        clips.append(ClipEntry(name=path.stem, frames=1, label=ids["label"], subject=ids["subject"]))
    assert counts(index_of("utd-mhad", clips, tuple(map(str, range(27))), "utd20"), "odd-even") == (431, 430)


def test_drawn_classes_never_change():
    """These draws are promises: a split's name in a paper must mean the same classes for good."""
    assert zero_shot_classes("unseen:7", list(range(27)))[1] == DRAWN_0
    assert zero_shot_classes("unseen:7,seed=3", list(range(27)))[1] == DRAWN_3


def test_drawn_classes_divide_any_data_set():
    index = own_index(classes=9)
    train, test = split(index, "unseen:3,seed=2")
    seen, unseen = zero_shot_classes("unseen:3,seed=2", index.classes)
    assert len(unseen) == 3
    assert {index.clips[i].label for i in train} == set(seen)
    assert {index.clips[i].label for i in test} == set(unseen)
    assert len(train) + len(test) == len(index.clips)
    draws = {zero_shot_classes(f"unseen:3,seed={seed}", index.classes)[1] for seed in range(20)}
    assert len(draws) > 10
    # Fewer unseen classes of one seed are a part of more.
    assert set(zero_shot_classes("unseen:2,seed=2", index.classes)[1]) < set(unseen)


def test_named_classes_are_unseen_and_people_can_differ():
    index = own_index()
    train, test = split(index, "unseen: 2 ;0")
    assert {index.clips[i].label for i in train} == {1}
    assert {index.clips[i].label for i in test} == {0, 2}
    clips = [ClipEntry(name=f"{s}{c}", label=c, frames=1, subject=s) for s in range(1, 9) for c in range(27)]
    index = index_of("utd-mhad", clips, tuple(map(str, range(27))), "utd20")
    for name in ("unseen:7,seed=1@odd-even", "unseen:3;4@odd-even"):
        train, test = split(index, name)
        assert {index.clips[i].subject for i in train} == {1, 3, 5, 7}
        assert {index.clips[i].subject for i in test} == {2, 4, 6, 8}
        assert zero_shot_classes(name, index.classes)[1] == tuple(sorted({index.clips[i].label for i in test}))
    assert is_zero_shot("unseen:7@odd-even")
    assert is_zero_shot("48/12@xsub60")
    assert not is_zero_shot("odd-even")


def own_index(subjects=6, takes=5, classes=3, **more):
    clips = [
        ClipEntry(name=f"{s}-{c}-{t}", label=c, frames=9, subject=s, **more)
        for s in range(1, subjects + 1)
        for c in range(classes)
        for t in range(takes)
    ]
    return index_of("own", clips, tuple(map(str, range(classes))))


def test_subjects_and_files():
    index = own_index()
    train, test = split(index, "subject:1,3")
    assert {index.clips[i].subject for i in train} == {1, 3}
    assert {index.clips[i].subject for i in test} == {2, 4, 5, 6}
    clips = tuple(c.model_copy(update={"split": "train" if c.subject < 3 else "val"}) for c in index.clips)
    index = index.model_copy(update={"clips": clips})
    assert counts(index, "file") == (30, 60)
    assert available(index) == ("unseen:COUNT", "file", "subject:IDS")
    clips = tuple(c.model_copy(update={"split": f"xsub:{c.split} xview:test"}) for c in clips)
    index = index.model_copy(update={"clips": clips})
    assert counts(index, "file:xsub") == (30, 60)
    with pytest.raises(BadInput, match="leaves no train clips"):
        split(index, "file:xview")


def test_unlabelled_clips_are_in_no_part():
    index = own_index()
    clips = tuple(c.model_copy(update={"label": -1}) if c.name.endswith("-0") else c for c in index.clips)
    train, test = split(index.model_copy(update={"clips": clips}), "subject:1,2,3")
    assert len(train) == len(test) == 36
    assert all(clips[i].label >= 0 for i in (*train, *test))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("xsub60", "is not one of own's"),
        ("no", "is not one of own's"),
        ("48/12", "is of NTU RGB\\+D with 60 classes"),
        ("unseen:", "'' is no class; write unseen:7"),
        ("unseen:0", "of 3 classes, 1 to 2 can be unseen"),
        ("unseen:3", "of 3 classes, 1 to 2 can be unseen"),
        ("unseen:2,seed=x", "'2,seed=x' is no class"),
        ("unseen:-1", "'-1' is no class"),
        ("unseen:0;9", "'9' is no class"),
        ("unseen:0;1;2", "leaves no class to train on"),
        ("unseen:1@xsub60", "'xsub60' is not one of own's"),
        ("subject:", "must list subject numbers"),
        ("subject:a", "must list subject numbers"),
        ("subject:9", "there is no subject 9; own has: 1, 2"),
        ("file", "leaves no train clips"),
        ("file:x", "leaves no train clips"),
        ("subject:1,2,3,4,5,6", "leaves no test clips"),
    ],
)
def test_splits_that_cannot_be(name, says):
    with pytest.raises(BadInput, match=says):
        split(own_index(), name)


def test_ntu_splits_need_ids_and_enough_classes(ntu60):
    with pytest.raises(BadInput, match=r"xset.*is not one of ntu's"):
        split(ntu60, "xset")
    with pytest.raises(BadInput, match=r"110/10.*with 120 classes"):
        split(ntu60, "110/10")
    index = index_of("ntu", [ClipEntry(name="x", label=0, frames=1)], tuple(map(str, range(60))))
    with pytest.raises(BadInput, match="needs the subject of every clip"):
        split(index, "xsub60")


@pytest.mark.parametrize("seed", range(4))
def test_validation_takes_whole_subjects(seed):
    index = own_index()
    train, test = split(index, "subject:1,2,3,4,5")
    fit, validation = validation_part(index, train, test, 0.2, seed)
    assert sorted([*fit, *validation]) == list(train)
    subjects = {index.clips[i].subject for i in validation}
    assert len(subjects) == 1
    assert not subjects & {index.clips[i].subject for i in fit}
    again = validation_part(index, train, test, 0.2, seed)
    assert np.array_equal(again[0], fit)


def test_validation_draws_differ_with_the_seed():
    index = own_index()
    train, test = split(index, "subject:1,2,3,4,5")
    assert len({tuple(validation_part(index, train, test, 0.2, seed)[1]) for seed in range(12)}) > 1


def test_validation_of_two_subjects_is_stratified():
    index = own_index(takes=10)
    train, test = split(index, "subject:1,2")
    fit, validation = validation_part(index, train, test, 0.1, 0)
    labels = [index.clips[i].label for i in validation]
    assert labels.count(0) == labels.count(1) == labels.count(2) == 2
    assert sorted([*fit, *validation]) == list(train)


def test_validation_asks_what_the_test_asks():
    """A split by view shows the same people twice: a held-out person would be a harder question, and a person lost."""
    clips = [
        ClipEntry(name=f"{s}{c}{i}", label=i, frames=1, subject=s, camera=c)
        for s in range(10)
        for c in (1, 2, 3)
        for i in range(10)
    ]
    index = index_of("nw-ucla", clips, tuple("abcdefghij"))
    train, test = split(index, "cross-view")
    fit, validation = validation_part(index, train, test, 0.1, 0)
    assert {index.clips[i].subject for i in fit} == set(range(10))
    assert sorted(index.clips[i].label for i in validation) == sorted([*range(10)] * 2)


def test_validation_is_stratified_where_nobody_knows_who_is_tested():
    clips = [ClipEntry(name=f"{s}{i}", label=i, frames=1, subject=s) for s in range(5) for i in range(4)]
    clips += [ClipEntry(name=f"t{i}", label=i, frames=1) for i in range(4)]
    index = index_of("own", clips, tuple("abcd"))
    for test in (np.arange(20, 24), np.array([], np.int64)):
        _, validation = validation_part(index, np.arange(20), test, 0.2, 0)
        assert sorted(index.clips[i].label for i in validation) == [0, 1, 2, 3]
        assert len({index.clips[i].subject for i in validation}) > 1


def test_validation_never_takes_the_last_people_of_a_class():
    clips = [ClipEntry(name=f"{s}{i}", label=0, frames=1, subject=s) for s in (1, 2, 3) for i in range(4)]
    clips += [ClipEntry(name=f"rare{i}", label=1, frames=1, subject=3) for i in range(4)]
    clips += [ClipEntry(name="tested", label=0, frames=1, subject=4)]
    index = index_of("own", clips, ("a", "b"))
    for seed in range(10):
        fit, _ = validation_part(index, np.arange(len(clips) - 1), np.array([len(clips) - 1]), 0.3, seed)
        assert {index.clips[i].label for i in fit} == {0, 1}


def test_validation_refuses_what_makes_no_sense():
    index = own_index()
    for share in (0, 1, -1, 2):
        with pytest.raises(BadInput, match="share must be between"):
            validation_part(index, np.arange(9), np.arange(9, 12), share, 0)
    with pytest.raises(BadInput, match="at least two training clips"):
        validation_part(index, np.array([0]), np.arange(9, 12), 0.1, 0)
    with pytest.raises(BadInput, match="at least two training clips"):
        validation_part(index, np.array([0, 9999]), np.arange(9, 12), 0.1, 0)


def test_base_trains_on_the_clips_a_run_would_and_holds_out_the_same(ntu60):
    data = ntu60
    base, novel = split(data, "48/12")
    train, held_out = validation_part(data, base, novel, 0.15, 0)
    assert [part.tolist() for part in split(data, "base:48/12,held=0.15")] == [train.tolist(), held_out.tolist()]
    everything, looked_at = split(data, "base:48/12,held=0")
    assert everything.tolist() == base.tolist()
    assert set(looked_at) < set(base)
    inside, _ = split(data, "base:48/12@xsub60,held=0")
    assert inside.tolist() == split(data, "48/12@xsub60")[0].tolist()


@pytest.mark.parametrize("name", ["base:xsub60", "base:48/12,held=2", "base:48/12,held=x", "base:"])
def test_base_of_what_divides_no_classes_is_named(ntu60, name):
    with pytest.raises(BadInput, match="base:"):
        split(ntu60, name)
