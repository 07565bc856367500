"""Rendered clips: the same bytes again, people and held things where they should be, wrong input in one line."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from ski_edge.data import ucla, utd
from ski_edge.data.rendered import OBJECTS, Look, draw_look, render, silhouette
from ski_edge.data.rendered.body import body
from ski_edge.data.rendered.stage import Stage, set_stage
from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.skeletons import moving_skeleton

pytest.importorskip("cv2")
NAMES = ("kinect20", "utd20", "ntu25")
COLOURS = ("skin", "shirt", "trousers", "shoes", "hair")
# A person who stands and faces the camera, left side at the smaller x, metres; right hand held out to the side
STANDING = {
    **{"head": (0, 1.6, 3), "neck": (0, 1.48, 3), "shoulder": (0.18, 1.4, 3), "elbow": (0.45, 1.35, 3)},
    **{
        "wrist": (0.65, 1.4, 2.95),
        "hand": (0.73, 1.42, 2.93),
        "thumb": (0.75, 1.47, 2.9),
        "hand_tip": (0.8, 1.44, 2.9),
    },
    **{"hip": (0.1, 0.9, 3), "knee": (0.12, 0.48, 2.98), "ankle": (0.12, 0.08, 3), "foot": (0.13, 0.04, 2.88)},
    **{"spine": (0, 1.1, 3), "spine_mid": (0, 1.15, 3), "shoulder_centre": (0, 1.42, 3), "hip_centre": (0, 0.92, 3)},
    **{"spine_base": (0, 0.92, 3), "spine_shoulder": (0, 1.42, 3)},
}


def standing(name: str, frames: int = 2) -> np.ndarray:
    """float64 [frames, 1, V, 3]."""
    joints = []
    for joint in LAYOUTS[name].joints:
        side = -1 if joint.startswith("left_") else 1
        x, y, z = STANDING[joint.removeprefix("left_").removeprefix("right_")]
        joints.append((side * x, y, z))
    return np.repeat(np.array(joints)[None, None], frames, axis=0)


def moved(clip: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return clip + np.array([x, y, z])


def look(seed: int = 0, held: str | None = None, **changes: object) -> Look:
    return dataclasses.replace(draw_look(np.random.default_rng(seed), held), **changes)


def changed(first: np.ndarray, second: np.ndarray, least: int = 12) -> np.ndarray:
    """bool [..., H, W]: pixels that differ by more than rounding."""
    return np.abs(first.astype(int) - second).max(axis=-1) > least


# Looks ----------------------------------------------------------------------------------------------------------------


def test_a_look_depends_on_the_generator_alone():
    assert draw_look(np.random.default_rng(3)) == draw_look(np.random.default_rng(3))
    assert draw_look(np.random.default_rng(3)) != draw_look(np.random.default_rng(4))
    assert draw_look(np.random.default_rng(3), "cup") == dataclasses.replace(
        draw_look(np.random.default_rng(3)), held="cup"
    )


def test_looks_cover_their_ranges():
    looks = [look(seed) for seed in range(200)]
    yaws = np.degrees([one.yaw for one in looks])
    assert -35 <= yaws.min() < -30 < 30 < yaws.max() <= 35
    assert {one.people[0].hair_style for one in looks} == {"short", "long", "bald", "cap"}
    assert {one.background.outdoors for one in looks} == {False, True}
    assert len({item.kind for one in looks for item in one.background.clutter}) == 9


# Clips ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_input_same_bytes(name):
    clip = moving_skeleton(LAYOUTS[name], 5, persons=2)
    first = render(clip, LAYOUTS[name], look(1, "bag"))
    assert first.shape == (5, 112, 112, 3)
    assert first.dtype == np.uint8
    digest = hashlib.sha256(first.tobytes()).digest()
    assert hashlib.sha256(render(clip, name, look(1, "bag")).tobytes()).digest() == digest
    assert (first[0] != first[-1]).any()


def test_input_is_not_changed():
    clip = moving_skeleton(LAYOUTS["ntu25"], 3)
    before = clip.copy()
    render(clip, "ntu25", look())
    assert np.array_equal(clip, before)


def test_different_looks_differ():
    clips = [render(standing("kinect20", 1), "kinect20", look(seed)) for seed in range(12)]
    for i, first in enumerate(clips):
        for second in clips[i + 1 :]:
            assert changed(first, second).mean() > 0.3


@pytest.mark.parametrize("size", [16, 96, 113, 224])
def test_sizes(size):
    assert render(standing("utd20"), "utd20", look(), size).shape == (2, size, size, 3)


def test_the_place_in_the_world_does_not_matter():
    """NTU's clips are centred, UTD's are metres away from the sensor."""
    clip, one = standing("ntu25"), look(2, noise=0.0)
    assert changed(render(moved(clip, 2.0, -1.0, 4.0), "ntu25", one), render(clip, "ntu25", one)).mean() < 0.001


def test_background_stays_still():
    clip = moving_skeleton(LAYOUTS["utd20"], 6)
    frames = render(clip, "utd20", look(noise=0.0))
    still = ~changed(frames, frames[:1], 0).any(axis=0)
    assert still.mean() > 0.2


# People ---------------------------------------------------------------------------------------------------------------


def stage_of(clip: np.ndarray, name: str, one: Look, pixels: int = 112) -> Stage:
    return set_stage(clip.astype(float), LAYOUTS[name], one, pixels)


def person_box(clip: np.ndarray, name: str, one: Look) -> tuple[float, ...]:
    """(left, top, right, bottom) of all bodies in all frames, as shares of the picture."""
    stage = stage_of(clip, name, one)
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for blob in stage.people:
        spots, depth = stage.camera.project(blob.centres[blob.shown])
        radii = (blob.radii * stage.camera.focal / depth)[..., None]
        low = np.minimum(low, (spots - radii).min(axis=(0, 1)))
        high = np.maximum(high, (spots + radii).max(axis=(0, 1)))
    return tuple((np.concatenate([low, high]) / 112).tolist())


@pytest.mark.parametrize("seed", range(4))
def test_real_people_stay_in_the_picture(seed, utd_mhad, nw_ucla):
    """Feet included, and not as a speck."""
    clips = [("utd20", utd.read_utd(utd_mhad / f"a{action}_s1_t1_skeleton.mat")) for action in (1, 5, 22, 26, 27)]
    clips += [("kinect20", ucla.read_ucla(next(nw_ucla.glob(f"a{action}_s0{seed + 1}_*")))) for action in ("01", "04")]
    for name, joints in clips:
        left, top, right, bottom = person_box(joints[:, None], name, look(seed))
        assert min(left, top) > -1e-6
        assert max(right, bottom) < 1 + 1e-6
        assert max(right - left, bottom - top) > 0.5


def test_real_clip_shows_the_person(utd_mhad):
    """A wave moves pixels."""
    clip = utd.read_utd(utd_mhad / "a3_s1_t1_skeleton.mat")[:, None]
    frames = render(clip, "utd20", look(noise=0.0))
    assert changed(frames[0], frames[len(frames) // 2]).sum() > 50


def test_people_stand_upright_in_front_of_a_tilted_sensor():
    """A sensor that looks down by 15 degrees sees people lean; the picture is nearly that of a level one."""
    turn = np.radians(15)
    tilt = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    clip = standing("kinect20", 1)
    plain, tilted = (person_box(c, "kinect20", look(5)) for c in (clip, clip @ tilt.T))
    assert tilted == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize("held", [None, "ball"])
def test_the_silhouette_is_where_the_person_is_drawn(held):
    """Another person in the same place changes the picture inside it (and in their shadow), and nowhere else."""
    one = look(4, held)
    dark, bright = (
        dataclasses.replace(one, people=tuple(dataclasses.replace(p, **dict.fromkeys(COLOURS, c)) for p in one.people))
        for c in ((10, 10, 10), (240, 240, 240))
    )
    clip = standing("kinect20")
    mask = silhouette(clip, "kinect20", one, 112)
    assert (mask.shape, mask.dtype) == ((2, 112, 112), bool)
    differs = changed(*(render(clip, "kinect20", each, 112) for each in (dark, bright)))
    assert mask.mean() > 0.03
    assert (differs & ~mask).sum() < 0.15 * mask.sum()  # half a pixel of edge
    assert (mask & ~differs).sum() < (0.15 if held else 0.05) * mask.sum()  # what is held hides some


def test_left_of_the_data_is_left_in_the_picture():
    """The right hand is held out at the larger x."""
    stage = stage_of(standing("kinect20", 1), "kinect20", look(4))
    hands, _ = stage.camera.project(stage.joints[0, 0, [7, 11]])
    assert hands[0, 0] < hands[1, 0]


def test_two_bodies_look_different():
    clip = standing("ntu25", 1)
    pair = np.concatenate([moved(clip, x=-0.8), moved(clip, x=0.8)], axis=1)
    one = look(3, noise=0.0)
    first = one.people[0]
    twin = dataclasses.replace(first, shirt=one.people[1].shirt)
    differs = changed(
        render(pair, "ntu25", dataclasses.replace(one, people=(first, first))),
        render(pair, "ntu25", dataclasses.replace(one, people=(first, twin))),
    )[0]
    assert differs.sum() > 100
    assert np.flatnonzero(differs.any(axis=0)).min() > 50  # the right one of the two alone


def test_missing_body_is_not_drawn():
    clip = standing("ntu25", 4)
    alone = np.concatenate([clip, np.zeros_like(clip)], axis=1)
    one = look(6, noise=0.0)
    assert np.array_equal(render(alone, "ntu25", one), render(clip, "ntu25", one))
    leaves = clip.copy()
    leaves[2:] = 0
    frames = render(leaves, "ntu25", dataclasses.replace(one, held="umbrella"))
    assert np.array_equal(frames[2], frames[3])
    assert changed(frames[1], frames[2]).sum() > 500
    shown = np.ones(4, bool)
    shown[2:] = False
    blobs = body(leaves[:, 0], shown, LAYOUTS["ntu25"], one.people[0])
    assert all(np.array_equal(blob.shown, shown) and np.isfinite(blob.centres).all() for blob in blobs)


def test_second_body_first_slot_empty():
    clip = standing("kinect20", 2)
    frames = render(np.concatenate([np.zeros_like(clip), clip], axis=1), "kinect20", look(2, "ball"))
    assert frames.shape == (2, 112, 112, 3)


def test_nearer_body_hides_the_farther():
    clip = standing("ntu25", 1)
    one = look(8, noise=0.0, yaw=0.0, roll=0.0)
    behind = np.concatenate([clip, moved(clip, z=1.5)], axis=1)
    before = np.concatenate([moved(clip, z=1.5), clip], axis=1)
    # The same two places; only who is where differs, so the chest in front changes its shirt.
    assert changed(render(behind, "ntu25", one), render(before, "ntu25", one)).sum() > 500


# Held things ----------------------------------------------------------------------------------------------------------


def test_objects_have_everyday_names():
    assert len(OBJECTS) == len(set(OBJECTS)) >= 10
    assert {"cup", "bottle", "phone", "book", "ball", "stick", "knife", "umbrella"} <= set(OBJECTS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("thing", OBJECTS)
def test_a_held_thing_is_seen_at_the_right_hand(thing, name):
    clip, one = standing(name, 1), look(7, noise=0.0)
    seen = changed(render(clip, name, dataclasses.replace(one, held=thing)), render(clip, name, one))[0]
    assert seen.sum() > 20
    stage = stage_of(clip, name, one)
    place, _ = stage.camera.project(stage.joints[0, 0, LAYOUTS[name].index("right_hand")])
    rows, columns = np.nonzero(seen)
    pixels_per_m = stage.camera.focal / np.linalg.norm(stage.camera.position)
    far = np.hypot(rows - place[1], columns - place[0]) / pixels_per_m
    assert np.median(far) < 0.5
    assert far.min() < 0.15


def test_held_things_differ_from_each_other():
    clip, one = standing("kinect20", 1), look(9, noise=0.0)
    pictures = {thing: render(clip, "kinect20", dataclasses.replace(one, held=thing)) for thing in OBJECTS}
    for thing, first in pictures.items():
        for other, second in pictures.items():
            assert thing == other or changed(first, second, 25).sum() > 20, (thing, other)


def test_a_held_thing_moves_no_camera():
    clip, one = standing("utd20", 1), look(10)
    assert person_box(clip, "utd20", one) == person_box(clip, "utd20", dataclasses.replace(one, held="umbrella"))


# Wrong input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sequence": np.zeros((3, 1, 20, 3))}, "empty"),
        ({"sequence": np.full((3, 1, 20, 3), np.nan)}, "NaN"),
        ({"sequence": np.ones((3, 20, 3))}, r"\[T, M, 20, 3\]"),
        ({"sequence": np.ones((3, 1, 25, 3))}, "kinect20"),
        ({"sequence": np.full((1, 1, 20, 3), "a")}, "numbers"),
        ({"sequence": np.ones((3, 1, 20, 3)), "size": 8}, "16 to 1024, got 8"),
        ({"size": 112.0}, "got 112.0"),
        ({"layout": "coco17"}, "no head"),
        ({"layout": "kinect21"}, "not known"),
    ],
)
def test_wrong_input_is_one_clear_line(change, says):
    arguments = {"sequence": standing("kinect20"), "layout": "kinect20", "look": look(), **change}
    with pytest.raises(BadInput, match=says) as caught:
        render(**arguments)
    assert "\n" not in str(caught.value)


def test_unknown_things_cannot_be_held():
    with pytest.raises(BadInput, match=r"'spoon' cannot be drawn; the choices are: cup, "):
        draw_look(np.random.default_rng(0), "spoon")


@pytest.mark.parametrize("scale", [1e3, 1e307])
def test_millimetres_are_refused(scale):
    with pytest.raises(BadInput, match="must be in metres"):
        render(standing("ntu25", 1) * scale, "ntu25", look())


@pytest.mark.parametrize("scale", [1e-6, 30.0, -1.0])
def test_absurd_bodies_do_no_harm(scale):
    """Points, giants and people on their heads: nothing crashes, nothing is NaN."""
    assert render(standing("ntu25", 1) * scale, "ntu25", look(1, "racket")).shape == (1, 112, 112, 3)


def test_no_torch(without_torch):
    code = """
import numpy as np
from ski_edge.data.rendered import draw_look, render
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.skeleton import LAYOUTS
assert render(moving_skeleton(LAYOUTS["ntu25"], 2), "ntu25", draw_look(np.random.default_rng(0), "cup")).any()
"""
    done = without_torch(code)
    assert done.returncode == 0, done.stderr
