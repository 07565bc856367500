"""Our reader of MATLAB 5 files against scipy's, on real files and on every way to store an array."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from ski_edge.data.mat5 import read_mat
from ski_edge.errors import BadInput

scipy_io = pytest.importorskip("scipy.io")


def test_real_files_as_scipy_reads_them(utd_mhad):
    for path in sorted(utd_mhad.glob("*.mat"))[::20]:
        assert np.array_equal(read_mat(path, "d_skel", 10**6), scipy_io.loadmat(path)["d_skel"])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).normal(size=(20, 3, 7)),
        np.random.default_rng(0).normal(size=(20, 3, 7)).astype(np.float32),
        np.ones((1, 1)),
        np.arange(6.0).reshape(2, 3),
    ],
)
def test_arrays_as_scipy_writes_them(tmp_path, array, compressed):
    path = tmp_path / "x.mat"
    scipy_io.savemat(path, {"first": np.zeros((2, 2)), "text": "abc", "a": array}, do_compression=compressed)
    found = read_mat(path, "a", 10**6)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def element(order, kind, data):
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(order, stored, values, shape, kind=6, name=b"a"):
    """A matrix element as MATLAB writes it; a name of up to 4 letters is in the short form."""
    short = struct.pack(f"{order}I", (len(name) << 16) | 1) + name.ljust(4, b"\0")
    flags = element(order, 6, struct.pack(f"{order}II", kind, 0))
    sizes = element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
    return element(order, 14, flags + sizes + short + element(order, stored, values))


@pytest.mark.parametrize(("order", "mark"), [("<", b"IM"), (">", b"MI")])
@pytest.mark.parametrize(
    ("stored", "code"), [(1, "i1"), (2, "u1"), (3, "i2"), (5, "i4"), (7, "f4"), (9, "f8"), (12, "i8")]
)
def test_small_numbers_and_both_byte_orders(tmp_path, order, mark, stored, code):
    """MATLAB stores whole doubles in the smallest type that holds them."""
    path, values = tmp_path / "x.mat", np.arange(1, 7).astype(order + code)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + mark
    path.write_bytes(header + matrix(order, stored, values.tobytes(), (2, 3)))
    found = read_mat(path, "a", 100)
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 3, 5], [2, 4, 6]]  # column by column


def test_what_cannot_be_read_is_said(tmp_path):
    path = tmp_path / "x.mat"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM"
    good = matrix("<", 9, np.arange(6.0).tobytes(), (2, 3))
    bomb = zlib.compress(good[:8] + b"\0" * (1 << 26), 1)
    for data, says in (
        (b"MATLAB 7.3 MAT-file" + header[19:], "save it with -v7"),
        (b"MATLAB", "its header is of another kind"),
        (header, r"no variable a \(it has: none\)"),
        (header + good[:-9], "an element of"),
        (header + matrix("<", 9, b"", (2, 3)), "are not all there"),
        (header + matrix("<", 99, np.arange(6.0).tobytes(), (2, 3)), "are not all there"),
        (header + matrix("<", 9, np.arange(6.0).tobytes(), (2, 2)), "are not all there"),
        (header + matrix("<", 9, b"", (2**30, 2**30, 2**30)), "at most 100"),
        (header + matrix("<", 9, b"", (-1, 3)), r"double \[-1, 3\]"),
        (header + matrix("<", 9, b"", ()), r"double \[\]"),
        (header + matrix("<", 9, b"", (2, 3), kind=2), "is struct"),
        (header + matrix("<", 9, np.arange(6.0).tobytes(), (2, 3), name=b"\n;"), "it has: an unreadable name"),
        (header + struct.pack("<II", 15, len(bomb)) + bomb, "holds more than 64 MB"),
        (header + struct.pack("<II", 15, 9) + b"no zlib!!", "not a readable MATLAB 5 file"),
    ):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=says):
            read_mat(path, "a", 100)
    scipy_io.savemat(path, {"a": np.ones((2, 3)) * 1j})
    with pytest.raises(BadInput, match="expected real doubles"):
        read_mat(path, "a", 100)
