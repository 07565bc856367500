"""Each rule of CTR-GCN's preparation, on a sequence made to show it; and the real samples."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.data.denoise import drop_short, drop_wide, to_clip, tracks_of
from ski_edge.data.ntu import NtuRecording, read_ntu
from ski_edge.errors import BadInput


def person(frames, motion=0.1, seed=0, width=0.5, height=1.7):
    """float32 [frames, 25, 3]: a body `width` wide and `height` high that shakes by `motion` metres."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(-0.5, 0.5, (25, 3)) * (width, height, 0.2)
    shape[0], shape[1] = (-width / 2, -height / 2, 0), (width / 2, height / 2, 0)  # the spread is exact
    place = np.array([seed * 0.3, 0, 3]) + rng.normal(0, motion, (frames, 1, 3))
    return (shape + place).astype(np.float32)


def recording(tracks, frames):
    """tracks: id -> (frame numbers, joints)."""
    rows = sorted((frame, body, joints[i]) for body, (at, joints) in tracks.items() for i, frame in enumerate(at))
    joints = np.array([row[2] for row in rows], np.float32).reshape(-1, 25, 3)
    ids = tuple(str(row[1]) for row in rows)
    colour = np.zeros((len(rows), 25, 2), np.float32)
    return NtuRecording(frames, np.array([row[0] for row in rows], np.int64), ids, joints, colour)


def clip_of(tracks, frames):
    return to_clip(recording(tracks, frames), "test")


def shape_of(joints):
    """What survives the move of the origin: joints relative to spine mid."""
    return joints - joints[..., 1:2, :]


def same(a, b):
    return a.shape == b.shape and np.allclose(shape_of(a), shape_of(b), atol=1e-5)


def test_one_body_is_never_judged():
    short = person(3, width=3.0)  # too short and too wide for anything, but alone
    clip = clip_of({1: (range(3), short)}, 3)
    assert clip.shape == (3, 2, 25, 3)
    assert same(clip[:, 0], short)
    assert not clip[:, 1].any()
    assert clip.dtype == np.float32


def test_the_origin_is_the_first_spine_mid():
    joints = person(5)
    clip = clip_of({1: (range(5), joints)}, 5)
    assert np.array_equal(clip[:, 0], joints - joints[0, 1])
    assert not clip[0, 0, 1].any()
    assert clip[1, 0, 1].any()  # the person still walks


def test_frames_without_a_body_are_cut_out():
    joints = person(6)
    clip = clip_of({1: ((1, 2, 5, 6, 7, 9), joints)}, 11)
    assert len(clip) == 6
    assert same(clip[:, 0], joints)


@pytest.mark.parametrize(("frames", "kept"), [(11, False), (12, True)])
def test_short_tracks(frames, kept):
    long, short = person(40, seed=1, motion=0.5), person(frames, seed=2)
    clip = clip_of({1: (range(40), long), 2: (range(frames), short)}, 40)
    assert len(clip) == 40
    assert same(clip[:, 0], long)
    assert clip[:, 1].any() == kept
    if kept:
        assert same(clip[:frames, 1], short)
        assert not clip[frames:, 1].any()  # missing stays zeros after the move of the origin


def test_tracks_that_are_all_short_are_no_clip():
    with pytest.raises(BadInput, match="no body is seen for more than 11 frames"):
        clip_of({1: (range(11), person(11)), 2: (range(11), person(11, seed=1))}, 11)
    with pytest.raises(BadInput, match="none of its 4 frames holds a body"):
        clip_of({}, 4)


@pytest.mark.parametrize(("wide", "kept"), [(69, True), (70, False)])  # of 100 frames; the threshold is 0.69754
def test_wide_tracks(wide, kept):
    flat = np.concatenate([person(wide, width=1.6, height=1.9), person(100 - wide, width=1.4, height=1.9)])
    clip = clip_of({1: (range(100), person(100, seed=1, motion=1.0)), 2: (range(100), flat)}, 100)
    assert clip[:, 1].any() == kept


def test_a_body_exactly_at_the_width_is_valid():
    body = person(20, motion=0.0)
    body[:, :, 0] = np.linspace(0, 0.8, 25)
    body[:, :, 1] = np.linspace(0, 1.0, 25)
    edge = np.float64(np.float32(0.8)) <= 0.8 * np.float64(np.float32(1.0))  # float32's 0.8 is above 0.8
    tracks, _ = tracks_of(recording({1: (range(20), body), 2: (range(20), person(20, seed=1))}, 20))
    assert (len(drop_wide(tracks)) == 2) == edge


def test_the_last_body_stays_however_wide():
    tracks = {n: (range(20), person(20, seed=n, width=3.0)) for n in (1, 2, 3)}
    kept = drop_wide(tracks_of(recording(tracks, 20))[0])
    assert len(kept) == 1  # judged in the order of appearance, until one is left
    assert same(kept[0].joints, tracks[3][1])


def test_motion_counts_only_valid_frames():
    """A track whose motion is all in its flat frames is calm."""
    calm = person(60, motion=0.01, seed=3)
    calm[:20] = person(20, motion=3.0, seed=3, width=3.0)
    lively = person(60, motion=0.3, seed=4)
    tracks, _ = tracks_of(recording({1: (range(60), calm), 2: (range(60), lively)}, 60))
    assert tracks[0].motion > tracks[1].motion
    assert [same(track.joints, lively) for track in drop_wide(tracks)] == [True, False]


def test_motion_is_the_summed_variance():
    body = person(30, motion=0.4)
    track = tracks_of(recording({1: (range(30), body)}, 30))[0][0]
    assert track.motion == pytest.approx(float(body.reshape(-1, 3).astype(float).var(axis=0).sum()), rel=1e-5)


def test_actor_one_moves_most():
    calm, lively = person(30, motion=0.05, seed=1), person(30, motion=0.5, seed=2)
    clip = clip_of({1: (range(30), calm), 2: (range(30), lively)}, 30)
    assert same(clip[:, 0], lively)
    assert same(clip[:, 1], calm)
    assert np.allclose(clip[:, 1], calm - lively[0, 1], atol=1e-6)  # one origin for both


def test_tracks_join_whom_they_do_not_overlap():
    first, second = person(30, motion=0.6, seed=1), person(50, motion=0.4, seed=2)
    third, fourth = person(20, motion=0.2, seed=3), person(15, motion=0.1, seed=4)
    tracks = {1: (range(30), first), 2: (range(50), second), 3: (range(30, 50), third), 4: (range(20, 35), fourth)}
    clip = clip_of(tracks, 50)
    assert same(clip[:30, 0], first)
    assert same(clip[30:, 0], third)  # goes on where actor 1 ended
    assert same(clip[:, 1], second)
    assert not any(same(clip[20:35, m], fourth) for m in (0, 1))  # overlaps both: discarded


def test_tracks_that_touch_in_one_frame_do_not_overlap():
    first, second = person(20, motion=0.6, seed=1), person(20, motion=0.3, seed=2)
    clip = clip_of({1: (range(20), first), 2: (range(19, 39), second)}, 39)
    assert not clip[:, 1].any()
    assert same(clip[19:, 0], second)  # the later one has the shared frame


def test_the_span_of_an_actor_grows():
    """A third track in the gap between two tracks of actor 1 overlaps the span, so it becomes actor 2."""
    first, last = person(15, motion=0.6, seed=1), person(15, motion=0.4, seed=2)
    between = person(15, motion=0.2, seed=3)
    clip = clip_of({1: (range(15), first), 2: (range(40, 55), last), 3: (range(20, 35), between)}, 60)
    # Frames 15-19 and 35-39 held nobody and were cut.
    assert len(clip) == 45
    assert same(clip[15:30, 1], between)
    assert not clip[15:30, 0].any()


def test_a_gap_is_lost_as_in_the_original():
    """Frames are counted on from the first one: a body that was away for 10 frames comes back 10 frames early."""
    here, other = person(30, motion=0.6, seed=1), person(50, motion=0.2, seed=2)
    clip = clip_of({1: ((*range(20), *range(30, 40)), here), 2: (range(50), other)}, 50)
    assert same(clip[:30, 0], here)
    assert not clip[30:, 0].any()


def test_frames_nobody_is_left_in_are_cut_when_there_were_several():
    long, short = person(30, seed=1), person(5, seed=2)
    clip = clip_of({1: (range(30), long), 2: (range(30, 35), short)}, 35)
    assert len(clip) == 30  # the short track went, and its frames with it
    assert same(clip[:, 0], long)


def test_the_origin_waits_for_actor_one():
    late, early = person(20, motion=0.6, seed=1), person(40, motion=0.2, seed=2)
    clip = clip_of({1: (range(20, 40), late), 2: (range(40), early)}, 40)
    assert not clip[:20, 0].any()
    assert np.allclose(clip[20:, 0], late - late[0, 1], atol=1e-6)
    assert np.allclose(clip[:, 1], early - late[0, 1], atol=1e-6)


def test_drop_short_alone():
    tracks, _ = tracks_of(recording({1: (range(11), person(11)), 2: (range(12), person(12, seed=1))}, 12))
    assert [len(track.joints) for track in drop_short(tracks)] == [12]


@pytest.mark.parametrize("name", ["S001C001P001R001A001", "S002C001P003R001A003", "S001C001P001R001A011"])
def test_real_clips_of_one(ntu_samples, name):
    recording = read_ntu(ntu_samples / "NTU" / "skeleton" / f"{name}.skeleton")
    clip = to_clip(recording, name)
    assert np.array_equal(clip[:, 0], recording.joints - recording.joints[0, 1])
    assert not clip[:, 1].any()


def test_a_real_clip_of_two(ntu_samples):
    recording = read_ntu(ntu_samples / "NTU" / "skeleton" / "S001C003P008R002A058.skeleton")
    clip = to_clip(recording, "A058")
    by_id = {body: recording.joints[[i for i, b in enumerate(recording.ids) if b == body]] for body in recording.ids}
    first, second = sorted(by_id.values(), key=lambda joints: -joints.reshape(-1, 3).var(axis=0).sum())
    assert np.array_equal(clip[:, 0], first - first[0, 1])
    assert np.array_equal(clip[:, 1], second - first[0, 1])
