from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.monitor.trace import ReplaySource, TraceHeader, TraceWriter, read_trace

HEADER = {
    "layout": "coco17", "estimator": "by hand", "source": "rtsp://***@cam/x", "epoch": 0.0, "fps": 30.0,
    "size": (360, 640), "model": "stand-in tiny", "model_sha256": "0" * 64, "config": {"every_s": 0.25},
}  # fmt: skip


@pytest.fixture
def recorded(make_body, tmp_path):
    """(path, what was written): 40 frames of none to two people, with numbers that are hard to print."""
    rng = np.random.default_rng(0)
    frames = []
    for t in range(40):
        bodies = [make_body(100 + t, 300, noise=2, rng=rng), make_body(400, 300, noise=2, rng=rng)][: t % 3]
        for body in bodies:
            body.joints[0] = np.array([1e-41, -0.0, 3.4028235e38], np.float32)
            body.joints[1:4] = np.nextafter(np.float32(0.1), rng.random((3, 3), np.float32))
        frames.append((t / 30 + 1e-9, bodies))
    path = tmp_path / "a.skr"
    write(path, frames)
    return path, frames


def write(path, frames):
    writer = TraceWriter(path, TraceHeader(**HEADER))
    for timestamp, bodies in frames:
        writer.write(timestamp, bodies)
    writer.close()


def bits(body):
    arrays = (body.joints, body.keypoints_px, body.visibility)
    assert all(array.dtype == np.float32 for array in arrays)
    return (*(array.tobytes() for array in arrays), body.layout, body.box, body.score)


def same(got, wanted):
    return [(t, [bits(b) for b in bodies]) for t, bodies in got] == [
        (t, [bits(b) for b in bodies]) for t, bodies in wanted
    ]


def test_every_bit_comes_back(recorded):
    path, frames = recorded
    header, records = read_trace(path)
    assert header == TraceHeader(**HEADER)
    assert same(records, frames)


def test_it_is_json_lines_that_other_tools_read(recorded):
    path, frames = recorded
    with gzip.open(path, "rt") as file:
        lines = [json.loads(line) for line in file]
    assert lines[0]["format"] == "ski-edge-trace"
    assert [line["t"] for line in lines[1:]] == [t for t, _ in frames]
    assert len(lines[3]["bodies"][0]["joints"]) == 51


def test_a_trace_is_a_source(recorded):
    path, frames = recorded
    source = ReplaySource(path)
    assert (source.live, source.fps, source.size, source.expected_frames) == (False, 30.0, (360, 640), 40)
    assert source.seconds == frames[-1][0]
    assert source.first.image.shape == (360, 640, 3)
    for _ in range(2):  # it can be played again
        played = [(frame.timestamp, frame.bodies) for frame in source.frames()]
        assert same(played, frames)
        assert all(frame.due for frame in source.frames())


def test_a_killed_recording_is_read_up_to_its_last_whole_record(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
import numpy as np
from ski_edge.monitor.pose import Body
from ski_edge.monitor.trace import TraceHeader, TraceWriter
writer = TraceWriter(Path(sys.argv[1]), TraceHeader.model_validate_json(sys.argv[2]))
for t in range(57):
    array = np.full((17, 3), t / 7, np.float32)
    body = Body(array, "coco17", array[:, :2] * 100, np.ones(17, np.float32), (0.0, 0.0, 1.0, 1.0), 0.5)
    writer.write(t / 30, [body])
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "killed.skr"
    header = TraceHeader(**HEADER).model_dump_json()
    done = subprocess.run([sys.executable, "-c", code, str(path), header], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert ReplaySource(path).expected_frames == 57


def test_cut_anywhere_it_holds_a_beginning(recorded, tmp_path):
    path, frames = recorded
    data = path.read_bytes()
    counts = []
    for length in range(0, len(data), 401):
        (tmp_path / "cut.skr").write_bytes(data[:length])
        try:
            records = list(read_trace(tmp_path / "cut.skr")[1])
        except BadInput:
            records = []
            assert counts.count(0) == len(counts)  # only where not even the header is whole
        assert same(records, frames[: len(records)])
        counts.append(len(records))
    assert counts == sorted(counts)
    assert counts[-1] >= 38


def damage(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + rng.randrange(1, 20)] = rng.randbytes(rng.randrange(20))
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 200)]
        else:
            changed += changed[at : at + rng.randrange(1, 200)]
    return bytes(changed)


@pytest.mark.parametrize("inside", [False, True])
def test_two_hundred_mutations_never_pass_as_data(recorded, tmp_path, inside):
    """inside: the text is damaged and gzipped anew, so that only the records' own checks stand guard."""
    path, frames = recorded
    data = gzip.decompress(path.read_bytes()) if inside else path.read_bytes()
    rng = random.Random(7)
    refused, victim = [], tmp_path / "victim.skr"
    for _ in range(200):
        changed = damage(data, rng)
        victim.write_bytes(gzip.compress(changed, 1) if inside else changed)
        got = []
        try:
            for record in read_trace(victim)[1]:
                got.append(record)
        except BadInput as error:
            refused.append(str(error))
        assert same(got, frames[: len(got)])  # what came before the damage is right
    assert len(refused) > 120
    assert all("\n" not in line and str(victim) in line for line in refused)


def lines_with_crc(*rests):
    return b"".join(b'{"crc":"%08x",' % zlib.crc32(rest) + rest for rest in rests)


def header_line(**changes):
    return json.dumps({**json.loads(TraceHeader(**HEADER).model_dump_json()), **changes})[1:].encode() + b"\n"


BODY = {"joints": [0.0] * 51, "pixels": [0.0] * 34, "visibility": [1.0] * 17, "box": [0, 0, 1, 1], "score": 1.0}


def record_line(t=0.0, **changes):
    return json.dumps({"t": t, "bodies": [{**BODY, **changes}]})[1:].encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no header"),
        (b"hello, I am text", "is not a trace or is damaged"),
        (gzip.compress(b'{"a": 1}\n'), "header is not a trace's"),
        (gzip.compress(b"x" * 5_000_000), "line above"),
        (gzip.compress(lines_with_crc(header_line(version=2))), "version"),
        (gzip.compress(lines_with_crc(header_line(layout="kinect99"))), "'kinect99' is not built in"),
        (gzip.compress(lines_with_crc(header_line(surprise=1))), "surprise"),
        (gzip.compress(lines_with_crc(header_line())), "holds no record"),
        (gzip.compress(lines_with_crc(header_line(), record_line(joints=[0.0] * 50))), "must have 17 joints"),
        (gzip.compress(lines_with_crc(header_line(), record_line(joints=[1e300] * 51))), "does not fit float32"),
        (gzip.compress(lines_with_crc(header_line(), record_line(joints=[float("nan")] * 51))), "record 1: "),
        (gzip.compress(lines_with_crc(header_line(), record_line(visibility=[2.0] * 17))), "less than or equal to 1"),
        (gzip.compress(lines_with_crc(header_line(), record_line(1.0), record_line(1.0))), "does not follow"),
        (gzip.compress(lines_with_crc(header_line(), record_line())) + b"more", "goes on after its end"),
    ],
)
def test_what_is_no_trace_is_said_in_one_line(tmp_path, content, says):
    path = tmp_path / "x.skr"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        ReplaySource(path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        ReplaySource(tmp_path / "no.skr")
    with pytest.raises(BadInput, match="is a directory"):
        ReplaySource(tmp_path)


def test_a_full_disk_is_one_line(tmp_path, make_body):
    writer = TraceWriter(tmp_path / "full.skr", TraceHeader(**HEADER))
    writer._file.close()
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the writer closes it
    with pytest.raises(BadInput, match="could not be written on: No space left"):
        writer.write(0.0, [make_body(1, 1)])
    with pytest.raises(BadInput, match="No space left"):
        writer.close()
    assert writer._file.closed


def test_a_recording_is_never_overwritten_unasked(recorded):
    path, frames = recorded
    before = path.read_bytes()
    with pytest.raises(BadInput, match="exists; give another name, or --overwrite"):
        write(path, frames)
    assert path.read_bytes() == before
    with pytest.raises(BadInput, match="cannot be written"):
        write(path.parent / "no" / "x.skr", frames)
