"""The command line as a user meets it: the done-when traps, each one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ski_edge
from ski_edge.bundle import read_manifest
from ski_edge.cli.output import seconds
from ski_edge.errors import BadInput


def test_version_help_and_usage(cli):
    assert cli("--version")[:2] == (0, ski_edge.__version__ + "\n")
    code, out, _ = cli("--help")
    assert code == 0
    for verb in ("export", "convert", "verify", "benchmark", "monitor", "doctor"):
        assert verb in out
        assert cli(verb, "--help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["monitor"], "Missing option"),
        (
            ["export", "-m", "ski-vificlip", "--arch", "ViT-B-16"],
            "no weights ship for ski-vificlip ViT-B-16, only mini",
        ),
        (["export", "--model", "x", "--weights", "random"], "model 'x' is not known"),
        (["export", "--model", "vificlip", "--weights", "random", "--arch", "huge"], "arch 'huge' is not known"),
        (
            ["export", "--model", "vificlip", "--weights", "random", "--format", "tflite"],
            "--format 'tflite' is not available",
        ),
        (
            ["export", "--model", "vificlip", "--weights", "random", "--arch", "tiny", "--precision", "int8"],
            "precision 'int8'",
        ),
        (
            ["export", "--model", "vificlip", "--weights", "random", "--arch", "tiny", "--classes", "no.txt"],
            "no.txt does not exist",
        ),
        (["convert", "no.pth", "--out", "x"], "checkpoint no.pth does not exist"),
        (["convert", "no.pth", "--out", "x", "--set", "classes"], "must be KEY=VALUE"),
        (["verify", "no_bundle"], "bundle no_bundle does not exist"),
        (["benchmark", "-m", "no_bundle"], "bundle no_bundle does not exist"),
        (["verify", "utd27", "--backend", "foo"], "backend 'foo' is not known; use auto, onnxruntime, native or cuda"),
        (["benchmark", "-m", "utd27", "--precision", "int8", "--out", "new"], "precision 'int8' is not known"),
    ],
)
def test_usage_errors_are_one_line(fails_clean, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails_clean(*arguments, says=says)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def monitor(fails_clean, tiny_bundle, generated_video, tmp_path):
    """Run the monitor with one thing wrong; the output folder must not appear."""

    def run(says, *more, model=tiny_bundle, source=generated_video, code=2):
        out = tmp_path / "out"
        line = fails_clean(
            "monitor", "--model", model, "--source", source, "--out", out, "--headless", *more, says=says, code=code
        )
        assert not out.exists()
        return line

    return run


def test_monitor_with_a_bad_source(monitor, tmp_path):
    monitor("does not exist", source=tmp_path / "no.mp4")
    monitor("is a directory", source=tmp_path)
    (tmp_path / "empty.mp4").touch()
    monitor("is empty", source=tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("hello\n" * 50)
    monitor("not a video", source=tmp_path / "text.mp4")
    monitor("camera 99 cannot be opened", source="99")


def test_monitor_with_an_unreachable_stream(monitor):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"rtsp://admin:hunter2@127.0.0.1:{silent.getsockname()[1]}/live"
        line = monitor("no answer within 1 s", "--timeout", "1s", source=address)
    assert "hunter2" not in line


def test_monitor_with_a_bad_bundle(monitor, tiny_bundle, tmp_path):
    changed = shutil.copytree(tiny_bundle, tmp_path / "changed")
    data = bytearray((changed / "model.onnx").read_bytes())
    data[12345] ^= 1
    (changed / "model.onnx").write_bytes(data)
    monitor("model.onnx was changed after export", model=changed)
    (changed / "model.onnx").write_bytes(data[: len(data) // 2])
    monitor("bytes, the manifest says", model=changed)
    monitor("does not exist", model=tmp_path / "no")


def test_monitor_with_bad_labels_and_flags(monitor, tmp_path):
    (tmp_path / "l.txt").write_bytes("épée".encode("latin-1"))
    monitor("is not UTF-8", "--labels", tmp_path / "l.txt")
    monitor("0.001 s to the window's 4 s", "--every", "5s")
    monitor("must be a time above 0", "--every", "fast")
    monitor("needs 0 < leave <= conf <= 1", "--conf", "2")
    monitor("may hold letters, digits", "--camera", "../../etc")
    monitor("device cuda:0 is not available", "--device", "0", code=5)
    monitor("device '²' is not known", "--device", "²")
    monitor("needs at least 2 labels", "--labels", "falling")
    monitor("is the monitor's own word", "--labels", "falling,unknown")
    monitor("at most a year", "--timeout", "9999999999h")
    monitor("'--threads'", "--threads", "99999999999999")


def test_show_without_a_screen_is_an_error_not_a_crash(monitor, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":97")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monitor("no window can be opened", "--show", code=5)


@pytest.mark.parametrize("out", ["file/below", "link", "Stra\udcdfe"])
def test_monitor_with_an_impossible_output(fails_clean, tiny_bundle, generated_video, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    fails_clean("monitor", "-m", tiny_bundle, "-s", generated_video, "--out", out, says=out[:4])
    fails_clean("benchmark", "-m", tiny_bundle, "--out", "file/below", says="file")
    assert (tmp_path / "file").read_text() == "mine"


def test_passwords_in_usage_errors(cli, tiny_bundle):
    for arguments in (
        ("verify", tiny_bundle, "rtsp://bob:hunter2@h/x"),
        ("monitor", "-m", tiny_bundle, "-s", "bob:hunter2@h/x"),
    ):
        code, out, err = cli(*arguments)
        assert code == 2
        assert "hunter2" not in out + err


def test_a_bundle_that_cannot_run_keeps_the_earlier_run(cli, tiny_bundle, generated_video, tmp_path, monkeypatch):
    arguments = ("monitor", "-m", tiny_bundle, "-s", generated_video, "--headless", "--out", tmp_path / "run")
    assert cli(*arguments)[0] == 0
    before = (tmp_path / "run" / "events.jsonl").read_text()

    def fail(self, **tensors):
        raise BadInput("the graph refused")

    monkeypatch.setattr("ski_edge.runtime.ort.OrtGraph.run", fail)
    assert cli(*arguments, "--overwrite")[0] == 2
    assert (tmp_path / "run" / "events.jsonl").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_export_that_is_stopped_leaves_nothing(tmp_path, number, hear_interrupts):
    command = [sys.executable, "-c", "from ski_edge.cli.main import entry; entry()", "export", "--model", "vificlip"]
    command += ["--weights", "random", "--arch", "tiny", "--out", str(tmp_path / "b")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=hear_interrupts
    )
    for line in process.stderr:
        if line.startswith("writing the frame encoder"):
            break
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(60) == 130
    assert rest.splitlines()[-1] == "error: stopped"
    assert list(tmp_path.iterdir()) == []


def test_monitor_never_mixes_two_runs(cli, fails_clean, tiny_bundle, generated_video, tmp_path):
    arguments = ("monitor", "-m", tiny_bundle, "-s", generated_video, "--headless", "--out", tmp_path / "run")
    assert cli(*arguments)[0] == 0
    first = (tmp_path / "run" / "events.jsonl").read_text()
    fails_clean(*arguments, says="already holds a run")
    assert (tmp_path / "run" / "events.jsonl").read_text() == first
    code, out, _ = cli(*arguments, "--overwrite", "--json", "--labels", "cooking,falling", "--no-save-video")
    summary = json.loads(out)
    assert (code, summary["frames"]) == (0, 120)
    assert not (tmp_path / "run" / "annotated.mp4").exists()  # the earlier run's video is not taken for this one's
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    fails_clean(*arguments[:-1], tmp_path / "mine", "--overwrite", says="holds other files")


def test_monitor_reports_lost_frames(cli, tiny_bundle, videos, tmp_path):
    code, _, err = cli("monitor", "-m", tiny_bundle, "-s", videos / "decord" / "corrupted.mp4", "--out", tmp_path / "o")
    assert code == 0
    assert "28 of 50 frames decode, 22 are lost (44 %)" in err
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["lost"] == 22


def test_default_output_folders_count_up(cli, tiny_bundle, generated_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "shapes2"):
        assert cli("monitor", "-m", tiny_bundle, "-s", generated_video, "--headless")[0] == 0
        assert (tmp_path / "runs" / "monitor" / name / "timeline.png").exists()


def test_export_writes_a_bundle_that_says_random(cli, tmp_path):
    out = tmp_path / "b"
    code, stdout, err = cli(
        "export",
        "--model",
        "ski-vificlip",
        "--weights",
        "random",
        "--arch",
        "tiny",
        "--out",
        out,
        "--classes",
        "cook,fall",
    )
    assert code == 0, err
    assert "the weights are random" in err
    assert "next: ski-edge monitor" in stdout
    manifest = read_manifest(out)
    assert manifest.provenance.weights == "random (seed 0)"
    # Again into the same place: a bundle may be replaced.
    code, stdout, _ = cli(
        "export",
        "--model",
        "vificlip",
        "--weights",
        "random",
        "--arch",
        "tiny",
        "--out",
        out,
        "--classes",
        "cook",
        "--json",
    )
    assert code == 0
    assert json.loads(stdout)["manifest"]["model"] == "vificlip"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.slow
def test_demo_without_footage_and_pose_model(tmp_path):
    """What `make demo` does where neither is at hand; with both it runs in tests/slow."""
    root = Path(__file__).resolve().parents[2]
    bin = str(Path(sys.executable).parent)
    nowhere = {"SKI_EDGE_DATA": str(tmp_path / "none"), "SKI_EDGE_POSE_MODEL": str(tmp_path / "none.task")}
    env = {**os.environ, **nowhere, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, root / "benchmarks" / "demo.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "a generated clip" in done.stdout
    assert "none.task is not there" in done.stdout
    assert "curl -L -o" in done.stdout
    assert (tmp_path / "runs" / "demo" / "bundle" / "manifest.json").is_file()


def test_doctor_says_what_works(cli):
    code, out, _ = cli("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["why_not"]["run a bundle"] == ""
    assert report["why_not"]["export and convert"] == ""
    assert "TensorRT" in report["why_not"]
    assert report["native"]["version"] == ski_edge.__version__
    code, out, _ = cli("doctor")
    assert f"ski-edge {ski_edge.__version__}" in out
    assert "yes  run a bundle" in out


def test_doctor_finds_conflicting_wheels():
    from ski_edge.cli.doctor import _conflicts

    found = _conflicts({"opencv-python": "4", "opencv-contrib-python": "5", "onnxruntime": "1", "onnxruntime-gpu": "1"})
    assert "overwrite each other's cv2" in found[0]
    assert "onnxruntime and onnxruntime-gpu" in found[1]
    assert _conflicts({"opencv-contrib-python": "5", "onnxruntime": "1"}) == []


@pytest.mark.parametrize(
    ("text", "value"), [("0.5s", 0.5), ("200ms", 0.2), ("2", 2), (".5", 0.5), ("3m", 180), ("1h", 3600)]
)
def test_times(text, value):
    assert seconds(text, "--every") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "1 day", "nan", "s", "1e3"])
def test_wrong_times(text):
    with pytest.raises(BadInput, match="--every must be a time above 0"):
        seconds(text, "--every")
