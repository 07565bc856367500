"""Where measurements are kept: benchmarks/results/<machine>/<date>-<name>.json in the checkout."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from ski_edge.files import write_json

ROOT = Path(__file__).resolve().parents[2]


def write_result(name: str, device: dict[str, object], content: dict[str, object]) -> Path:
    """Write one result file; device: as `ski_edge.runtime.measure.machine` gives it."""
    machine = re.sub(r"[^a-z0-9]+", "-", f"{device['cpu']} {device['cores']} cores".lower()).strip("-")
    today = datetime.date.today()
    path = ROOT / "benchmarks" / "results" / machine / f"{today}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"name": name, "date": str(today), "device": device, **content})
    return path.relative_to(ROOT)
