from __future__ import annotations

import json

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.monitor import Monitor, MonitorOptions
from ski_edge.monitor.activity import UNKNOWN, ActivityRules
from ski_edge.monitor.people import People
from ski_edge.monitor.store import Event, EventStore, read_events
from ski_edge.monitor.trace import ReplaySource, TraceHeader, TraceWriter
from ski_edge.skeleton import LAYOUTS, SkeletonInput
from ski_edge.skeleton.resample import CropResize, FixedSeconds

FPS = 30
BLACK = np.zeros((360, 640, 3), np.uint8)


class Scripted:
    """An estimator that sees what the script says, whatever the picture."""

    layout = LAYOUTS["coco17"]
    name = "scripted"

    def __init__(self, script):
        self.script = script

    def estimate(self, frame, timestamp_s):
        return self.script(timestamp_s)

    def close(self):
        pass


@pytest.fixture
def watch(pose_session):
    def run(script, seconds, rules=ActivityRules(0.6, 0.4, 0.3), **options):
        """Frames of `seconds` at 30 fps -> (people, [(news, track, label, why, time)])."""
        people = People(pose_session, LAYOUTS["coco17"], rules, estimator=Scripted(script), **options)
        return people, play(people, np.arange(round(seconds * FPS)) / FPS)

    return run


def play(people, times):
    from ski_edge.monitor.sources import Frame

    rows = []
    for t in times:
        for report in people.see(Frame(BLACK, float(t), 0.0, True)):
            rows.append((report.news, report.track, report.state.label, report.state.why, report.timestamp))
    return rows


def test_each_person_has_an_activity_of_their_own_in_one_batch(watch, make_body, pose_session):
    def script(t):
        return [make_body(150, 320, arms=float(t > 4)), make_body(450, 320, arms=0.0)]

    people, rows = watch(script, 8)
    final = {track: label for _, track, label, _, _ in rows}
    left = next(track for track, body in people.seen if body.box[0] < 300)
    assert final[left] == "arms up"
    assert final[3 - left] == "arms down"
    assert {row[1] for row in rows} == {1, 2}
    changes = [(label, t) for news, track, label, _, t in rows if news == "change" and track == left]
    assert [label for label, _ in changes][:1] == ["arms down"]
    assert changes[0][1] == pytest.approx(1.25, abs=0.3)  # half a window
    assert [label for label, _ in changes][-1] == "arms up"
    assert 4.0 < changes[-1][1] < 6.5
    assert set(pose_session.batches) == {2}  # never one by one
    assert people.updates == 32


def test_a_filling_window_is_unknown_and_says_so(watch, make_body):
    _, rows = watch(lambda t: [make_body(150, 320)], 0.9)
    assert {row[2] for row in rows} == {UNKNOWN}
    assert rows[0][0] == "begin"
    assert "window filling" in rows[-1][3]


def test_other_is_unknown_and_no_event(watch, make_body):
    _, rows = watch(lambda t: [make_body(150, 320, arms=0.62)], 4)
    assert {row[2] for row in rows} == {UNKNOWN}
    assert rows[-1][3] == "none of the known activities"


def test_somebody_out_of_sight_is_unknown_then_gone(watch, make_body):
    def script(t):
        return [make_body(150, 320)] if t < 3 or 3.9 <= t < 7 else []

    people, rows = watch(script, 11)
    by_time = [(t, news, label, why) for news, _, label, why, t in rows]
    assert {row[1] for row in rows} == {1}  # back after 0.9 s: still person 1
    assert all(label == UNKNOWN for t, _, label, _ in by_time if 3.6 < t < 4.0)
    # After the hole the window fills anew; a guess over it would be a lie.
    assert all(label == UNKNOWN for t, _, label, _ in by_time if 4.0 < t < 4.8)
    assert [label for t, _, label, _ in by_time if 6.4 < t < 7] == ["arms down"] * 2
    assert any("not seen for" in why for t, _, _, why in by_time if t > 7.5)
    assert rows[-1][0] == "end"
    assert rows[-1][4] == pytest.approx(9.0, abs=0.1)
    assert people.persons == {}


def test_guessed_joints_do_not_decide(watch, make_body):
    _, rows = watch(lambda t: [make_body(150, 320, visibility=0.1)], 4)
    assert {row[2] for row in rows} == {UNKNOWN}
    assert "no pose yet" in rows[-1][3]


def test_memory_is_bounded_over_many_visitors(watch, make_body):
    rng = np.random.default_rng(0)

    def script(t):
        return [make_body(float(rng.uniform(0, 600)), 320) for _ in range(3)]

    people, _ = watch(script, 6)
    assert len(people.persons) <= 32


@pytest.mark.parametrize("every", [0, 3.0, float("nan")])
def test_impossible_updates(pose_session, every):
    with pytest.raises(BadInput, match=r"0\.001 s to the window's 2 s"):
        People(pose_session, LAYOUTS["coco17"], ActivityRules(), every_s=every)


def test_bundles_a_stream_cannot_feed(pose_session):
    manifest = pose_session.manifest
    manifest.skeleton = SkeletonInput(layout="ntu25", resample=CropResize())
    with pytest.raises(BadInput, match=r"trained on whole clips \(resample: crop-resize\)"):
        People(pose_session, LAYOUTS["coco17"], ActivityRules())
    manifest.skeleton = SkeletonInput(layout="mediapipe33", resample=FixedSeconds())
    with pytest.raises(BadInput, match="no rule maps coco17 to mediapipe33"):
        People(pose_session, LAYOUTS["coco17"], ActivityRules())
    manifest.skeleton = SkeletonInput(layout="ntu25", centre="first-frame", resample=FixedSeconds())
    people = People(pose_session, LAYOUTS["coco17"], ActivityRules())
    assert any("positions in the room" in note for note in people.notes())


# --- whole runs: a recording and its replay


def script_of_two(make_body):
    rng = np.random.default_rng(5)

    def script(t):
        arms = float(t % 6 > 3)
        near = make_body(100 + 40 * t, 330, 210, arms=arms, noise=1.0, rng=rng)
        far = make_body(540 - 40 * t, 300, 160, arms=1 - arms, noise=1.0, rng=rng)
        return [near] if 5 < t < 5.6 else [far, near]

    return script


@pytest.fixture
def video(tmp_path):
    import cv2

    path = tmp_path / "black.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (640, 360))
    for _ in range(9 * FPS):
        writer.write(BLACK)
    writer.release()
    return path


def decisions(out):
    rows = read_events(out)
    for row in rows:
        del row["id"]  # drawn at random
    return rows


def test_a_replay_decides_exactly_as_the_run_it_recorded(pose_session, make_body, video, tmp_path):
    from ski_edge.monitor import open_source

    trace, first, second = tmp_path / "t.skr", tmp_path / "a", tmp_path / "b"
    rules = ActivityRules(0.5, 0.35, 0.4)
    options = MonitorOptions(out=first, rules=rules, record=trace, save_video=True)
    summary = Monitor(pose_session, open_source(str(video)), options, Scripted(script_of_two(make_body))).run()
    rows = decisions(first)
    assert {row["track"] for row in rows} == {1, 2}
    assert {row["label"] for row in rows} == {UNKNOWN, "arms up", "arms down"}
    assert len(rows) > 10
    replay = Monitor(pose_session, ReplaySource(trace), MonitorOptions(out=second, rules=rules, save_video=True))
    again = replay.run()
    assert decisions(second) == rows  # times, scores, explanations: equal as numbers, not nearly
    assert (again.updates, again.frames, again.seconds) == (summary.updates, summary.frames, summary.seconds)
    assert again.notes == []
    files = {"annotated.mp4", "events.jsonl", "monitor.sqlite", "summary.json", "timeline.png"}
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()} == files


def test_the_pictures_show_skeletons(pose_session, make_body):
    from ski_edge.monitor.picture import Annotator
    from ski_edge.monitor.sources import Frame

    people = People(
        pose_session, LAYOUTS["coco17"], ActivityRules(), estimator=Scripted(lambda t: [make_body(300, 340, 250)])
    )
    frames = [Frame(BLACK, t / FPS, 0.0, True) for t in range(10)]
    for frame in frames:
        list(people.see(frame))
    picture = people.draw(Annotator(360, 640), frames[-1])
    assert picture.shape == (360, 640, 3)
    drawn = picture.any(axis=2)
    assert drawn[150:330, 270:330].sum() > 500  # the trunk and legs
    assert not drawn[200:, 420:].any()


def test_a_replay_with_another_bundle_says_so(pose_session, make_body, tmp_path):
    trace = record(pose_session, make_body, tmp_path)
    (pose_session.folder / "manifest.json").write_text("another")
    summary = Monitor(pose_session, ReplaySource(trace), MonitorOptions(out=tmp_path / "o")).run()
    assert any("recorded with another bundle" in note for note in summary.notes)


def test_events_of_a_live_recording_keep_their_clock(pose_session, make_body, tmp_path):
    trace = record(pose_session, make_body, tmp_path, epoch=1000.0)
    Monitor(pose_session, ReplaySource(trace), MonitorOptions(out=tmp_path / "o")).run()
    assert read_events(tmp_path / "o")[0]["start_time"] == pytest.approx(1000.1, abs=0.05)


def record(session, make_body, tmp_path, epoch=0.0):
    from ski_edge.bundle.manifest import MANIFEST
    from ski_edge.files import sha256_file

    header = TraceHeader(
        layout="coco17", estimator="by hand", source="test", epoch=epoch, fps=30, size=(360, 640),
        model="stand-in tiny", model_sha256=sha256_file(session.folder / MANIFEST), config={},
    )  # fmt: skip
    writer = TraceWriter(tmp_path / "r.skr", header)
    for t in range(30):
        writer.write(t / FPS, [make_body(300, 300)])
    writer.close()
    return tmp_path / "r.skr"


def test_wrong_pairs_of_bundle_and_source(pose_session, session, make_body, generated_video, tmp_path):
    from ski_edge.monitor import open_source

    out = MonitorOptions(out=tmp_path / "o")
    with pytest.raises(BadInput, match="a pose bundle needs --pose"):
        Monitor(pose_session, open_source(str(generated_video)), out)
    trace = record(pose_session, make_body, tmp_path)
    with pytest.raises(BadInput, match="is a video-text bundle"):
        Monitor(session, ReplaySource(trace), out)
    with pytest.raises(BadInput, match="is a video-text bundle"):
        Monitor(session, open_source(str(generated_video)), out, Scripted(lambda t: []))
    with pytest.raises(BadInput, match="would only copy it"):
        Monitor(pose_session, ReplaySource(trace), MonitorOptions(out=tmp_path / "o", record=tmp_path / "x"))


def test_two_persons_have_events_side_by_side(tmp_path):
    store = EventStore(tmp_path, started_at=1.0, clock="media", source="s", model="m", weights="w")

    def event(label, start, track):
        return Event("cam", label, 0.5, 0.5, start, "m", 1, {}, track=track)

    store.start(event("walk", 0.0, 1))
    store.start(event("sit", 1.0, 2))
    store.progress(0.9, {"top": []}, 1)
    store.start(event("stand", 2.0, 2))
    store.end(3.0, 1)
    store.end(3.5, 7)  # nobody's
    store.end_all(4.0)
    store.close()
    rows = [(r["track"], r["label"], r["start_time"], r["end_time"], r["top_score"]) for r in read_events(tmp_path)]
    assert rows == [(1, "walk", 0.0, 3.0, 0.9), (2, "sit", 1.0, 2.0, 0.5), (2, "stand", 2.0, 4.0, 0.5)]


# --- the command line, with the stand-in as the bundle


@pytest.fixture
def command(cli, pose_session, generated_video, tmp_path, monkeypatch):
    monkeypatch.setattr("ski_edge.runtime.open_bundle", lambda *arguments: pose_session)

    def run(*more, source=generated_video, out=tmp_path / "out"):
        return cli("monitor", "-m", "stand-in", "-s", source, "--out", out, "--headless", *more)

    return run


def test_record_and_replay_from_the_command_line(command, pose_model, videos, tmp_path):
    """A real video: three people exercise, MediaPipe sees one or two of them."""
    trace, clip = tmp_path / "t.skr", videos / "felixchenfy" / "exercise.avi"
    flags = ("--pose", f"mediapipe:{pose_model}", "--persons", "2", "--record", trace, "--duration", "5s", "--json")
    code, out, err = command(*flags, source=clip)
    assert code == 0, err
    first = json.loads(out)
    assert (first["frames"], first["updates"]) >= (50, 20)
    assert any(row["label"] != UNKNOWN for row in decisions(tmp_path / "out"))
    assert command("--record", trace, out=tmp_path / "x")[0] == 2  # never overwritten unasked
    assert not (tmp_path / "x").exists()
    code, out, err = command("--json", source=f"replay:{trace}", out=tmp_path / "again")
    assert code == 0, err
    second = json.loads(out)
    assert second["updates"] == first["updates"]
    assert not (tmp_path / "again" / "annotated.mp4").exists()  # there are no pictures
    assert decisions(tmp_path / "again") == decisions(tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "source", "says"),
    [
        (["--labels", "a,b"], None, "the classes of a pose bundle are fixed"),
        (["--pose", "openpose"], None, "use mediapipe, mediapipe:FILE or onnx:FILE"),
        (["--pose", "mediapipe:no.task"], None, "no.task is not there (or empty); get Google's file"),
        (["--persons", "99"], None, "--persons must be 1 to 16"),
        (["--record", "no/such/folder/x.skr"], None, "its folder does not exist"),
        (["--record", "."], None, "is no plain file"),
        ([], "replay:no.skr", "trace no.skr cannot be read"),
        (["--pose", "mediapipe"], "replay:r.skr", "were settled when the replay was recorded"),
        (["--mirrored"], "replay:r.skr", "were settled when the replay was recorded"),
        (["--record", "x.skr"], "replay:r.skr", "would only copy it"),
    ],
)
def test_flags_that_do_not_go_together(
    command, pose_session, make_body, generated_video, tmp_path, monkeypatch, more, source, says
):
    monkeypatch.chdir(tmp_path)
    record(pose_session, make_body, tmp_path)
    code, _, err = command(*more, source=source or generated_video)
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert says in lines[0]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x.skr").exists()


@pytest.mark.parametrize("more", [["--pose", "mediapipe"], ["--persons", "2"], ["--mirrored"], ["--record", "x.skr"]])
def test_video_text_bundles_take_no_skeletons(fails_clean, tiny_bundle, generated_video, tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    fails_clean(
        "monitor",
        "-m",
        tiny_bundle,
        "-s",
        generated_video,
        "--out",
        tmp_path / "o",
        *more,
        says="is a video-text bundle",
    )


def test_a_real_bundle_replays_exactly(cli, live_bundle, make_body, video, tmp_path, monkeypatch):
    """ONNX Runtime in the loop: batches of one and of two people come back the same."""
    script = Scripted(script_of_two(make_body))
    monkeypatch.setattr("ski_edge.monitor.pose.open_estimator", lambda *arguments: script)
    trace = tmp_path / "t.skr"
    flags = ("monitor", "-m", live_bundle, "--conf", "0.35", "--smooth", "0.3", "--duration", "6s", "--headless")
    code, _, err = cli(*flags, "-s", video, "--record", trace, "--out", tmp_path / "a", "--no-save-video")
    assert code == 0, err
    assert "the weights are random" in err
    code, _, err = cli(*flags, "-s", f"replay:{trace}", "--out", tmp_path / "b")
    assert code == 0, err
    rows = decisions(tmp_path / "a")
    assert {row["track"] for row in rows} == {1, 2}
    assert any(row["label"] != UNKNOWN for row in rows)
    assert decisions(tmp_path / "b") == rows
