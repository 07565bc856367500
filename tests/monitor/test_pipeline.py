from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import ski_edge
from ski_edge.bundle.labels import l2_normalise
from ski_edge.errors import BadInput
from ski_edge.monitor import ActivityRules, Monitor, MonitorOptions, open_source
from ski_edge.monitor.picture import drawable
from ski_edge.monitor.pipeline import claim_out
from ski_edge.monitor.store import read_events
from ski_edge.testing.clips import moving_shapes


@pytest.fixture
def fresh(tiny_bundle):
    return ski_edge.open_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory):
    """Six seconds of one scene, then six of another: a recogniser that works must change its mind once."""
    path = tmp_path_factory.mktemp("video") / "scenes.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for frame in np.concatenate([moving_shapes(180, seed=11), moving_shapes(180, seed=12)]):
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


def teach(session, path):
    """Make the two scenes themselves the labels: embeddings of a clip of each, contrast enhanced."""
    source = open_source(str(path))
    frames = [frame.image for frame in source.frames()]
    source.close()
    rows = np.stack([session.encode_video(frames[20:160:10]), session.encode_video(frames[200:350:10])])
    rows = l2_normalise(rows - rows.mean(0))
    labels = session.labels
    labels.replace(["first scene", "second scene"])
    now = labels.current
    labels._current = type(now)(now.labels, rows.astype(np.float32), now.version)
    return labels


def run(session, path, out, **options):
    monitor = Monitor(session, open_source(str(path)), MonitorOptions(out=out, **options))
    return monitor.run(), monitor


def test_activities_become_events_at_the_right_time(fresh, two_scenes, tmp_path):
    teach(fresh, two_scenes)
    summary, _ = run(fresh, two_scenes, tmp_path, save_video=True, rules=ActivityRules(0.55, 0.45, 0.5))
    rows = read_events(tmp_path)
    labels = [row["label"] for row in rows]
    assert labels[0] == "unknown"  # the window fills
    assert labels[1] == "first scene"
    assert labels[-1] == "second scene"
    assert rows[1]["start_time"] == pytest.approx(1.75, abs=0.3)  # half a window
    # The scene changes at 6 s; the window of 4 s turns over half way, smoothing adds a little.
    assert 6.0 < rows[-1]["start_time"] < 10.0
    assert [row["start_time"] for row in rows[1:]] == [row["end_time"] for row in rows[:-1]]
    assert rows[-1]["end_time"] == pytest.approx(359 / 30, abs=1e-2)
    assert (summary.frames, summary.events, summary.dropped) == (360, len(rows), 0)
    assert summary.updates == 48
    capture = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 360
    assert capture.get(cv2.CAP_PROP_FRAME_HEIGHT) == 360  # small pictures are enlarged
    files = {p.name for p in tmp_path.iterdir()}
    assert files == {"annotated.mp4", "events.jsonl", "monitor.sqlite", "summary.json", "timeline.png"}
    assert json.loads((tmp_path / "summary.json").read_text())["frames"] == 360


@pytest.mark.parametrize("slow_update", [1, 2, 3, 4])
@pytest.mark.parametrize("save_video", [False, True])
def test_what_is_due_is_updated_or_counted_as_missed(
    fresh, generated_video, tmp_path, monkeypatch, slow_update, save_video
):
    """One hiccup of a second anywhere must not change the rate afterwards."""
    real, calls = fresh.run, []

    def hiccup(frames):
        calls.append(1)
        if len(calls) == slow_update:
            time.sleep(1.0)
        return real(frames)

    monkeypatch.setattr(fresh, "run", hiccup)
    summary, _ = run(fresh, generated_video, tmp_path, realtime=True, save_video=save_video)
    assert summary.missed >= 1
    assert summary.updates + summary.missed == 16
    assert summary.frames == 120
    assert summary.wall_s >= 3.7  # the last due frame is at 3.77 s
    assert summary.seconds == pytest.approx(119 / 30, abs=1e-3)
    if save_video:  # frames were dropped, but the video's clock is the source's
        capture = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == pytest.approx(120, abs=1)


def test_label_file_is_followed_while_running(fresh, generated_video, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("one\ntwo\n")
    fresh.labels.replace(["one", "two"])
    monitor = Monitor(fresh, open_source(str(generated_video)), MonitorOptions(out=tmp_path / "o", labels_file=path))
    seen = []

    def edit(now):
        if now.summary.updates in (4, 8) and now.summary.updates not in seen:
            seen.append(now.summary.updates)
            content = b"three\nfour\nfive\n" if len(seen) == 1 else b"\xff\xfe broken"
            path.write_bytes(content)
            os.utime(path, (0, 1000 + len(seen)))

    summary = monitor.run(edit)
    assert seen == [4, 8]
    assert fresh.labels.current.names == ["three", "four", "five"]  # the broken file changed nothing
    assert any("labels changed" in note for note in summary.notes)
    assert any("labels kept" in note and "UTF-16" in note for note in summary.notes)


def test_a_label_file_that_goes_away_changes_nothing(fresh, generated_video, tmp_path):
    path = tmp_path / "lab"
    path.write_text("one\ntwo\n")
    fresh.labels.replace(["one", "two"])
    monitor = Monitor(fresh, open_source(str(generated_video)), MonitorOptions(out=tmp_path / "o", labels_file=path))
    monitor.run(lambda now: path.unlink(missing_ok=True))
    assert fresh.labels.current.names == ["one", "two"]


def test_one_label_is_no_choice(fresh, generated_video, tmp_path):
    fresh.labels.replace(["falling"])
    with pytest.raises(BadInput, match="needs at least 2 labels"):
        run(fresh, generated_video, tmp_path)


def test_dollars_are_dollars_in_the_timeline(fresh, generated_video, tmp_path):
    fresh.labels.replace(["cost $\\frac$ five", "wash $x_{$ 料理"])
    path = tmp_path / "a $\\frac$ b.mp4"
    path.write_bytes(generated_video.read_bytes())
    summary, _ = run(fresh, path, tmp_path / "o", rules=ActivityRules(0.1, 0.05, 0))
    assert summary.notes == []
    assert (tmp_path / "o" / "timeline.png").exists()


def test_very_wide_pictures(fresh, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "wide.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1280, 16))
    for _ in range(5):
        writer.write(np.zeros((16, 1280, 3), np.uint8))
    writer.release()
    run(fresh, tmp_path / "wide.avi", tmp_path / "o", save_video=True)
    assert cv2.VideoCapture(str(tmp_path / "o" / "annotated.mp4")).get(cv2.CAP_PROP_FRAME_WIDTH) == 1280


def test_event_times_of_live_sources_are_the_cameras(fresh, generated_video, tmp_path):
    """Loading a bundle takes seconds; they must not shift the clock."""
    source = open_source(str(generated_video))
    source.kind, source.started_at = "camera", 1000.0
    Monitor(fresh, source, MonitorOptions(out=tmp_path)).run()
    rows = read_events(tmp_path)
    assert rows[0]["start_time"] == pytest.approx(1000.0, abs=1e-3)
    assert 1000.0 <= rows[-1]["end_time"] < 2000.0


def test_two_monitors_never_share_a_folder(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with claim_out(tmp_path):
        (tmp_path / "events.jsonl").write_text("the first one's\n")
        with pytest.raises(BadInput, match="is in use by another monitor"), claim_out(tmp_path):
            pass
        assert (tmp_path / "events.jsonl").read_text() == "the first one's\n"
    with claim_out(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_duration_ends_the_run(fresh, generated_video, tmp_path):
    summary, _ = run(fresh, generated_video, tmp_path, duration_s=1.0)
    assert summary.stopped == "--duration reached"
    assert summary.seconds == pytest.approx(1.0, abs=0.05)
    assert summary.lost == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_all_files(tiny_bundle, generated_video, tmp_path, number):
    """Ctrl-C and systemd's stop end the run like the end of the file does."""
    command = [
        sys.executable,
        "-m",
        "ski_edge.cli.main",
        "monitor",
        "-m",
        tiny_bundle,
        "-s",
        generated_video,
        "--realtime",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--out", str(tmp_path / "o"), "--headless", "--save-video", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    database = tmp_path / "o" / "monitor.sqlite"
    end = time.monotonic() + 60
    while not (database.exists() and (tmp_path / "o" / "events.jsonl").stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["stopped"] == f"stopped by {number.name}"
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "annotated.mp4", "events.jsonl", "monitor.sqlite", "summary.json", "timeline.png",
    }  # fmt: skip
    assert read_events(tmp_path / "o")[-1]["end_time"] is not None


def test_without_matplotlib_only_the_picture_is_missing(fresh, generated_video, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    summary, _ = run(fresh, generated_video, tmp_path)
    assert any("no timeline.png" in note and "ski-edge[plot]" in note for note in summary.notes)
    assert not (tmp_path / "timeline.png").exists()
    assert (tmp_path / "events.jsonl").exists()


def test_a_crash_in_the_loop_still_ends_the_event(fresh, generated_video, tmp_path, monkeypatch):
    real = fresh.run
    calls = []

    def fail(frames):
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("the accelerator fell off the bus")
        return real(frames)

    monkeypatch.setattr(fresh, "run", fail)
    with pytest.raises(RuntimeError, match="fell off"):
        run(fresh, generated_video, tmp_path, save_video=True)
    assert read_events(tmp_path)[-1]["end_time"] is not None
    assert (tmp_path / "annotated.mp4").exists()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["stopped"].startswith("failed: RuntimeError('the accelerator fell off the bus')")
    assert summary["lost"] == 0  # not the file's fault
    assert not any(thread.name == "frame-reader" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "name", ["decord/unordered.mov", "decord/video_90.mov", "mmpose/demo.mp4", "mmaction2/test.avi"]
)
def test_odd_videos_run_to_their_end(fresh, videos, tmp_path, name):
    """50x50 pixels, portrait, five frames, broken time stamps."""
    summary, monitor = run(fresh, videos / name, tmp_path, save_video=True)
    assert summary.frames == monitor.source.stats.decoded
    assert summary.updates >= 1
    assert (tmp_path / "timeline.png").exists()


def test_text_that_opencv_can_draw():
    assert drawable("touch person’s été 料理", "4.12.0") == "touch person's ete ??"
    assert drawable("touch person’s été 料理", "5.0.0") == "touch person’s été 料理"
