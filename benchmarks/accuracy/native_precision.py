"""What bfloat16 changes on trained weights: a bundle on prepared clips, native fp32 against native bf16.

    ski-edge data prepare utd --raw UTD-MHAD/Skeleton --out data/utd
    python benchmarks/accuracy/native_precision.py --data data/utd [--bundle utd27]

Says how often the best class stays the same and how far scores move. ONNX Runtime's distance from native fp32 is there
for comparison; on a bundle with fp16 storage it is mostly that: its graph rounds folded weights, the tensors are
rounded as they were trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ski_edge.data.clips import load_clips
from ski_edge.data.store import open_data
from ski_edge.runtime import open_bundle
from ski_edge.runtime.measure import machine
from ski_edge.testing.results import write_result


def change(scores: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Scores [N, K] of two runs: agreement of the best class in per cent, largest change of any score."""
    largest = np.abs(scores - others).max(axis=1)
    return {
        "top1_agreement_percent": 100 * float((scores.argmax(1) == others.argmax(1)).mean()),
        "max_score_change": float(largest.max()),
        "p99_score_change": float(np.percentile(largest, 99)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `ski-edge data prepare` wrote")
    parser.add_argument("--bundle", default="utd27")
    given = parser.parse_args()
    sessions = {
        "fp32": open_bundle(given.bundle, "native", "cpu"),
        "bf16": open_bundle(given.bundle, "native", "cpu", precision="bf16"),
        "onnxruntime": open_bundle(given.bundle, "onnxruntime", "cpu"),
    }
    data = open_data(given.data)
    clips = load_clips(data, np.arange(len(data)), sessions["fp32"].manifest.skeleton)
    scores = {name: session.score(session.classify(clips)) for name, session in sessions.items()}
    record = {
        "bundle": given.bundle,
        "weights": sessions["fp32"].manifest.provenance.weights,
        "clips": len(clips),
        "bf16": change(scores["fp32"], scores["bf16"]),
        "onnxruntime": change(scores["fp32"], scores["onnxruntime"]),
    }
    print(record)
    print(write_result("native_precision", machine(), record))


if __name__ == "__main__":
    main()
