"""Preparation from end to end: the real sets, bad files among good ones, kills, the user's own clips."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ski_edge.data import ClipEntry, Index, open_data, split, utd, write_data
from ski_edge.data.check import check
from ski_edge.data.convert import convert
from ski_edge.data.denoise import to_clip
from ski_edge.data.ntu import read_ntu
from ski_edge.data.plans import PrepareOptions
from ski_edge.data.prepare import prepare
from ski_edge.data.sources import make_plan
from ski_edge.errors import BadInput
from ski_edge.skeleton import get_layout


@pytest.fixture
def few(utd_mhad, tmp_path):
    """A folder with 40 files of UTD-MHAD."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in sorted(utd_mhad.glob("a1[0-3]_s?_t[1-2]*.mat"))[:40]:
        shutil.copy(path, raw)
    return raw


def content(folder):
    report = json.loads((folder / "report.json").read_text())
    report.pop("seconds"), report.pop("resumed_after")
    return (folder / "clips.npy").read_bytes(), (folder / "index.json").read_text(), report


def test_ucla_from_end_to_end(nw_ucla, tmp_path):
    calls = []
    report = prepare(make_plan("ucla", nw_ucla), tmp_path / "ucla", progress=lambda *state: calls.append(state))
    assert (report["clips"], report["frames"], report["skipped"]) == (1484, 58_534, [])
    assert calls[-1] == (1484, 1484, 0)
    data = open_data(tmp_path / "ucla")
    assert [len(part) for part in split(data, "cross-view")] == [1020, 464]
    one = [clip.name for clip in data.index.clips].index("a02_s09_e04_v02")
    assert data[one].shape == (1, 1, 20, 3)
    raw = json.loads((nw_ucla / "a02_s09_e04_v02.json").read_text())
    assert np.array_equal(data[one][:, 0], np.array(raw["skeletons"], np.float32))
    assert isinstance(data.frames, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ucla"]  # no partial folder is left
    summary = check(tmp_path / "ucla")
    assert (summary["clips"], summary["not_finite"], summary["repeated_names"]) == (1484, 0, 0)
    assert summary["length_min_median_max"] == [1, 31, 201]
    assert summary["smallest_class"] > 50


def test_ntu_samples(ntu_samples, tmp_path):
    plan = make_plan("ntu", ntu_samples / "NTU")
    prepare(plan, tmp_path / "ntu")
    data = open_data(tmp_path / "ntu")
    index = data.index
    assert [clip.name[-4:] for clip in index.clips] == ["A001", "A011", "A058", "A003"]
    assert (index.persons, index.centred, index.second_body, len(index.classes)) == (2, True, "zeros", 60)
    assert (index.clips[2].setup, index.clips[2].camera, index.clips[2].subject) == (1, 3, 8)
    path = ntu_samples / "NTU" / "skeleton" / "S001C003P008R002A058.skeleton"
    assert np.array_equal(data[2], to_clip(read_ntu(path), "A058"))
    report = json.loads((tmp_path / "ntu" / "report.json").read_text())
    assert [item["file"] for item in report["skipped"]] == ["S001C001P001R001A001.gardiens.skeleton"]
    assert "RGBD120_samples_with_missing_skeletons.txt" in report["notes"][0]


def test_ntu_options(ntu_samples, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    sample = ntu_samples / "NTU" / "skeleton" / "S001C001P001R001A001.skeleton"
    for name in ("S001C001P001R001A001", "S018C001P008R001A061", "S001C002P005R002A008"):
        shutil.copy(sample, raw / f"{name}.skeleton")
    (raw / "copy").mkdir()
    shutil.copy(sample, raw / "copy" / "S001C001P001R001A001.skeleton")
    plan = make_plan("ntu", raw)
    assert (len(plan.classes), plan.second_body, len(plan.files)) == (120, "copy", 3)
    assert plan.skipped[0][1].startswith("the same sample as")
    assert "no list of samples with missing skeletons" in plan.notes[0]
    plan = make_plan("ntu", raw, PrepareOptions(subset="60", second_body="copy"))
    assert (len(plan.classes), plan.second_body, len(plan.files)) == (60, "copy", 2)
    assert "1 files of actions above 60 left out" in plan.notes[1]
    (raw / "NTU_RGBD_samples_with_missing_skeletons.txt").write_text("text\n\nS001C002P005R002A008\n")
    plan = make_plan("ntu", raw)
    assert len(plan.files) == 2
    assert plan.skipped[-1] == ("S001C002P005R002A008.skeleton", "listed as a sample with missing skeletons")


def test_bad_files_are_reported_and_never_stop_the_run(few, tmp_path):
    files = sorted(few.iterdir())
    files[3].write_bytes(b"")
    files[7].write_bytes(files[7].read_bytes()[:900])
    shutil.copy(files[8], few / "a99_s1_t1_skeleton.mat")
    os.remove(files[9])
    files[9].symlink_to(tmp_path / "nowhere")
    (few / "a1_s1_t9_skeleton.mat").mkdir()
    report = prepare(make_plan("utd", few), tmp_path / "out")
    assert report["clips"] == len(files) - 3
    assert [item["file"] for item in report["skipped"]] == [files[3].name, files[7].name, "a99_s1_t1_skeleton.mat"]
    assert "get it again" in report["skipped"][0]["why"]
    assert "there is no action 99" in report["skipped"][2]["why"]


def test_a_reader_that_breaks_is_a_reason_too(few, tmp_path, monkeypatch):
    def broken(path, read=utd.read_utd):
        if "_s2_" in path.name:
            raise ZeroDivisionError("oops")
        return read(path)

    monkeypatch.setattr("ski_edge.data.utd.read_utd", broken)
    report = prepare(make_plan("utd", few), tmp_path / "out")
    assert 0 < report["clips"] < len(list(few.iterdir()))
    assert report["skipped"][0]["why"] == "not readable (ZeroDivisionError: oops)"


def test_two_workers_write_the_same_as_one(few, tmp_path):
    (few / "a1_s1_t9_skeleton.mat").write_bytes(b"bad")
    prepare(make_plan("utd", few), tmp_path / "one")
    prepare(make_plan("utd", few), tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


_RUN = """
import sys, time
from pathlib import Path
from ski_edge.data import sources, utd
from ski_edge.data.prepare import prepare
read = utd.read_utd
def slow(path):
    time.sleep(0.02)
    return read(path)
utd.read_utd = slow
prepare(sources.make_plan("utd", Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("damage", ["none", "journal", "frames"])
def test_a_killed_run_goes_on(few, tmp_path, damage):
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    process = subprocess.Popen([sys.executable, "-c", _RUN, few, out], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    journal = partial / "journal.jsonl"
    while (not journal.exists() or journal.read_bytes().count(b"\n") < 8) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    finished = journal.read_bytes().count(b"\n")
    assert 8 <= finished < len(list(few.iterdir())), process.stderr.read()
    if damage == "journal":
        with open(journal, "a") as file:
            file.write('{"file": "half a li')
    if damage == "frames":
        with open(partial / "clips.npy", "r+b") as file:  # as after a power cut: the last frames never reached the disk
            file.seek(-100, os.SEEK_END)
            file.write(b"\0" * 100)
        finished -= 1
    report = prepare(make_plan("utd", few), out)
    assert report["resumed_after"] >= finished - 1
    if damage != "frames":
        assert report["resumed_after"] == finished  # nothing that was finished is done again
    prepare(make_plan("utd", few), tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")
    assert not partial.exists()


def test_another_plan_does_not_go_on_with_a_partial_run(few, tmp_path):
    def stop(done, total, skipped):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(make_plan("utd", few), tmp_path / "out", progress=stop)
    assert (tmp_path / ".out.partial" / "journal.jsonl").read_text().count("\n") == 10
    os.remove(sorted(few.iterdir())[2])  # the files are others now
    assert prepare(make_plan("utd", few), tmp_path / "out")["resumed_after"] == 0


def test_two_runs_never_write_one_output(few, tmp_path):
    plan = make_plan("utd", few)

    def again(done, total, skipped):
        with pytest.raises(BadInput, match="another run is preparing the same output"):
            prepare(plan, tmp_path / "out")

    prepare(plan, tmp_path / "out", progress=again)


def test_prepared_data_is_replaced_and_nothing_else_is(few, tmp_path):
    plan = make_plan("utd", few)
    prepare(plan, tmp_path / "out")
    prepare(plan, tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(BadInput, match="holds files that are not ours to replace"):
        prepare(plan, tmp_path / "out")


def test_nothing_usable_is_an_error_that_leaves_nothing(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a1_s1_t1_skeleton.mat").write_bytes(b"bad")
    with pytest.raises(BadInput, match="none of 1 files of utd-mhad could be used; the first: a1_s1_t1"):
        prepare(make_plan("utd", raw), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


@pytest.mark.parametrize("dataset", ["ntu", "ucla", "utd", "pku", "sysu", "smarthome"])
def test_folders_without_the_files(tmp_path, dataset):
    with pytest.raises(BadInput, match=r"holds no .* files; give the folder with"):
        make_plan(dataset, tmp_path)
    with pytest.raises(BadInput, match="is not a folder"):
        make_plan(dataset, tmp_path / "no")


def test_options_of_other_sets_are_refused(tmp_path):
    with pytest.raises(BadInput, match="--fps does not concern ucla; it takes: no options"):
        make_plan("ucla", tmp_path, PrepareOptions(fps=3))
    with pytest.raises(BadInput, match="--layout does not concern ntu; it takes: missing, second_body, subset"):
        make_plan("ntu", tmp_path, PrepareOptions(layout="ntu25"))
    with pytest.raises(BadInput, match="data set 'kinetics' is not known; the choices are: ntu, ucla"):
        make_plan("kinetics", tmp_path)


def test_pku_is_cut_into_its_actions(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("PKU_Skeleton_Renew", "Train_Label_PKU_final", "Split"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    raw = tmp_path / "raw"
    for name in ("0002-L", "0003-M", "0004-R"):
        rows = rng.normal(size=(30, 150))
        rows[:, 75:] = 0
        rows[20:25] = 0
        text = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows)
        (raw / "PKU_Skeleton_Renew" / f"{name}.txt").write_text(text)
        if name != "0004-R":
            (raw / "Train_Label_PKU_final" / f"{name}.txt").write_text("4,0,10,2\n51,12,99,1\n7,20,24,1\n7,40,50,1\n")
    (raw / "Split" / "cross-subject.txt").write_text("a\n0002-L,\nb\n0003-M,\n")
    (raw / "Split" / "cross-view.txt").write_text("a\n0003-M,\nb\n0002-L,\n")
    report = prepare(make_plan("pku", raw), tmp_path / "out")
    data = open_data(tmp_path / "out")
    assert [(c.name, c.label, c.frames, c.camera) for c in data.index.clips] == [
        ("0002-L_000", 3, 10, 1),
        ("0002-L_001", 50, 18, 1),
        ("0003-M_000", 3, 10, 2),
        ("0003-M_001", 50, 18, 2),
    ]
    assert [[list(part) for part in split(data, f"file:{name}")] for name in ("xsub", "xview")] == [
        [[0, 1], [2, 3]],
        [[2, 3], [0, 1]],
    ]
    assert [item["file"] for item in report["skipped"]] == [
        *("0002-L_002", "0002-L_003", "0003-M_002", "0003-M_003", "0004-R.txt")
    ]
    assert report["skipped"][-1]["why"] == "0004-R.txt has no label file"


def test_sysu_and_smarthome(tmp_path, ntu_samples):
    scipy_io = pytest.importorskip("scipy.io")
    for person in ("anna", "bob"):
        folder = tmp_path / "sysu" / person / "video2"
        folder.mkdir(parents=True)
        scipy_io.savemat(folder / "sklWorld.mat", {"SW": np.ones((20, 3, 9))})
    prepare(make_plan("sysu", tmp_path / "sysu"), tmp_path / "out")
    assert [(c.name, c.label, c.subject) for c in open_data(tmp_path / "out").index.clips] == [
        ("anna_video2", 1, 1),
        ("bob_video2", 1, 2),
    ]
    prepare(make_plan("smarthome", ntu_samples / "Smarthome"), tmp_path / "home")
    data = open_data(tmp_path / "home")
    assert (data.index.layout.name, len(data), data[0].shape) == ("coco17", 1, (1380, 1, 17, 3))


def test_bring_your_own(tmp_path):
    raw, rng = tmp_path / "raw", np.random.default_rng(0)
    (raw / "day1").mkdir(parents=True)
    np.save(raw / "day1" / "a.npy", rng.normal(size=(5, 20, 3)))
    np.save(raw / "b.npy", rng.normal(size=(6, 2, 20, 3)))
    (raw / "c.csv").write_text("\n".join(",".join(["0.5"] * 60) for _ in range(7)))
    np.save(raw / "d.npy", rng.normal(size=(5, 25, 3)))
    np.save(raw / "e.npy", rng.normal(size=(5, 20, 3)))
    (raw / "labels.csv").write_text("name,label,subject\nday1/a.npy,wave,1\nb,sit,2\nc,wave,1\nd,sit,1\nz,sit,1\n")
    plan = make_plan("folder", raw, PrepareOptions(layout="kinect20", fps=15))
    report = prepare(plan, tmp_path / "out", workers=2)
    data = open_data(tmp_path / "out")
    assert [(c.name, c.label, c.frames, c.subject) for c in data.index.clips] == [
        *(("b", 0, 6, 2), ("c", 1, 7, 1), ("day1/a", 1, 5, 1))
    ]
    assert (data.index.classes, data.index.fps, data.index.persons) == (("sit", "wave"), 15, 2)
    assert data[1][:, 0].min() == 0.5
    assert not data[1][:, 1].any()
    assert {os.path.basename(item["file"]) for item in report["skipped"]} == {"d.npy", "e.npy", "z"}
    with pytest.raises(BadInput, match="--layout is needed"):
        make_plan("folder", raw)
    (raw / "labels.csv").write_text("name,label\nq,1\n")
    with pytest.raises(BadInput, match="none of the 1 names in the table"):
        make_plan("folder", raw, PrepareOptions(layout="kinect20"))


def test_number_labels_keep_their_order(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 20, 3)))
    (tmp_path / "labels.csv").write_text("name,label\na,10\nb,9\nc,2\n")
    assert make_plan("folder", tmp_path, PrepareOptions(layout="kinect20")).classes == ("2", "9", "10")


def test_converted_files_open_as_prepared_data(tmp_path):
    import pickle

    rng = np.random.default_rng(0)
    clips = np.zeros((4, 300, 150), np.float32)
    clips[:3, :30, :75] = rng.normal(size=(3, 30, 75))
    clips[..., 75:] = clips[..., :75]
    labels = np.eye(120)[[0, 5, 119, 7]]
    np.savez(tmp_path / "NTU120_CSub.npz", x_train=clips, y_train=labels, x_test=clips[:2], y_test=labels[:2])
    report = convert(tmp_path / "NTU120_CSub.npz", tmp_path / "npz")
    data = open_data(tmp_path / "npz")
    assert (data.index.second_body, data.index.centred, len(data.index.classes)) == ("copy", True, 120)
    assert [list(part) for part in split(data, "file")] == [[0, 1, 2], [3, 4]]
    assert np.array_equal(data[1][:, 0].reshape(30, 75), clips[1, :30, :75])
    assert not data[1][:, 1].any()
    assert [item["why"] for item in report["skipped"]] == ["all zeros"]
    assert "only its own split is available" in report["notes"][1]
    names = ("S001C001P001R001A001", "S001C002P003R001A060")
    keypoints = [rng.normal(size=(1 + n, 9, 25, 3)).astype(np.float16) for n in range(2)]
    annotations = [
        {"frame_dir": name, "label": int(name[-3:]) - 1, "keypoint": keypoint, "total_frames": 9}
        for name, keypoint in zip(names, keypoints, strict=True)
    ]
    content = {"split": {"xsub_train": names[:1], "xsub_val": names[1:]}, "annotations": annotations}
    (tmp_path / "ntu60_3d.pkl").write_bytes(pickle.dumps(content))
    convert(tmp_path / "ntu60_3d.pkl", tmp_path / "pkl", tuple(f"name {i}" for i in range(60)))
    data = open_data(tmp_path / "pkl")
    assert (data.index.dataset, data.index.persons, data.index.centred) == ("ntu", 2, False)
    assert (
        [list(part) for part in split(data, "file:xsub")]
        == [[0], [1]]
        == [list(part) for part in split(data, "xsub60")]
    )
    assert data.index.classes[59] == "name 59"
    with pytest.raises(BadInput, match="60 classes, 3 names were given"):
        convert(tmp_path / "ntu60_3d.pkl", tmp_path / "no", ("a", "b", "c"))
    with pytest.raises(BadInput, match="cannot be converted"):
        convert(tmp_path / "x.zip", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_damaged_prepared_data_is_said(tmp_path):
    entry = ClipEntry(name="a", label=0, frames=5)
    fields = {"dataset": "own", "layout": get_layout("kinect20"), "fps": 30, "persons": 1, "classes": ("x",)}
    folder = tmp_path / "data"
    folder.mkdir()
    write_data(folder, Index(**fields, clips=(entry,)), [np.ones((5, 1, 20, 3))], {})
    good = (folder / "clips.npy").read_bytes()
    assert open_data(folder)[0].shape == (5, 1, 20, 3)
    for data in (good[:-8], b"", b"hello"):
        (folder / "clips.npy").write_bytes(data)
        with pytest.raises(BadInput, match=r"clips\.npy cannot be read"):
            open_data(folder)
    (folder / "clips.npy").write_bytes(good)
    index = json.loads((folder / "index.json").read_text())
    index["clips"][0]["frames"] = 6
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match=r"the index says float32 \[6, 1, 20, 3\]"):
        open_data(folder)
    index["clips"][0]["label"] = 3
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match="label 3 has no name"):
        open_data(folder)
    with pytest.raises(BadInput, match="holds no prepared data"):
        open_data(tmp_path)
