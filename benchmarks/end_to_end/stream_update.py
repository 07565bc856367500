"""What does one streaming update cost, against encoding one frame and against encoding the whole window again?

Exports ski-vificlip at each arch (random weights: speed only), measures it with `ski-edge benchmark` in a process of
its own, and writes benchmarks/results/<machine>/<date>-stream_update.json. The target (two CPU cores, ViT-B-16): an
update costs at most 1.1 of one frame's encoding, re-encoding 16 frames at least 14 updates.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ski_edge.testing.results import write_result

CLI = [sys.executable, "-m", "ski_edge.cli.main"]


def measure(arch: str, duration_s: float) -> dict:
    """The record of one arch. Exported and measured apart, so that memory and cold start are the bundle's own."""
    with tempfile.TemporaryDirectory() as folder:
        bundle, out = Path(folder) / "bundle", Path(folder) / "out"
        export = ["export", "--model", "ski-vificlip", "--weights", "random", "--arch", arch, "--out", bundle, "--json"]
        subprocess.run([*CLI, *export], check=True, stdout=subprocess.DEVNULL)
        bench = ["benchmark", "--model", bundle, "--duration", f"{duration_s}s", "--out", out, "--json"]
        return json.loads(subprocess.run([*CLI, *bench], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["tiny", "ViT-B-32", "ViT-B-16"])
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of measuring per arch")
    arguments = parser.parse_args()
    rows = []
    for arch in arguments.arch:
        rows.append(row := measure(arch, arguments.duration))
        stages = row["stages"]
        print(
            f"{arch:10s} encode p50 {stages['encode']['p50_ms']:8.2f} ms  update p50 {stages['update']['p50_ms']:8.2f} "
            f"(p95 {stages['update']['p95_ms']:.2f}) ms  update/encode {row['update_over_encode']:.3f}  "
            f"re-encode/update {row['reencode_over_update']:.1f}  peak {row['peak_rss_mb']:.0f} MB",
            flush=True,
        )
    print(write_result("stream_update", rows[0]["device"], {"rows": rows}))


if __name__ == "__main__":
    main()
