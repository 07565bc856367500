"""NTU's text: every real file, and every way in which such a file can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.data.ntu import parse_name, read_names, read_ntu
from ski_edge.errors import BadInput
from ski_edge.skeleton import get_layout


@pytest.fixture
def body():
    rng = np.random.default_rng(0)
    return lambda: rng.normal(size=(25, 3))


@pytest.fixture
def saved(tmp_path):
    def save(text, name="S001C002P003R004A050.skeleton"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


@pytest.mark.parametrize(
    ("name", "frames", "bodies"),
    [
        ("skeleton/S001C001P001R001A001.skeleton", 103, 1),
        ("skeleton/S002C001P003R001A003.skeleton", 100, 1),
        ("skeleton/S001C001P001R001A011.skeleton", 82, 1),
        ("skeleton/S001C003P008R002A058.skeleton", 70, 2),
        ("skeleton_variants/S001C001P001R001A001.gardiens.skeleton", 103, 1),
    ],
)
def test_every_sample(ntu_samples, name, frames, bodies):
    path = ntu_samples / "NTU" / name
    recording = read_ntu(path)
    assert recording.frames == frames
    assert len(set(recording.ids)) == bodies
    assert recording.joints.shape == (frames * bodies, 25, 3)
    assert np.array_equal(recording.frame, np.repeat(np.arange(frames), bodies))
    # Read again the slow way: every number is the one in the text, rounded once to float32.
    rows = [line.split() for line in path.read_text().splitlines() if len(line.split()) == 12]
    slow = np.array([[float(field) for field in row[:3]] for row in rows], np.float32).reshape(-1, 25, 3)
    assert np.array_equal(recording.joints, slow)
    colour = np.array([[float(field) for field in row[5:7]] for row in rows], np.float32).reshape(-1, 25, 2)
    assert np.array_equal(recording.colour, colour)


def test_axes_and_proportions_are_kinects(ntu_samples):
    """Measured on real files: people face the camera, left has the smaller x, spine mid is at 0.574 of the trunk."""
    joint = get_layout("ntu25").index
    for path in sorted((ntu_samples / "NTU" / "skeleton").glob("*.skeleton")):
        recording = read_ntu(path)
        if len(set(recording.ids)) > 1:
            continue  # two people face each other
        middle = np.median(recording.joints, axis=0)
        left, right = joint("left_shoulder"), joint("right_shoulder")
        assert middle[left, 0] < middle[right, 0]
        assert np.median(recording.colour[:, left, 0]) < np.median(recording.colour[:, right, 0])
        assert middle[joint("head"), 1] > middle[joint("spine_base"), 1]
        assert 1 < middle[:, 2].min() < middle[:, 2].max() < 6
        trunk = np.linalg.norm(
            recording.joints[:, joint("spine_shoulder")] - recording.joints[:, joint("spine_base")], axis=1
        )
        low = np.linalg.norm(recording.joints[:, joint("spine_mid")] - recording.joints[:, joint("spine_base")], axis=1)
        assert np.median(low / trunk) == pytest.approx(0.574, abs=0.01)


def test_line_ends_do_not_matter(ntu_samples):
    folder = ntu_samples / "NTU"
    plain = read_ntu(folder / "skeleton" / "S001C001P001R001A001.skeleton")
    crlf = read_ntu(folder / "skeleton_variants" / "S001C001P001R001A001.gardiens.skeleton")
    assert np.array_equal(plain.joints, crlf.joints)
    assert plain.ids == crlf.ids


def test_uav_human_is_refused_by_its_joints(ntu_samples):
    files = sorted((ntu_samples / "UAV-Human").glob("*.txt"))
    assert len(files) == 2
    for path in files:
        with pytest.raises(BadInput, match="17 joints, NTU RGB\\+D has 25; is it UAV-Human"):
            read_ntu(path)


def test_frames_without_bodies_and_ids_that_come_back(saved, skeleton_text, body):
    frames = [[], [(7, body())], [(7, body()), (8, body())], [], [(8, body())], [(7, body())]]
    for newline in ("\n", "\r\n"):
        recording = read_ntu(saved(skeleton_text(frames, newline)))
        assert recording.frames == 6
        assert recording.frame.tolist() == [1, 2, 2, 4, 5]
        assert recording.ids == ("7", "7", "8", "8", "7")
        assert recording.joints[2] == pytest.approx(frames[2][1][1], abs=1e-6)


def test_ids_are_told_apart_beyond_float64(saved, skeleton_text, body):
    """17 digits: as numbers, these two are one."""
    first, second = 72057594037931101, 72057594037931102
    assert float(first) == float(second)
    recording = read_ntu(saved(skeleton_text([[(first, body()), (second, body())]])))
    assert recording.ids == (str(first), str(second))


def test_a_recording_of_nobody_is_read(saved):
    recording = read_ntu(saved("3\n0\n0\n0\n"))
    assert recording.frames == 3
    assert recording.joints.shape == (0, 25, 3)


def test_unknown_pixels_stay_unknown(saved, skeleton_text, body):
    text = skeleton_text([[(1, body())]]).replace("900.5 500.5", "-inf NaN")
    recording = read_ntu(saved(text))
    assert np.isneginf(recording.colour[..., 0]).all()
    assert np.isnan(recording.colour[..., 1]).all()
    assert np.isfinite(recording.joints).all()


def test_what_is_wrong_is_said(saved, skeleton_text, body):
    good = skeleton_text([[(7, body())], [(7, body())]])
    lines = good.splitlines()

    def changed(number, line):
        return "\n".join([*lines[:number], line, *lines[number + 1 :]])

    cases = {
        "is empty": "",
        "should be the number of frames, got b'hello'": "hello\n",
        "should be the number of bodies of frame 0": changed(1, "-1"),
        "should be a body with 10 values, got 3": changed(2, "1 2 3"),
        "24 joints, NTU RGB\\+D has 25": changed(3, "24"),
        "must have 12 numbers.*11": changed(4, " ".join(lines[4].split()[:11])),
        "must have 12 numbers.*'x'": changed(4, lines[4].replace(lines[4].split()[3], "x", 1)),
        "joint 1 is at nan m": changed(4, "nan " + " ".join(lines[4].split()[1:])),
        "joint 2 is at inf m": changed(5, "1e999 " + " ".join(lines[5].split()[1:])),
        "joint 3 is at 1000.0 m": changed(6, "1000 " + " ".join(lines[6].split()[1:])),
        "ends after line 57 in the middle": changed(0, "3"),
        "28 lines follow the last of 1 frames": changed(0, "1"),
        "ends after line 57 ": changed(0, "999999999"),
        "should be the number of frames": changed(0, "9" * 30),
        "frame 0 holds two bodies with one id": skeleton_text([[(7, body()), (7, body())]]),
    }
    for says, text in cases.items():
        with pytest.raises(BadInput, match=says):
            read_ntu(saved(text))


def test_a_file_that_is_cut_off_is_never_half_a_recording(ntu_samples, saved):
    data = (ntu_samples / "NTU" / "skeleton" / "S001C003P008R002A058.skeleton").read_bytes()
    for end in np.linspace(0, len(data) - 12, 40).astype(int):
        with pytest.raises(BadInput):
            read_ntu(saved(data[:end]))


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_ntu(tmp_path / "no.skeleton")
    with pytest.raises(BadInput, match="cannot be read"):
        read_ntu(tmp_path)


def test_names(tmp_path):
    ids = parse_name(tmp_path / "S018C002P045R001A120.skeleton")
    assert ids == {"setup": 18, "camera": 2, "subject": 45, "replication": 1, "action": 120, "label": 119}
    for name in ("S001.skeleton", "S001C001P001R001A000.skeleton", "S001C001P001R001A121.skeleton", "x.txt"):
        with pytest.raises(BadInput, match=name):
            parse_name(tmp_path / name)


def test_lists_of_missing_samples(ntu_samples, saved):
    lists = ntu_samples / "NTU" / "lists"
    small, large = (
        read_names(lists / f"NTU_{kind}_samples_with_missing_skeletons.txt") for kind in ("RGBD", "RGBD120")
    )
    assert (len(small), len(large)) == (302, 535)
    assert small < large
    with pytest.raises(BadInput, match="lists no samples"):
        read_names(saved("nothing\n", "list.txt"))
