"""A user's own clips and their table of labels."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.data import folder
from ski_edge.errors import BadInput
from ski_edge.skeleton import get_layout

RNG = np.random.default_rng(0)


def test_own_clips(tmp_path):
    layout, joints = get_layout("kinect20"), RNG.normal(size=(6, 20, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", joints)
    np.save(tmp_path / "b.npy", np.stack([joints, joints * 2], axis=1))
    header = ",".join(f"j{i}" for i in range(60))
    (tmp_path / "c.csv").write_text(header + "\n" + "\n".join(",".join(map(str, row)) for row in joints.reshape(6, 60)))
    assert np.array_equal(folder.read_clip(tmp_path / "a.npy", layout)[:, 0], joints)
    assert folder.read_clip(tmp_path / "b.npy", layout).shape == (6, 2, 20, 3)
    assert folder.read_clip(tmp_path / "c.csv", layout)[:, 0] == pytest.approx(joints, abs=1e-6)
    assert [folder.count_bodies(tmp_path / name, layout) for name in ("a.npy", "b.npy", "c.csv")] == [1, 2, 1]


def test_own_clips_that_are_wrong(tmp_path):
    layout = get_layout("kinect20")
    for name, array, says in (
        ("a", np.zeros((6, 25, 3)), r"\[6, 25, 3\], expected"),
        ("b", np.zeros((0, 20, 3)), "has 0 frames"),
        ("c", np.full((6, 20, 3), np.nan), "holds NaN"),
        ("d", np.zeros((6, 20, 3), complex), "complex128"),
        ("e", np.zeros((6, 99, 20, 3)), "99 bodies"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(BadInput, match=says):
            folder.read_clip(tmp_path / f"{name}.npy", layout)
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"not a readable \.npy"):
        folder.read_clip(tmp_path / "o.npy", layout)
    for text, says in (
        ("", "holds no frames"),
        ("1,2,3\n", "rows of 3 numbers"),
        ("1,2\n1\n", "number of columns"),
        (",".join(["1"] * 60) + "\nx\n", "separated by commas"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(BadInput, match=says):
            folder.read_clip(tmp_path / "x.csv", layout)


def test_tables_of_labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('name,label,subject,split\nx/a.npy,"wave, both",3,train\nb,sit,,\n\n')
    assert folder.read_labels(path) == {"x/a": folder.Row("wave, both", 3, "train"), "b": folder.Row("sit")}
    for text, says in (
        ("", "the first line must be name,label"),
        ("a.npy,wave\n", "the first line must be name,label"),
        ("name,label,age\n", "the first line must be"),
        ("name,label\n", "names no clips"),
        ("name,label\na,\n", "line 2 has no name or no label"),
        ("name,label\na,x\na.npy,y\n", "line 3: a.npy is there twice"),
        ("name,label,subject\na,x,bob\n", "subject must be a number"),
        ("name,label,subject,split\na,x,1,maybe\n", "split must be train"),
        ('name,label\n"a', "line 2"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=says):
            folder.read_labels(path)
