"""What does one streaming update cost, against encoding one frame and against encoding the whole window again?

Exports ski-vificlip at each arch (random weights: speed only), measures it, and writes
benchmarks/results/<machine>/<date>-stream_update.json. The target (two CPU cores, ViT-B-16): an update costs at most
1.1 of one frame's encoding, re-encoding 16 frames at least 14 updates.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import tempfile
from pathlib import Path

import ski_edge
from ski_edge.files import write_json
from ski_edge.runtime.measure import measure

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["tiny", "ViT-B-32", "ViT-B-16"])
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of measuring per arch")
    arguments = parser.parse_args()
    rows = []
    for arch in arguments.arch:
        with tempfile.TemporaryDirectory() as folder:
            model = ski_edge.create_model("ski-vificlip", arch=arch, seed=0, weights="random (seed 0)")
            bundle = ski_edge.export_model(model, Path(folder) / "bundle")
            del model
            rows.append(measure(bundle, duration_s=arguments.duration))
        row = rows[-1]
        stages = row["stages"]
        print(
            f"{arch:10s} encode p50 {stages['encode']['p50_ms']:8.2f} ms  update p50 {stages['update']['p50_ms']:8.2f} "
            f"(p95 {stages['update']['p95_ms']:.2f}) ms  update/encode {row['update_over_encode']:.3f}  "
            f"re-encode/update {row['reencode_over_update']:.1f}"
        )
    device = rows[0]["device"]
    name = re.sub(r"[^a-z0-9]+", "-", f"{device['cpu']} {device['cores']} cores".lower()).strip("-")
    path = RESULTS / name / f"{datetime.date.today()}-stream_update.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"benchmark": "stream_update", "rows": rows})
    print(json.dumps({"written": str(path.relative_to(RESULTS.parent.parent))}))


if __name__ == "__main__":
    main()
