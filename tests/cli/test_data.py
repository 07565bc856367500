"""`ski-edge data`: what a user sees of preparing, converting and checking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ski_edge.data import open_data


@pytest.fixture
def own(tmp_path):
    """A folder of 40 clips of the user's own."""
    raw, rng = tmp_path / "raw", np.random.default_rng(0)
    raw.mkdir()
    for number in range(40):
        np.save(raw / f"{number:02d}.npy", rng.normal(size=(9, 20, 3)))
    rows = "".join(f"{number:02d},{('sit', 'wave')[number % 2]},{number % 3}\n" for number in range(40))
    (raw / "labels.csv").write_text("name,label,subject\n" + rows)
    return raw


def test_prepare_and_check(cli, own, tmp_path):
    np.save(own / "07.npy", np.zeros((9, 25, 3)))
    out = tmp_path / "out"
    code, stdout, err = cli("data", "prepare", "folder", "--raw", own, "--out", out, "--layout", "kinect20")
    assert code == 0, err
    assert f"{out}: 39 clips, 351 frames of folder" in stdout
    assert "1 skipped" in stdout
    assert "07.npy" in stdout
    assert "40 of 40 files, 1 skipped" in err
    assert open_data(out).index.classes == ("sit", "wave")
    code, stdout, _ = cli("data", "check", out)
    assert code == 0
    assert "clips: 39" in stdout
    assert "splits: unseen:COUNT, subject:IDS" in stdout
    code, stdout, _ = cli("data", "check", out, "--json")
    assert json.loads(stdout)["frames_with_body"] == [351]
    code, stdout, _ = cli("data", "check", own / "03.npy", "--layout", "kinect20", "--json")
    assert (code, json.loads(stdout)["frames"]) == (0, 9)


def test_prepare_as_json_keeps_quiet(cli, own, tmp_path):
    arguments = ("data", "prepare", "folder", "--raw", own, "--out", tmp_path / "out", "--layout", "kinect20", "--json")
    code, stdout, err = cli(*arguments)
    assert (code, err) == (0, "")
    assert json.loads(stdout)["clips"] == 40


def test_ntu_gets_its_names(cli, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    row = "0.1 0.2 3 1 1 1 1 0 0 0 1 2"
    body = "\n".join(["7 0 1 1 1 1 0 0 0 2", "25", *[row] * 25])
    (raw / "S001C001P001R001A010.skeleton").write_text(f"2\n1\n{body}\n1\n{body}\n")
    code, _, err = cli("data", "prepare", "ntu", "--raw", raw, "--out", tmp_path / "out")
    assert code == 0, err
    data = open_data(tmp_path / "out")
    assert data.index.classes[data.index.clips[0].label] == "clapping"
    code, stdout, _ = cli("data", "check", raw / "S001C001P001R001A010.skeleton")
    assert "tracks: 7 (2)" in stdout


def test_convert(cli, tmp_path):
    clips, labels = np.zeros((2, 6, 150), np.float32), np.eye(60)[[9, 3]]
    clips[:, :5, :75] = 1
    np.savez(tmp_path / "NTU60_CS.npz", x_train=clips, y_train=labels, x_test=clips, y_test=labels)
    arguments = ("data", "convert", tmp_path / "NTU60_CS.npz", "--out", tmp_path / "out", "--classes", "ntu60")
    code, stdout, err = cli(*arguments)
    assert code == 0, err
    assert "4 clips, 20 frames of ntu" in stdout
    assert open_data(tmp_path / "out").index.classes[9] == "clapping"
    code, stdout, _ = cli("data", "check", tmp_path / "NTU60_CS.npz", "--json")
    assert json.loads(stdout)["clips"] == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prepare", "kinetics", "--raw", ".", "--out", "x"], "data set 'kinetics' is not known"),
        (["prepare", "ntu", "--raw", "no", "--out", "x"], "--raw no is not a folder"),
        (["prepare", "ntu", "--raw", ".", "--out", "x"], "holds no S*.skeleton files"),
        (["prepare", "ntu", "--raw", ".", "--out", "x", "--subset", "90"], "--subset '90': input should be"),
        (["prepare", "ucla", "--raw", ".", "--out", "x", "--fps", "3"], "--fps does not concern ucla"),
        (["prepare", "folder", "--raw", ".", "--out", "x"], "--layout is needed"),
        (["prepare", "folder", "--raw", ".", "--out", "x", "--layout", "q"], "layout 'q' is not known"),
        (
            ["prepare", "folder", "--raw", ".", "--out", "x", "--layout", "ntu25"],
            "label file labels.csv cannot be read",
        ),
        (["prepare", "ucla", "--raw", ".", "--out", "x", "--workers", "0"], "'--workers'"),
        (["convert", "no.npz", "--out", "x"], "no.npz does not exist"),
        (["check", "no"], "no does not exist"),
        (["check", "."], "holds no prepared data"),
    ],
)
def test_usage_errors_are_one_line(fails_clean, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails_clean("data", *arguments, says=says)
    assert list(tmp_path.iterdir()) == []


def test_check_of_what_it_does_not_know(fails_clean, tmp_path):
    (tmp_path / "x.doc").write_text("hello")
    (tmp_path / "x.csv").write_text("1,2,3")
    (tmp_path / "x.txt").write_text("hello world\n")
    fails_clean("data", "check", tmp_path / "x.doc", says="the endings are: .skeleton, .txt, .json")
    fails_clean("data", "check", tmp_path / "x.csv", says="needs --layout")
    fails_clean("data", "check", tmp_path / "x.txt", says="a row must hold 150 numbers")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(cli, own, tmp_path, number, hear_interrupts):
    slow = """
import time
from ski_edge.cli.main import entry
from ski_edge.data import folder
read = folder.read_clip
folder.read_clip = lambda *arguments: time.sleep(0.05) or read(*arguments)
entry()
"""
    out, journal = tmp_path / "out", tmp_path / ".out.partial" / "journal.jsonl"
    arguments = ["data", "prepare", "folder", "--raw", str(own), "--out", str(out), "--layout", "kinect20"]
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *arguments], stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
    )
    deadline = time.monotonic() + 60
    while (not journal.exists() or journal.read_bytes().count(b"\n") < 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    err = process.communicate()[1]
    if number != signal.SIGKILL:
        assert (process.returncode, err.splitlines()[-1]) == (130, "error: stopped")
    finished = journal.read_bytes().count(b"\n")
    assert 5 <= finished < 40
    assert not out.exists()
    code, stdout, _ = cli(*arguments, "--json")
    report = json.loads(stdout)
    assert (code, report["clips"], report["resumed_after"]) == (0, 40, finished)
    assert sorted(os.listdir(tmp_path)) == ["out", "raw"]
