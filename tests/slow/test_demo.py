"""`make demo` with real footage and MediaPipe's pose file: trained weights watch real people."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_demo_watches_people(tmp_path, videos):
    data = (ROOT / os.environ.get("SKI_EDGE_DATA", "../shared/data")).resolve()
    if not (data / "pose_landmarker_full.task").is_file():
        pytest.skip(f"no {data / 'pose_landmarker_full.task'}; set SKI_EDGE_DATA to the folder that holds it")
    env = {**os.environ, "SKI_EDGE_DATA": str(data), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, ROOT / "benchmarks" / "demo.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "real footage" in done.stdout
    for name in ("annotated.mp4", "timeline.png", "events.jsonl"):
        assert (tmp_path / "runs" / "demo" / "people" / name).stat().st_size > 0
        assert name in done.stdout
    assert (tmp_path / "runs" / "demo" / "bundle" / "manifest.json").is_file()
