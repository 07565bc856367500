"""Which clips are drawn, what hands hold, what is said of a frame, and that all of it is drawn once."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.data.names import UCLA, UTD
from ski_edge.data.rendered import OBJECTS, draw_look, render
from ski_edge.data.rendered.captions import GROUPS, describe
from ski_edge.data.rendered.source import render_data, render_frames
from ski_edge.data.rendered.world import RenderedFrames, RenderedWorld, held_object, move_arms, object_of
from ski_edge.data.store import ClipEntry, Index, open_data, write_data
from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.skeletons import moving_skeleton

LAYOUT = LAYOUTS["kinect20"]


@pytest.fixture
def body() -> np.ndarray:
    """Somebody who stands with hanging arms: metres, [V, 3]."""
    place = {
        "head": (0, 1.7),
        "shoulder": (0.2, 1.45),
        "elbow": (0.25, 1.2),
        "wrist": (0.27, 0.95),
        "hand": (0.27, 0.88),
        "hip": (0.1, 0.95),
        "knee": (0.1, 0.5),
        "ankle": (0.1, 0.08),
        "foot": (0.1, 0.0),
    }
    joints = np.zeros((LAYOUT.num_joints, 3), np.float32)
    for number, name in enumerate(LAYOUT.joints):
        side = 1 if name.startswith("right") else -1 if name.startswith("left") else 0
        part = name.removeprefix("right_").removeprefix("left_")
        across, up = place.get(part, (0, {"spine_base": 0.95, "spine_mid": 1.2}.get(part, 1.45)))
        joints[number] = side * across, up, 2.5
    return joints


def said(body: np.ndarray, **look) -> dict[str, str]:
    chosen = describe(draw_look(np.random.default_rng(0), **look), body, LAYOUT)
    return {group: GROUPS[group][number] for group, number in zip(GROUPS, chosen, strict=True)}


def moved(body: np.ndarray, joint: str, by: tuple[float, float, float]) -> np.ndarray:
    out = body.copy()
    out[LAYOUT.index(joint)] += by
    return out


def test_a_body_at_rest_is_told(body):
    phrases = said(body)
    assert phrases["right_height"] == "the right hand hanging down"
    assert phrases["left_height"] == "the left hand hanging down"
    assert phrases["posture"] == "a person standing upright"
    assert phrases["legs"] == "a person with closed legs"
    assert phrases["object"] == "a person with empty hands"


@pytest.mark.parametrize(
    ("joint", "by", "group", "words"),
    [
        ("right_wrist", (0, 0.8, 0), "right_height", "raised above the head"),
        ("left_wrist", (0, 0.45, 0), "left_height", "at the chest"),
        ("right_wrist", (0.4, 0.5, 0), "right_side", "stretched out to the side"),
        ("right_wrist", (-0.4, 0.4, 0), "right_side", "across the body"),
        ("left_wrist", (0.4, 0.4, 0), "left_side", "across the body"),
        ("left_knee", (0, 0.3, -0.2), "legs", "lifting one knee"),
        ("left_ankle", (-0.4, 0, 0), "legs", "legs apart"),
    ],
)
def test_a_limb_that_moves_is_told(body, joint, by, group, words):
    assert words not in said(body)[group]
    assert words in said(moved(body, joint, by))[group]


def test_bending_and_squatting_are_told(body):
    bent = body.copy()
    upper = [LAYOUT.index(name) for name in ("head", "right_shoulder", "left_shoulder")]
    bent[upper] += (0, -0.35, -0.5)
    assert said(bent)["posture"] == "a person bending forward"
    low = body.copy()
    low[body[:, 1] > 0.9] -= (0, 0.5, 0)
    low[[LAYOUT.index("right_knee"), LAYOUT.index("left_knee")]] += (0, 0, -0.4)
    assert said(low)["posture"] == "a person squatting or sitting low"


@pytest.mark.parametrize("held", OBJECTS)
def test_the_object_is_told(body, held):
    assert said(body, held=held)["object"] == f"a person holding a {held}"


def test_arms_move_and_bones_stay(body):
    rng = np.random.default_rng(1)
    turned = move_arms(body, LAYOUT, 1.0, rng)
    chains = [[LAYOUT.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist")] for side in ("left", "right")]
    for upper, middle, lower in chains:
        for a, b in ((upper, middle), (middle, lower)):
            np.testing.assert_allclose(
                np.linalg.norm(turned[a] - turned[b]), np.linalg.norm(body[a] - body[b]), rtol=1e-5
            )
        assert np.linalg.norm(turned[lower] - body[lower]) > 0.01
    legs = [LAYOUT.index(f"{side}_{part}") for side in ("left", "right") for part in ("hip", "knee", "ankle")]
    np.testing.assert_array_equal(turned[legs], body[legs])
    np.testing.assert_array_equal(move_arms(body, LAYOUT, 0.0, rng), body)


def test_every_class_of_the_table_has_an_object_and_shares_it():
    objects = [object_of(name, label) for label, name in enumerate(UTD)]
    assert set(objects) <= set(OBJECTS)
    assert len(set(objects)) < len(objects) / 2
    assert all(object_of(name, label) in OBJECTS for label, name in enumerate(UCLA))
    assert object_of("a class of another data set", 13) == OBJECTS[13 % len(OBJECTS)]


def test_worlds_draw_the_same_numbers_and_differ_in_objects():
    """Table: one in five is drawn from all; shuffled: all are; none: nothing; and the looks after it are the same."""
    worlds = [RenderedWorld(objects=kind) for kind in ("table", "shuffled", "none")]
    counts = {"table": 0, "shuffled": 0}
    for seed in range(1500):
        after = []
        for world in worlds:
            rng = np.random.default_rng(seed)
            held = held_object(world, "tennis serve", 16, rng)
            if world.objects == "none":
                assert held is None
            else:
                counts[world.objects] += held == "racket"
            after.append(rng.random())
        assert len(set(after)) == 1
    assert 0.77 < counts["table"] / 1500 < 0.86  # 0.8 + 0.2 / 12
    assert 0.05 < counts["shuffled"] / 1500 < 0.12  # 1 / 12


@pytest.fixture
def data(tmp_path):
    clips = [moving_skeleton(LAYOUT, 10 + i, seed=i) for i in range(3)]
    entries = tuple(ClipEntry(name=f"c{i}", label=i % 2, frames=len(clip), subject=1) for i, clip in enumerate(clips))
    index = Index(dataset="own", layout="kinect20", fps=30, persons=1, classes=("wave", "squat"), clips=entries)
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data", index, clips, {})
    return open_data(tmp_path / "data")


def test_clips_are_drawn_once_and_are_what_render_gives(data, tmp_path):
    world, drawn = RenderedWorld(looks=2, frames=3, size=32), []
    videos = render_data(data, world, tmp_path / "cache", lambda done, total: drawn.append((done, total)))
    assert drawn[-1] == (6, 6)
    assert videos.names == ("c0/0", "c0/1", "c1/0", "c1/1", "c2/0", "c2/1")
    assert videos.labels.tolist() == [0, 0, 1, 1, 0, 0]
    rng = np.random.default_rng([world.seed, 1, 0])
    held = held_object(world, "squat", 1, rng)
    look = draw_look(rng, held)
    moments = np.rint(np.linspace(0, len(data[1]) - 1, 3)).astype(int)
    np.testing.assert_array_equal(
        videos.read(2, np.array([2, 0])), render(data[1][moments], "kinect20", look, 32)[[2, 0]]
    )
    again: list[object] = []
    same = render_data(data, world, tmp_path / "cache", lambda done, total: again.append(done))
    assert not again
    np.testing.assert_array_equal(same.frames, videos.frames)
    render_data(data, world.model_copy(update={"seed": 1}), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cut_file_of_clips_is_named(data, tmp_path):
    world = RenderedWorld(looks=1, frames=2, size=32)
    render_data(data, world, tmp_path)
    file = next(tmp_path.glob("rendered-*/clips.npy"))
    np.save(file, np.zeros((2, 2), np.uint8))
    with pytest.raises(BadInput, match="delete"):
        render_data(data, world, tmp_path)


def test_described_frames_have_a_phrase_of_every_group(data, tmp_path):
    frames = render_frames(data, RenderedFrames(count=20, size=32), tmp_path)
    assert frames.frames.shape == (20, 1, 32, 32, 3)
    assert frames.labels.shape == (20, len(GROUPS))
    sizes = np.array([len(group) for group in GROUPS.values()])
    assert (frames.labels >= 0).all()
    assert (frames.labels < sizes).all()
    assert len(frames.classes) == sizes.sum()
    assert len(np.unique(frames.labels[:, list(GROUPS).index("object")])) > 5


def test_an_empty_skeleton_is_named(tmp_path):
    index = Index(
        dataset="own",
        layout="kinect20",
        fps=30,
        persons=1,
        classes=("wave",),
        clips=(ClipEntry(name="nobody", label=0, frames=4),),
    )
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data", index, [np.zeros((4, 1, 20, 3), np.float32)], {})
    with pytest.raises(BadInput, match="nobody: the skeleton is empty"):
        render_data(open_data(tmp_path / "data"), RenderedWorld(looks=1, frames=2, size=32), tmp_path / "cache")
