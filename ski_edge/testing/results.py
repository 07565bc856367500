"""Where measurements are kept: benchmarks/results/<machine>/<date>-<name>.json in the checkout."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import re
import subprocess
import warnings
from pathlib import Path

from ski_edge.files import write_json

ROOT = Path(__file__).resolve().parents[2]
_BUSY = 0.7  # processes


def write_result(name: str, device: dict[str, object], content: dict[str, object]) -> Path:
    """Write one result file; device: as `ski_edge.runtime.measure.machine` gives it."""
    machine = re.sub(r"[^a-z0-9]+", "-", f"{device['cpu']} {device['cores']} cores".lower()).strip("-")
    today = datetime.date.today()
    path = ROOT / "benchmarks" / "results" / machine / f"{today}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"name": name, "date": str(today), "device": device, **content})
    return path.relative_to(ROOT)


def load() -> float:
    """Processes that want to run here, over the last minute; a measurement begun beside others is warned of."""
    busy = os.getloadavg()[0]
    if busy > _BUSY:
        warnings.warn(f"load {busy:.1f}: others run here, these numbers are no measurement", stacklevel=2)
    return busy


def versions() -> dict[str, str]:
    """Of the libraries that benchmarks compare with, where they are installed."""
    found = {}
    for name in ("torch", "onnxruntime", "openvino", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def commit() -> str:
    """Of this checkout, `+` where files differ from it; empty outside of one."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
