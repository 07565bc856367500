from __future__ import annotations

import numpy as np
import pytest

import ski_edge
from ski_edge.errors import BadInput
from ski_edge.runtime.stream import FrameStream
from ski_edge.testing.clips import moving_shapes


@pytest.fixture
def fresh(tiny_bundle):
    return ski_edge.open_bundle(tiny_bundle)


def test_stream_equals_encoding_the_whole_clip(session):
    """The window's embedding, at every update, against encoding its frames again from scratch."""
    clip = moving_shapes(40, seed=3)
    stream = FrameStream(session)
    for i, frame in enumerate(clip):
        update = stream.push(frame, i * 0.25)
        window = clip[max(0, i - 15) : i + 1]
        assert update.frames == len(window)
        np.testing.assert_allclose(update.embedding, session.encode_video(window), atol=1e-5)
        logits, scores = session.score(session.encode_video(window), update.labels)
        np.testing.assert_allclose(update.logits, logits, atol=1e-5)
        assert update.label == update.labels.names[scores.argmax()]


def test_each_frame_is_encoded_once(session, monkeypatch):
    encoded = []
    real = session.run
    monkeypatch.setattr(session, "run", lambda frames: (encoded.append(len(frames)), real(frames))[1])
    stream = FrameStream(session)
    for i, frame in enumerate(moving_shapes(20)):
        stream.push(frame, i * 0.25)
    assert encoded == [1] * 20


def test_frames_that_are_not_due_cost_nothing(session):
    stream = FrameStream(session)
    updates = [stream.push(frame, i / 30) for i, frame in enumerate(moving_shapes(121))]
    times = [u.timestamp for u in updates if u]
    # 30 fps has no frame at 0.25 s: the next one is taken, and the grid does not drift.
    np.testing.assert_allclose(times, np.ceil(np.arange(17) * 0.25 * 30 - 1e-6) / 30, atol=1e-9)
    assert updates[-1].frames == 16


def test_faster_updates_keep_the_windows_length(session):
    stream = FrameStream(session, every_s=0.1)
    last = None
    for i, frame in enumerate(moving_shapes(60)):
        last = stream.push(frame, i * 0.1)
    assert last.frames == 40
    assert last.span_s == pytest.approx(4.0)


def test_a_gap_empties_the_window_and_restarts_the_grid(session):
    clip = moving_shapes(8)
    stream = FrameStream(session)
    for i in range(4):
        stream.push(clip[i], i * 0.25)
    update = stream.push(clip[4], 2.9)  # a hole, still inside the window
    assert update.frames == 5
    assert update.largest_gap_s == pytest.approx(2.15)
    update = stream.push(clip[5], 100.03)
    assert (update.frames, update.largest_gap_s) == (1, 0)
    assert stream.push(clip[6], 100.2) is None
    assert stream.push(clip[7], 100.28).frames == 2


def test_reset_allows_time_to_start_again(session):
    clip = moving_shapes(3)
    stream = FrameStream(session)
    stream.push(clip[0], 50.0)
    stream.reset()
    assert stream.push(clip[1], 0.0).frames == 1
    assert stream.window()[1].shape == (1, 64)


@pytest.mark.parametrize("timestamp", [1.0, 0.5, float("nan"), float("inf"), -1.0])
def test_time_must_grow(session, timestamp):
    stream = FrameStream(session)
    frame = moving_shapes(1)[0]
    stream.push(frame, 1.0)
    with pytest.raises(BadInput, match="timestamps must grow"):
        stream.push(frame, timestamp)


@pytest.mark.parametrize("every", [0, -1, 1e-6, 4.1, float("nan")])
def test_impossible_periods(session, every):
    with pytest.raises(BadInput, match=r"every must be 0\.001 s to the window's 4 s"):
        FrameStream(session, every)


def test_labels_change_between_updates_without_encoding_again(fresh):
    clip = moving_shapes(3)
    stream = FrameStream(fresh)
    before = stream.push(clip[0], 0.0)
    fresh.labels.replace(["cooking", "falling"])
    after = stream.push(clip[1], 0.25)
    assert len(before.scores) == 60
    assert after.labels.names == ["cooking", "falling"]
    assert after.scores.sum() == pytest.approx(1)
    assert after.labels.version == before.labels.version + 1
