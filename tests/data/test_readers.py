"""NW-UCLA, UTD-MHAD, PKU-MMD, SYSU and Toyota Smarthome: real files where there are some, and wrong ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ski_edge.data import pku, smarthome, sysu, ucla, utd
from ski_edge.data.names import PKU, SMARTHOME, SYSU, UCLA, UTD
from ski_edge.data.pixels import from_pixels
from ski_edge.errors import BadInput
from ski_edge.skeleton import get_layout

scipy_io = pytest.importorskip("scipy.io")
RNG = np.random.default_rng(0)


def test_names_are_complete_and_different():
    for names, count in ((UCLA, 10), (UTD, 27), (PKU, 51), (SYSU, 12), (SMARTHOME, 31)):
        assert len(names) == len(set(names)) == count
        assert all(name and name == name.strip() for name in names)


def test_pku_names_are_those_of_the_set(texts):
    text = (texts / "PGFA" / "pku_labelmap.txt").read_text()
    assert [name.lower() for name in PKU] == [line.strip().lower() for line in text.splitlines() if line.strip()]


# NW-UCLA ------------------------------------------------------------------------------------------------------------


def test_ucla_files(nw_ucla):
    """All of them are read in test_prepare.py; here are the odd ones, and the numbers of one as they are written."""
    lengths = [len(ucla.read_ucla(nw_ucla / f"a02_s09_e04_v0{view}.json")) for view in (2, 3)]
    assert lengths == [1, 1]
    path = nw_ucla / "a01_s01_e00_v01.json"
    joints = ucla.read_ucla(path)
    assert joints.dtype == np.float32
    assert np.array_equal(joints, np.array(json.loads(path.read_text())["skeletons"], np.float32))


def test_ucla_labels_skip_the_missing_actions(nw_ucla):
    path = next(nw_ucla.glob("a12_s*"))
    assert ucla.parse_name(path)["label"] == 9 == json.loads(path.read_text())["label"] - 1
    assert ucla.parse_name(nw_ucla / "a08_s02_e03_v01.json") == {
        **{"action": 8, "subject": 2, "repetition": 3, "camera": 1, "label": 6}
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not JSON"),
        ("[]", "no key `skeletons`"),
        ('{"skeletons": []}', "must be numbers"),
        ('{"skeletons": [[[1, 2, 3]]]}', r"\[1, 1, 3\]"),
        ('{"skeletons": [[[1, 2, 3]], [[1, 2]]]}', "no regular table"),
        ('{"skeletons": "x"}', "must be numbers"),
        ('{"skeletons": null}', "must be numbers"),
        (json.dumps({"skeletons": np.full((2, 20, 3), 1e3).tolist()}), "1000.0 m"),
        (json.dumps({"skeletons": np.full((2, 20, 3), np.nan).tolist()}), "nan m"),
        (json.dumps({"skeletons": np.zeros((2, 20, 3)).tolist(), "label": 2}), "its label is 2, its name says 1"),
        ('{"skeletons": ' + "[" * 100_000, "not usable JSON"),
    ],
)
def test_ucla_files_that_are_wrong(tmp_path, content, says):
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=says):
        ucla.read_ucla(path)


def test_ucla_names_that_are_wrong(tmp_path):
    for name in ("a1_s1.json", "a07_s01_e00_v01.json", "a01_s01_e00_v01.txt"):
        with pytest.raises(BadInput, match=name):
            ucla.parse_name(tmp_path / name)


# UTD-MHAD and SYSU --------------------------------------------------------------------------------------------------


def test_every_utd_file(utd_mhad):
    lengths = []
    left, right, head, hip = (
        get_layout("utd20").index(j) for j in ("left_shoulder", "right_shoulder", "head", "hip_centre")
    )
    for path in sorted(utd_mhad.glob("*.mat")):
        joints = utd.read_utd(path)
        lengths.append(len(joints))
        middle = np.median(joints, axis=0)
        assert middle[left, 0] < middle[right, 0]  # as NTU: Kinect's mirrored x
        assert middle[head, 1] > middle[hip, 1]
        assert 1.5 < middle[:, 2].mean() < 4.5
    assert len(lengths) == 861
    assert (min(lengths), int(np.median(lengths)), max(lengths)) == (41, 67, 125)


def test_utd_is_read_in_the_order_of_the_file(utd_mhad):
    path = utd_mhad / "a10_s1_t1_skeleton.mat"
    raw = scipy_io.loadmat(path)["d_skel"]
    assert np.array_equal(utd.read_utd(path)[7, 4], raw[4, :, 7].astype(np.float32))
    assert utd.parse_name(path) == {"action": 10, "subject": 1, "trial": 1, "label": 9}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"other": np.zeros((20, 3, 5))}, "no variable d_skel"),
        ({"d_skel": np.zeros((20, 3))}, r"is \[20, 3\]"),
        ({"d_skel": np.zeros((25, 3, 5))}, r"\[5, 25, 3\]"),
        ({"d_skel": np.full((20, 3, 5), np.nan)}, "nan m"),
        ({"d_skel": np.full((20, 3, 5), 2000.0)}, "2000.0 m"),
        ({"d_skel": "text"}, "is char"),
        ({"d_skel": np.zeros((20, 3, 0))}, r"\[20, 3, 0\]"),
        ({"d_skel": {"a": 1}}, "is struct"),
        ({"d_skel": np.zeros((20, 3, 200_000), np.float32)}, "at most 6000000"),
    ],
)
def test_utd_files_that_are_wrong(tmp_path, content, says):
    path = tmp_path / "a1_s1_t1_skeleton.mat"
    scipy_io.savemat(path, content, do_compression=True)
    with pytest.raises(BadInput, match=says):
        utd.read_utd(path)


def test_mat_files_that_are_no_mat_files(tmp_path):
    path = tmp_path / "a1_s1_t1_skeleton.mat"
    for data in (b"", b"hello", b"\0" * 5000, b"MATLAB 5.0 MAT-file" + b"\0" * 300):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"is not a readable MATLAB 5 file|holds no variable"):
            utd.read_utd(path)
    for name in ("a28_s1_t1_skeleton.mat", "a0_s1_t1_skeleton.mat", "a1_s1_t1_depth.mat"):
        with pytest.raises(BadInput, match=name):
            utd.parse_name(tmp_path / name)


def test_sysu_as_public_loaders_describe_it(tmp_path):
    path = tmp_path / "anna" / "video7" / "sklWorld.mat"
    path.parent.mkdir(parents=True)
    raw = RNG.normal(size=(20, 3, 9))
    scipy_io.savemat(path, {"SW": raw})
    assert np.array_equal(sysu.read_sysu(path)[4, 2], raw[2, :, 4].astype(np.float32))
    assert sysu.parse_path(path) == {"label": 6}
    with pytest.raises(BadInput, match="video1 to video12"):
        sysu.parse_path(tmp_path / "anna" / "video13" / "sklWorld.mat")


# PKU-MMD ------------------------------------------------------------------------------------------------------------


def pku_text(frames, delimiter=" "):
    return "\n".join(delimiter.join(f"{value:.6f}" for value in row) for row in frames) + "\n"


def test_pku_recordings(tmp_path):
    rows = RNG.normal(size=(12, 150))
    rows[:, 75:] = 0
    path = tmp_path / "0002-L.txt"
    path.write_text(pku_text(rows))
    frames = pku.read_pku(path)
    assert frames.shape == (12, 2, 25, 3)
    assert frames[3, 0, 24, 2] == pytest.approx(rows[3, 74], abs=1e-6)
    assert not frames[:, 1].any()
    assert [pku.camera_of(name) for name in ("0002-L", "0002-M", "A01N01-R")] == [1, 2, 3]
    for text, says in (
        ("", "has 0 rows"),
        (pku_text(rows[:, :149]), "149 numbers, expected 150"),
        (pku_text(rows) + "1 2 3\n", "a row must hold 150 numbers"),
        (pku_text(rows).replace(".", "x", 1), "a row must hold 150 numbers"),
        (pku_text(rows * 1e5), "joints must be finite and within 100 m"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            pku.read_pku(path)


def test_pku_labels_and_splits(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("4,120,305,2\r\n51,310,400,1\r\n\r\n")
    assert pku.read_pku_labels(path) == [pku.Action(3, 120, 305), pku.Action(50, 310, 400)]
    for text, says in (
        ("1,2,3\n", "line 1 should be"),
        ("1,2,3,1\n0,2,3,1\n", "line 2: there is no action 0"),
        ("52,2,3,1\n", "no action 52"),
        ("1,-2,3,1\n", "line 1 should be"),
        ("1,2,99999999999999,1\n", "line 1 should be"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            pku.read_pku_labels(path)
    path.write_text("Training videos:\n0002-L, 0002-M, \nValidation videos:\n0003-L\n")
    assert pku.read_pku_split(path) == {"0002-L": "train", "0002-M": "train", "0003-L": "test"}
    for text, says in (
        ("a\n", "has 1 lines"),
        ("a\nhello\nb\n0003-L\n", "hello is not a name"),
        ("a\n0003-L\nb\n0003-L\n", "0003-L is in both lists"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            pku.read_pku_split(path)


# Smarthome and pixels -----------------------------------------------------------------------------------------------


def test_the_smarthome_sample(ntu_samples):
    path = next((ntu_samples / "Smarthome").glob("*.npz"))
    clip = smarthome.read_smarthome(path)
    assert clip.shape == (1380, 17, 3)
    assert SMARTHOME[smarthome.parse_name(path)["label"]] == "WatchTV"
    assert (smarthome.parse_name(path)["subject"], smarthome.parse_name(path)["camera"]) == (2, 5)
    joint = get_layout("coco17").index
    shoulders = clip[:, [joint("left_shoulder"), joint("right_shoulder")]].mean(axis=1)
    hips = clip[:, [joint("left_hip"), joint("right_hip")]].mean(axis=1)
    assert np.median(np.linalg.norm(shoulders - hips, axis=1)) == pytest.approx(0.5, abs=1e-3)
    assert np.median(shoulders[:, 1]) > np.median(hips[:, 1])  # y is up
    assert not clip[..., 2].any()


def test_pixels_keep_their_sides_and_what_was_not_found():
    body = np.zeros((17, 2))
    body[[5, 6, 11, 12]] = (300, 100), (200, 100), (280, 300), (220, 300)  # a person who faces the camera
    body[0] = (250, 50)
    clip = from_pixels(np.stack([body, np.zeros((17, 2))])[None], "test")
    assert clip.shape == (1, 2, 17, 3)
    assert clip[0, 0, 5, 0] < clip[0, 0, 6, 0]  # left has the smaller x, as Kinect's mirrored picture
    assert clip[0, 0, 0] == pytest.approx((0, 250 / 200 * 0.5, 0), abs=1e-6)
    assert not clip[0, 0, 3].any()
    assert not clip[0, 1].any()
    with pytest.raises(BadInput, match="no frame shows both shoulders"):
        from_pixels(np.zeros((3, 1, 17, 2)), "test")
    with pytest.raises(BadInput, match="pixels long"):
        from_pixels(np.ones((3, 1, 17, 2)), "test")


def test_smarthome_files_that_are_wrong(tmp_path):
    path = tmp_path / "WatchTV_p02_r03_v05_c05_Alphapose2d.npz"
    good = RNG.uniform(1, 500, (4, 17, 2)).astype(np.float32)
    for arrays, says in (
        ({"other": good}, "no array 'kpts'"),
        ({"kpts": good[..., :1]}, r"\[4, 17, 1\]"),
        ({"kpts": good.astype(int)}, "int64"),
        ({"kpts": np.where(good > 250, np.nan, good)}, "nan px"),
        ({"kpts": np.array([{}], object)}, r"no array 'kpts' \(it has: none\)"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(BadInput, match=says):
            smarthome.read_smarthome(path)
    path.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(BadInput, match=r"not a readable \.npz"):
        smarthome.read_smarthome(path)
    with pytest.raises(BadInput, match="no action 'Fly'"):
        smarthome.parse_name(tmp_path / "Fly_p02_r03_v05_c05.npz")
