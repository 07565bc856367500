"""What a check of videos and skeletons finds: made with one fault of each kind."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ski_edge.data import ClipEntry, Index, write_data
from ski_edge.data.video import check, open_videos
from ski_edge.data.video.csv_list import list_videos
from ski_edge.data.video.decode import probe
from ski_edge.data.video.files import read_checked
from ski_edge.skeleton import get_layout


def write_video(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (32, 24))
    rng = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    writer.release()


def name(action, subject):
    return f"S001C001P{subject:03d}R001A{action:03d}"


@pytest.fixture
def paired(tmp_path):
    """NTU-60 by names: actions 1 to 4 of subjects 1 (trains) and 3 (tests), 12 frames."""
    folder, root = tmp_path / "skeletons", tmp_path / "rgb"
    folder.mkdir()
    root.mkdir()
    clips = []
    for action in (1, 2, 3, 4):
        for subject in (1, 3):
            clips.append(ClipEntry(name=name(action, subject), label=action - 1, frames=12, subject=subject, camera=1))
            write_video(root / f"{name(action, subject)}_rgb.avi", 12)
    classes = tuple(f"class {action}" for action in range(1, 61))
    fields = {"dataset": "ntu", "layout": get_layout("ntu25"), "fps": 30, "persons": 1, "classes": classes}
    write_data(folder, Index(**fields, clips=tuple(clips)), [np.ones((12, 1, 25, 3), np.float32)] * 8, {})
    return folder, root


def test_a_whole_set(cli, paired, tmp_path):
    folder, root = paired
    arguments = ("data", "check", folder, "--videos", root, "--split", "xsub60", "--split", "48/12")
    code, out, err = cli(*arguments, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["pairs"], found["video_files"], found["skeletons"]) == (8, 8, 8)
    for key in ("unusable", "videos_without_skeleton", "skeletons_without_video", "lengths_differ", "labels_differ"):
        assert found[key] == []
    assert found["splits"]["xsub60"] == {
        "train": 4,
        "test": 4,
        "train_classes_without_pairs": [],
        "test_classes_without_pairs": [],
    }
    unseen = found["splits"]["48/12"]
    assert (unseen["train"], unseen["test"]) == (6, 2)  # of the twelve, only A4 is there
    assert (len(unseen["train_classes_without_pairs"]), len(unseen["test_classes_without_pairs"])) == (45, 11)
    code, out, err = cli(*arguments)
    assert "8 pairs of 8 videos and 8 skeletons" in out
    assert "split xsub60: 4 train, 4 test" in out
    assert "decoding: 8 of 8 files, 0 unusable" in err


def test_everything_that_can_be_wrong(cli, paired, tmp_path):
    folder, root = paired
    (root / f"{name(1, 1)}_rgb.avi").write_bytes(b"damage")
    whole = (root / f"{name(2, 1)}_rgb.avi").read_bytes()
    (root / f"{name(2, 1)}_rgb.avi").write_bytes(whole[: int(len(whole) * 0.8)])
    (root / f"{name(3, 1)}_rgb.avi").unlink()
    write_video(root / f"{name(3, 3)}_rgb.avi", 40)
    write_video(root / f"{name(9, 1)}_rgb.avi", 12)
    listed = tmp_path / "checked.json"
    arguments = ("data", "check", folder, "--videos", root, "--workers", 3, "--list", listed, "--split", "xsub60")
    code, out, _ = cli(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert [item["file"] for item in found["unusable"]] == [f"{name(1, 1)}_rgb.avi", f"{name(2, 1)}_rgb.avi"]
    assert "is not a video" in found["unusable"][0]["why"]
    assert "the header says 12 frames" in found["unusable"][1]["why"]
    assert found["pairs"] == 5
    assert found["videos_without_skeleton"] == [name(9, 1)]
    assert found["skeletons_without_video"] == [name(1, 1), name(2, 1), name(3, 1)]
    assert found["lengths_differ"] == [f"{name(3, 3)}: video 40 frames, skeleton 12"]
    part = found["splits"]["xsub60"]
    assert (part["train"], part["test"]) == (1, 4)
    assert part["train_classes_without_pairs"] == ["class 1", "class 2", "class 3"]
    code, out, _ = cli(*arguments)
    assert "videos that cannot be used: 2" in out
    assert "3 classes without train pairs: class 1, class 2, class 3" in out
    # A run that is given the list leaves out what it names, and knows every length.
    source = open_videos(root, tuple(map(str, range(60))), checked=listed)
    assert len(source.names) == 6
    assert len(source.left_out) == 2


def test_a_list_with_missing_files_and_other_labels(cli, paired, tmp_path):
    folder, root = paired
    rows = [f"{name(action, 1)}_rgb.avi,x.npz,{action - 1}" for action in (1, 2, 3)]
    (tmp_path / "train.csv").write_text("\n".join([*rows, "gone_rgb.avi,x.npz,70"]))
    (tmp_path / "names.csv").write_text("id,name\n0,class 1\n1,class 2\n2,class 9\n")
    listed = tmp_path / "checked.json"
    arguments = ["data", "check", folder, "--videos", tmp_path / "train.csv", "--root", root, "--list", listed]
    code, out, _ = cli(*arguments, "--json")
    found = json.loads(out)
    assert (code, found["pairs"], found["labels_differ"]) == (0, 3, [])
    assert found["unusable"] == [{"file": "gone_rgb.avi", "why": f"video {root / 'gone_rgb.avi'} does not exist"}]
    assert set(found["splits"]) == {"xsub60", "xview", "55/5", "48/12"}
    assert "error" in found["splits"]["xview"]  # all clips are of one camera
    code, out, _ = cli(*arguments, "--classes", tmp_path / "names.csv", "--json")
    assert json.loads(out)["labels_differ"] == [f"{name(3, 1)}: video class 9, skeleton class 3"]
    source = open_videos(tmp_path / "train.csv", ("a", "b", "c"), root=root, checked=listed)
    assert source.left_out[0][0] == "gone_rgb.avi"


def test_a_check_goes_on_where_it_was_stopped(paired, tmp_path, monkeypatch):
    _, root = paired
    listing, listed = list_videos(root), tmp_path / "checked.json"
    decoded = []

    def slow(path):
        if len(decoded) == 3:
            raise KeyboardInterrupt
        decoded.append(path.name)
        return probe(path)

    monkeypatch.setattr(check, "probe", slow)
    with pytest.raises(KeyboardInterrupt):
        check.check_files(listing, listed)
    assert len(read_checked(listed).files) == 3
    monkeypatch.setattr(check, "probe", lambda path: decoded.append(path.name) or probe(path))
    found = check.check_files(listing, listed, workers=2)
    assert sorted(decoded) == sorted(listing.files)  # none twice
    assert all(file.frames == 12 for file in found.files.values())


def test_what_cannot_be_checked(fails_clean, paired, tmp_path):
    folder, root = paired
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.avi").write_bytes(b"x")
    fails_clean("data", "check", folder, "--videos", empty, says="holds no videos")
    fails_clean("data", "check", folder, "--videos", tmp_path / "no", says="does not exist")
    fails_clean("data", "check", folder, "--videos", tmp_path / "bad", says="none of the 1 videos can be used")
    fails_clean("data", "check", root, "--videos", root, says="holds no prepared data")
    fails_clean("data", "check", folder, "--root", root, says="are about videos; give --videos")
    fails_clean("data", "check", folder, "--videos", root, "--list", tmp_path / "no" / "x.json", says="does not exist")


def test_prompts_of_a_split(cli, fails_clean, paired, tmp_path):
    folder, _ = paired
    out = tmp_path / "labels"
    (tmp_path / "d.txt").write_text("class 7: somebody throws a ball")
    arguments = ("--split", "unseen:class 2;class 7", "--descriptions", tmp_path / "d.txt")
    code, stdout, err = cli("data", "prompts", folder, *arguments, "--out", out)
    assert code == 0, err
    assert (out / "unseen-named_novel.csv").read_text() == "id,name\n0,class 2\n1,class 7\n"
    assert len((out / "unseen-named_base.csv").read_text().splitlines()) == 59
    sentences = json.loads((out / "prompts.json").read_text())
    assert sentences["class 1"] == ["a photo of a class 1."]
    assert sentences["class 7"] == ["somebody throws a ball"]
    assert str(out / "prompts.json") in stdout
    arguments = ("--split", "48/12", "--templates", "froster")
    code, stdout, _ = cli("data", "prompts", "ntu60", *arguments, "--out", out, "--json")
    assert json.loads(stdout)["classes"] == 60
    fails_clean("data", "prompts", "ntu60", "--split", "xsub60", "--out", tmp_path / "n", says="is not known")
    fails_clean("data", "prompts", "ntu60", "--split", "110/10", "--out", tmp_path / "n", says="is of 120 classes")
    fails_clean("data", "prompts", "no.txt", "--out", tmp_path / "n", says="no.txt cannot be read")


def test_prompts_are_labels_of_a_bundle(cli, tmp_path):
    from ski_edge.bundle.labels import read_labels

    code, _, err = cli("data", "prompts", "ntu60", "--templates", "froster", "--out", tmp_path / "o")
    assert code == 0, err
    labels = read_labels(str(tmp_path / "o" / "prompts.json"))
    assert (len(labels), len(labels[0].prompts)) == (60, 29)
