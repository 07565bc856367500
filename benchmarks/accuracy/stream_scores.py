"""What a stream makes of weights: an `stgcn` bundle on prepared clips, as windows and frame by frame.

    ski-edge data prepare utd --raw UTD-MHAD/Skeleton --out data/utd
    ski-edge train utd-ctrgcn model=stgcn arch=tiny epochs=20 'drops=[12,17]' warmup_epochs=2 \\
        skeleton.resample.frames=128 --out runs/stgcn        # with options.temporal=unpadded: trained for streams
    ski-edge export --model stgcn --weights runs/stgcn/checkpoint --out runs/export/stgcn
    python benchmarks/accuracy/stream_scores.py --bundle runs/export/stgcn --data data/utd --split odd-even

Each clip is a window of the bundle's frames; a stream sees the same frames one by one and answers at the last.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ski_edge
from ski_edge.data.clips import load_clips
from ski_edge.data.splits import split
from ski_edge.data.store import open_data
from ski_edge.evaluate import measure
from ski_edge.runtime.measure import machine
from ski_edge.skeleton import prepare
from ski_edge.testing.results import write_result


def streamed(bundle: Path, clips: list[np.ndarray], spec: object, threads: int) -> np.ndarray:
    """Logits [N, K] of each clip's last frame."""
    frames = spec.resample.frames
    stream, logits = ski_edge.SkeletonStream(bundle, window=frames, threads=threads), []
    for clip in clips:
        stream.reset()
        for frame in prepare(clip, spec).transpose(1, 0, 2, 3):
            found = stream.step(frame)
        logits.append(found["logits"])
    return np.stack(logits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that `ski-edge data prepare` wrote")
    parser.add_argument("--split", required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    session = ski_edge.open_bundle(given.bundle, threads=given.threads)
    manifest, data = session.manifest, open_data(given.data)
    test = split(data, given.split)[1]
    clips = load_clips(data, test, manifest.skeleton)
    names = [data.index.classes[k] for k in data.labels[test]]
    labels = np.array([session.classes.index(name) for name in names])
    window = session.classify(clips)
    stream = streamed(given.bundle, clips, manifest.skeleton, given.threads)
    record = {
        "weights": manifest.provenance.weights,
        "weights_sha256": manifest.provenance.weights_sha256,
        "arch": manifest.arch,
        "streaming": manifest.streaming and manifest.streaming.model_dump(),
        "data": given.data.name,
        "split": given.split,
        "clips": len(clips),
        "frames": manifest.skeleton.resample.frames,
        "window_top1_percent": measure(window, labels).top1,
        "stream_top1_percent": measure(stream, labels).top1,
        "same_class_percent": 100 * float((window.argmax(1) == stream.argmax(1)).mean()),
        "largest_score_change": float(np.abs(session.score(window) - session.score(stream)).max()),
    }
    print(record)
    print(write_result("stream_scores", machine(), record))


if __name__ == "__main__":
    main()
