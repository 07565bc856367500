"""A thousand damaged files: each is refused in one line or read into finite numbers; never anything else.

The mutations are seeded. They run in a process of their own with a limit on its memory and time, so that a crash in a
library's C code, a hang or an allocation of what a header merely claims fails the test instead of ending it.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest

from ski_edge.data.utd import read_utd
from ski_edge.errors import BadInput

_FUZZ = """
import resource, sys, time
import numpy as np
from pathlib import Path
from ski_edge.data.ntu import read_ntu
from ski_edge.data.denoise import to_clip
from ski_edge.data.ucla import read_ucla
from ski_edge.data.utd import read_utd
from ski_edge.data.smarthome import read_smarthome
from ski_edge.data.ctrgcn_npz import read_ctrgcn
from ski_edge.data.pyskl import read_pyskl
from ski_edge.errors import BadInput

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))

def ntu(path):
    recording = read_ntu(path)
    assert recording.joints.shape == (len(recording.ids), 25, 3)
    return [to_clip(recording, str(path))]

READ = {
    ".skeleton": ntu,
    ".json": lambda path: [read_ucla(path)],
    ".mat": lambda path: [read_utd(path)],
    ".npz": lambda path: [read_smarthome(path)],
    ".ctr": lambda path: [sample.joints for sample in read_ctrgcn(path)],
    ".pkl": lambda path: [clip.joints for clip in read_pyskl(path)],
}
REPLACE = (b"0", b"-", b"9" * 12, b"1e999", b"NaN", b"\\n", b" ", b"\\0", b"\\xff" * 8, b"[", b"}", b",")

def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        kind, at = rng.integers(0, 6), int(rng.integers(0, max(len(data), 1)))
        junk = REPLACE[rng.integers(0, len(REPLACE))]
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = junk
        elif kind == 3:
            data[at : at + len(junk)] = junk
        elif kind == 4:
            del data[at : at + int(rng.integers(1, 40))]
        else:
            start = int(rng.integers(0, max(len(data), 1)))
            data[at:at] = data[start : start + int(rng.integers(1, 400))]
    return bytes(data)

folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
refused = read = 0
for source in sorted(folder.iterdir()):
    rng, good = np.random.default_rng(seed), source.read_bytes()
    path = folder.parent / source.name
    for number in range(count):
        path.write_bytes(mutated(good, rng))
        try:
            for joints in READ[source.suffix](path):
                assert joints.dtype == np.float32 and np.isfinite(joints).all(), (source, number)
                assert np.abs(joints).max(initial=0) <= 1000, (source, number)
            read += 1
        except BadInput as error:
            text = str(error)
            assert "\\n" not in text and 20 < len(text) < 2000, (source, number, text)
            refused += 1
print(refused, read)
"""


@pytest.fixture
def sources(tmp_path, ntu_samples, nw_ucla, utd_mhad, skeleton_text):
    """Small true files, so that mutations hit what matters and not only one of 30,000 numbers."""
    scipy_io = pytest.importorskip("scipy.io")
    folder, rng = tmp_path / "sources", np.random.default_rng(0)
    folder.mkdir()
    sample = (ntu_samples / "NTU" / "skeleton" / "S001C001P001R001A001.skeleton").read_text().splitlines()
    (folder / "S001C001P001R001A001.skeleton").write_text("\n".join(["5", *sample[1 : 1 + 5 * 28]]) + "\n")
    bodies = [[(n, rng.normal(size=(25, 3))) for n in range(t % 3)] for t in range(8)]
    (folder / "S001C001P001R001A060.skeleton").write_text(skeleton_text(bodies, "\r\n"))
    clip = json.loads((nw_ucla / "a02_s09_e04_v02.json").read_text())
    (folder / "a02_s09_e04_v02.json").write_text(json.dumps(clip))
    (folder / "a10_s1_t1_skeleton.mat").write_bytes((utd_mhad / "a10_s1_t1_skeleton.mat").read_bytes())
    scipy_io.savemat(folder / "a11_s1_t1_skeleton.mat", {"d_skel": rng.normal(size=(20, 3, 4))})  # not compressed
    pixels = rng.uniform(50, 400, (4, 17, 2)).astype(np.float32)
    np.savez(folder / "WatchTV_p02_r03_v05_c05_Alphapose2d.npz", kpts=pixels)
    x, y = rng.normal(size=(2, 6, 150)).astype(np.float32), np.eye(60)[[3, 4]]
    np.savez(tmp_path / "x.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "x.npz").rename(folder / "NTU60_CS.ctr")
    for protocol in (2, 5):
        keypoint = rng.normal(size=(1, 3, 25, 3)).astype(np.float16)
        content = {
            "split": {"xsub_train": ["a"]},
            "annotations": [{"frame_dir": "a", "label": 1, "keypoint": keypoint}],
        }
        (folder / f"pyskl{protocol}.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    return folder


def run(folder, count, seed):
    command = [sys.executable, "-c", _FUZZ, str(folder), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [int(number) for number in done.stdout.split()]


def test_a_thousand_damaged_files(sources):
    refused, read = run(sources, 112, 0)
    assert refused + read == 112 * len(list(sources.iterdir())) > 1000
    assert refused > 500  # the mutations bite
    assert read > 20  # and do not only make rubbish


def test_damage_behind_the_checksum(sources, tmp_path):
    """A compressed file's checksum catches most damage; what was damaged before compression reaches the reader."""
    path = tmp_path / "a11_s1_t1_skeleton.mat"
    data, rng, refused = (sources / path.name).read_bytes(), np.random.default_rng(1), 0
    for number in range(400):
        body = bytearray(data[128:])
        for _ in range(rng.integers(1, 3)):
            body[int(rng.integers(0, 72))] = int(rng.integers(0, 256))  # tags, flags, shape and name
        packed = zlib.compress(bytes(body))
        packed = (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed
        path.write_bytes(data[:128] + (packed if number % 2 else bytes(body)))
        try:
            joints = read_utd(path)
        except BadInput as error:
            refused += len(str(error).splitlines())
            continue
        assert joints.shape == (4, 20, 3)
        assert np.isfinite(joints).all()
    assert 200 < refused < 400  # one line each
