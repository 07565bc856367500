"""benchmarks/gpu/run_all.sh goes through all its stages without a GPU, and ends with its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ski_edge import _native

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu" / "run_all.sh"
NO_CUDA = _native.why_not_native() or ("" if _native.build_info()["cuda_archs"] else _native.why_not_cuda())


@pytest.mark.slow
@pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)
def test_dry_run(tmp_path):
    command = [SCRIPT, "--dry-run", "--built", "--limit", "900", "--out", tmp_path]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=1000
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    path = next(tmp_path.glob("*.json"))
    record = json.loads(path.read_text())
    assert done.stdout.splitlines()[-1] == str(path)
    assert all(stage["ok"] for stage in record["stages"].values())
    assert len(record["rows"]) == 9
    for row in record["rows"]:
        assert {"native fp32", "native fp16", "torch eager fp32", "torch eager fp16"} <= set(row["ms"])
        assert not any("wrong" in reason for reason in row["missing"].values())
    assert "torch.compile fp16" in record["rows"][0]["ms"]


@pytest.mark.slow
@pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)
def test_a_run_that_is_out_of_time_prints_what_it_has(tmp_path):
    command = [SCRIPT, "--dry-run", "--built", "--limit", "8", "--out", tmp_path]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 1
    assert "out of time" in done.stdout
    assert done.stdout.splitlines()[-1] == str(next(tmp_path.glob("*.json")))
