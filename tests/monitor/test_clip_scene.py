"""The monitor on bundles that see whole clips."""

from __future__ import annotations

import time

import pytest

import ski_edge
from ski_edge.monitor import ActivityRules, Monitor, MonitorOptions, open_source
from ski_edge.monitor.scene import Scene
from ski_edge.monitor.store import read_events


@pytest.fixture(params=["xclip", "froster"])
def session(request, clip_bundles):
    fresh = ski_edge.open_bundle(clip_bundles[request.param])
    fresh.labels.replace(["falling", "cooking", "reading"])
    return fresh


def run(session, path, out, **options):
    monitor = Monitor(session, open_source(str(path)), MonitorOptions(out=out, **options))
    return monitor.run(), monitor


@pytest.mark.parametrize("name", ["xclip", "froster"])
def test_a_real_video_becomes_events(cli, clip_bundles, videos, tmp_path, name):
    clip = videos / "mmaction2" / "test.avi"
    code, out, err = cli(
        *("monitor", "-m", clip_bundles[name], "-s", clip, "--out", tmp_path / "o", "--labels", "falling,cooking"),
        *("--conf", "0.2", "--headless"),
    )
    assert code == 0, err
    assert "one update each 1" in err
    assert "updates (p50" in out
    rows = read_events(tmp_path / "o")
    assert {row["label"] for row in rows} <= {"unknown", "falling", "cooking"}
    assert {row["label"] for row in rows} & {"falling", "cooking"}
    assert {p.name for p in (tmp_path / "o").iterdir()} >= {"annotated.mp4", "events.jsonl", "timeline.png"}


def test_every_update_of_a_file_is_made(session, generated_video, tmp_path):
    """Four seconds: an update each quarter of the window, on frames as close as in training."""
    summary, monitor = run(session, generated_video, tmp_path)
    every_s = session.manifest.video.window_s / 4
    assert monitor.watch.sample_s == pytest.approx(every_s / 2)
    assert summary.updates == int(119 / 30 / every_s) + 1
    assert (summary.frames, summary.dropped, summary.missed) == (120, 0, 0)


@pytest.mark.parametrize("slow_update", [1, 2])
def test_a_slow_update_leaves_no_hole_in_the_window(session, generated_video, tmp_path, monkeypatch, slow_update):
    """The frames that belong to it wait while it is computed; what is lost would be counted."""
    gaps, real, calls = [], session.score_window, []

    def slow(kept, labels):
        calls.append(1)
        if len(calls) == slow_update:
            time.sleep(0.9)
        return real(kept, labels)

    monkeypatch.setattr(session, "score_window", slow)
    rules = ActivityRules(0.1, 0.05, 0)
    monitor = Monitor(
        session, open_source(str(generated_video)), MonitorOptions(out=tmp_path, realtime=True, rules=rules)
    )
    step = monitor.watch.state.step
    monkeypatch.setattr(
        type(monitor.watch.state), "step", lambda state, update: (gaps.append(update.largest_gap_s), step(update))[1]
    )
    summary = monitor.run()
    assert summary.missed == 0
    assert max(gaps) < 1.2 * monitor.watch.sample_s
    assert len(gaps) == summary.updates == 4


def test_a_machine_that_cannot_keep_up_is_told_before(session, generated_video, monkeypatch):
    source = open_source(str(generated_video))
    scene = Scene(session, ActivityRules(), 0.1)
    scene.rehearse(source.first)
    quiet = scene.notes()
    real = session.score_window
    monkeypatch.setattr(session, "score_window", lambda kept, labels: (time.sleep(0.2), real(kept, labels))[1])
    scene.rehearse(source.first)
    source.close()
    (note,) = set(scene.notes()) - set(quiet)
    assert "one is due each 0.1 s: a live source will lose frames, which are counted; --every 0." in note
    assert scene.updates == 0
