from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.monitor.sources import FrameReader, Source, open_source
from ski_edge.runtime import Sampler
from ski_edge.testing.clips import moving_shapes


def read(path):
    source = open_source(str(path))
    frames = list(source.frames())
    source.close()
    return source, frames


def test_a_clean_file(generated_video):
    source, frames = read(generated_video)
    assert (source.kind, source.live, source.size) == ("file", False, (240, 320))
    assert len(frames) == source.stats.decoded == 120
    assert source.lost == 0
    np.testing.assert_allclose([f.timestamp for f in frames], np.arange(120) / 30, atol=1e-3)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous


def test_colours_are_rgb(tmp_path):
    import cv2

    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, :, 2] = 255  # OpenCV writes BGR
    for _ in range(3):
        writer.write(frame)
    writer.release()
    image = read(path)[1][0].image
    assert image[..., 0].min() > 200
    assert image[..., 2].max() < 60


def test_a_corrupted_file_gives_what_decodes_and_counts_the_loss(videos):
    source, frames = read(videos / "decord" / "corrupted.mp4")
    assert len(frames) == 28
    assert (source.expected_frames, source.lost) == (50, 22)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("video_0.mov", (320, 568)),
        ("video_90.mov", (568, 320)),
        ("video_180.mov", (320, 568)),
        ("video_270.mov", (568, 320)),
    ],
)
def test_rotation_metadata_is_honoured(videos, name, size):
    source, frames = read(videos / "decord" / name)
    assert source.size == size
    assert len(frames) == 3


def test_rotated_copies_show_the_same_picture(videos):
    """The four files hold one scene filmed at four angles: once upright, they agree."""
    for pair in ((0, 180), (90, 270)):
        upright = [read(videos / "decord" / f"video_{angle}.mov")[1][0].image for angle in pair]
        same = np.abs(upright[0].astype(float) - upright[1]).mean()
        turned = np.abs(upright[0].astype(float) - upright[1][::-1, ::-1]).mean()
        assert same < turned, pair


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("mmaction2/test.avi", 164),
        ("decord/unordered.mov", 4),
        ("decord/flipping_a_pancake.mkv", 310),
        ("mmaction2/demo.mp4", 280),
    ],
)
def test_times_always_grow(videos, name, frames):
    source, got = read(videos / name)
    assert len(got) == frames
    assert source.lost == 0
    times = np.array([frame.timestamp for frame in got])
    assert (np.diff(times) > 0).all()
    # The clock runs at the file's speed, also where its own time stamps are broken.
    assert times[-1] - times[0] == pytest.approx((frames - 1) / source.fps, rel=0.05)


def text_file(path):
    path.write_text("this is not a video\n" * 100)


def cut_to_header(path):
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(500))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory; give one video file"),
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (text_file, "cannot be opened: not a video"),
        (cut_to_header, "cannot be opened: not a video"),
    ],
)
def test_what_is_not_a_video(tmp_path, make, says):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(BadInput) as error:
        open_source(str(path))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [text_file, cut_to_header])
def test_the_libraries_below_are_quiet(tmp_path, make, without_torch, tiny_bundle):
    """In a process of its own, since FFmpeg reads its log level once: our line is the only one."""
    make(tmp_path / "clip.mp4")
    code = "from ski_edge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    done = without_torch(code, "monitor", "-m", tiny_bundle, "-s", tmp_path / "clip.mp4", "--headless")
    assert done.returncode == 2
    assert done.stderr.startswith("error: source ")
    assert done.stderr.count("\n") == 1


def test_cameras_and_schemes_that_are_not_there():
    with pytest.raises(BadInput, match="camera 97 cannot be opened: no such camera"):
        open_source("97")
    with pytest.raises(BadInput, match="gopher:// is not known; use a path, 0, or rtsp"):
        open_source("gopher://x")


def test_a_refused_stream_fails_at_once_and_hides_the_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadInput) as error:
        open_source(f"rtsp://user:secret@127.0.0.1:{port}/live", timeout_s=5)
    assert "secret" not in str(error.value)
    assert f"rtsp://***@127.0.0.1:{port}/live cannot be opened" in str(error.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_silent_server_meets_the_time_out(scheme):
    """It accepts the connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        start = time.monotonic()
        with pytest.raises(BadInput, match="1 s"):
            open_source(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/live", timeout_s=1)
        assert time.monotonic() - start < 30  # FFmpeg's own default


def test_a_real_http_stream(tmp_path):
    """Motion JPEG served by a real server on loopback, read as a live source."""
    import functools
    import http.server

    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "live.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 240))
    for frame in moving_shapes(60):
        writer.write(frame)
    writer.release()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        source = open_source(f"http://user:pw@127.0.0.1:{server.server_port}/live.avi")
        assert source.live
        assert "pw" not in source.name
        assert sum(1 for _ in source.frames()) == 60
        source.close()
    finally:
        server.shutdown()


def test_a_sampler_marks_frames_and_can_skip_the_pictures_of_others(generated_video):
    want = np.ceil(np.arange(16) * 0.25 * 30 - 1e-6) / 30
    source = open_source(str(generated_video))
    every = list(source.frames(Sampler(0.25)))
    assert len(every) == 120
    np.testing.assert_allclose([f.timestamp for f in every if f.due], want, atol=1e-3)
    source = open_source(str(generated_video))
    frames = list(source.frames(Sampler(0.25), only_due=True))
    assert source.stats.decoded == 120
    np.testing.assert_allclose([f.timestamp for f in frames], want, atol=1e-3)
    np.testing.assert_array_equal(frames[3].image, every[round(want[3] * 30)].image)


class Clock:
    """A capture whose time stamps are given; everything else OpenCV would say."""

    def __init__(self, stamps_s):
        self.stamps, self.now = list(stamps_s), -1

    def get(self, key):
        import cv2

        table = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_FRAME_COUNT: len(self.stamps)}
        return self.stamps[self.now] * 1000 if key == cv2.CAP_PROP_POS_MSEC else table[key]

    def grab(self):
        self.now += 1
        return self.now < len(self.stamps)

    def retrieve(self):
        return True, np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),
        ([5.0, 5.1, 5.2], [0, 0.1, 0.2]),  # a file that does not start at 0
        ([0, 0.1, 0.1, 0.0, 0.1], [0, 0.1, 0.2, 0.3, 0.4]),  # stands still, jumps back
        ([0, 0.1, 5000, 5000.1], [0, 0.1, 0.2, 0.3]),  # a leap that would freeze --realtime for an hour
        ([0, 2, 4], [0, 2, 4]),  # slow surveillance recordings are real
        ([0, float("nan"), 0.2], [0, 0.1, 0.2]),
    ],
)
def test_broken_times_are_mended(stamps, expected):
    source = Source(Clock(stamps), "x", "file")
    np.testing.assert_allclose([frame.timestamp for frame in source.frames()], expected, atol=1e-9)


@pytest.mark.parametrize("name", ["2026-11-21T01:16:19.mp4", "cost $5 $x_{$.mp4", "two words’ größe 料理.mp4"])
def test_awkward_file_names(generated_video, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(generated_video.read_bytes())
    assert open_source(name).first.image.shape == (240, 320, 3)


@pytest.mark.parametrize("name", ["Stra\udcdfe.mp4", "", " "])
def test_impossible_file_names(name):
    with pytest.raises(BadInput, match=r"is not UTF-8; rename it|source is empty"):
        open_source(name)


def test_reader_can_be_stopped_while_no_frame_comes():
    release = threading.Event()

    class Silent(Clock):
        def grab(self):
            if self.now >= 1:
                release.wait(60)
            return super().grab()

        def release(self):
            pass

    reader = FrameReader(Source(Silent([0, 0.1, 0.2]), "x", "file"), "block")
    seen = []
    threading.Timer(0.5, reader.stop).start()
    seen.extend(reader)
    assert len(seen) == 2  # and this line is reached long before the 60 s are over
    release.set()
    reader.close()


def test_reader_that_blocks_loses_nothing(generated_video):
    source = open_source(str(generated_video))
    reader = FrameReader(source, "block", depth=2)
    count = 0
    for _ in reader:
        count += 1
        time.sleep(0.001)
    reader.close()
    assert (count, source.stats.dropped) == (120, 0)


def test_reader_that_drops_keeps_the_newest_and_counts(generated_video):
    source = open_source(str(generated_video))
    reader = FrameReader(source, "drop-oldest", depth=4)
    frames = iter(reader)
    first = next(frames)
    while source.stats.decoded < 120 or reader._thread.is_alive():  # the decoder runs ahead of a slow consumer
        time.sleep(0.05)
    rest = list(frames)
    reader.close()
    assert first.timestamp == 0
    assert len(rest) <= 4
    assert rest[-1].timestamp == pytest.approx(119 / 30, abs=1e-3)
    assert source.stats.dropped == 120 - 1 - len(rest)


def test_paced_reader_keeps_recorded_speed(generated_video):
    source = open_source(str(generated_video))
    reader = FrameReader(source, "drop-oldest", paced=True)
    start = time.monotonic()
    times = [(frame.timestamp, frame.arrived - start) for frame in reader if frame.timestamp < 1.0 or reader.close()]
    media, wall = np.array(times).T
    assert len(media) == 30
    assert (wall >= media - 1e-3).all()  # never early; how late depends on the machine


def test_closing_early_stops_the_thread(generated_video):
    source = open_source(str(generated_video))
    reader = FrameReader(source, "block", depth=1)
    next(iter(reader))
    reader.close()
    assert not any(thread.name == "frame-reader" for thread in threading.enumerate())
