"""A real RTSP stream: opened, watched for a while, and lost when the server dies."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

import ski_edge
from ski_edge.monitor import Monitor, MonitorOptions, open_source
from ski_edge.monitor.store import read_events

PYTHON = "/usr/bin/python3"
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"


@pytest.fixture
def server():
    script = Path(__file__).with_name("rtsp_server.py")
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", check], capture_output=True).returncode:
        pytest.skip(f"no GStreamer RTSP server here; install: {PACKAGES}")
    process = subprocess.Popen([PYTHON, script], stdout=subprocess.PIPE, text=True)
    port = process.stdout.readline().strip()
    yield process, f"rtsp://viewer:secret@127.0.0.1:{port}/live"
    process.kill()
    process.wait()


def test_live_stream_becomes_events_until_it_ends(server, tiny_bundle, tmp_path):
    process, url = server
    source = open_source(url, timeout_s=10)
    assert source.live
    assert source.size == (240, 320)
    monitor = Monitor(ski_edge.open_bundle(tiny_bundle), source, MonitorOptions(out=tmp_path, save_video=True))
    threading.Timer(4.0, process.kill).start()
    began = time.time()
    summary = monitor.run()
    assert summary.stopped.startswith("the stream ended")
    assert summary.updates >= 1
    rows = read_events(tmp_path)
    assert began - 5 < rows[0]["start_time"] < time.time()  # Unix time for live sources
    assert rows[-1]["end_time"] >= rows[-1]["start_time"]
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes(), path


def test_command_stops_after_a_duration(server, cli, tiny_bundle, tmp_path):
    url = server[1]
    code, out, err = cli("monitor", "-m", tiny_bundle, "-s", url, "--out", tmp_path / "o", "--duration", "2s", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["stopped"] == "--duration reached"
    assert "secret" not in out + err
    assert not (tmp_path / "o" / "annotated.mp4").exists()  # pictures of cameras are kept only when asked for


def test_unknown_path_on_a_real_server(server, fails_clean, tiny_bundle, tmp_path):
    url = server[1].replace("/live", "/nothing")
    line = fails_clean("monitor", "-m", tiny_bundle, "-s", url, "--out", tmp_path / "o", says="cannot be opened")
    assert "secret" not in line
    assert not (tmp_path / "o").exists()
