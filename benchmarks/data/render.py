"""How many frames a second does `ski_edge.data.rendered.render` draw on one core?

One moving body of each layout, at 112 x 112, held things and all backgrounds mixed, OpenCV on one thread. Whole calls
are timed, background included, for clips of 16 and of 64 frames; each row keeps the fastest of several rounds, since
other work may run beside it, and the same clips must come out of every round. Writes
benchmarks/results/<machine>/<date>-render.json.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time

import cv2
import numpy as np

from ski_edge.data.rendered import OBJECTS, draw_look, render
from ski_edge.runtime.measure import machine
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.results import write_result
from ski_edge.testing.skeletons import moving_skeleton


def measure(layout: str, frames: int, looks: int, rounds: int) -> dict[str, object]:
    """One row. Every look is timed by itself, and its fastest round counts."""
    clip = moving_skeleton(LAYOUTS[layout], frames)
    best = np.full(looks, np.inf)
    digests: list[str] = [""] * looks
    for _ in range(rounds):
        for seed in range(looks):
            look = draw_look(np.random.default_rng(seed), OBJECTS[seed % len(OBJECTS)] if seed % 2 else None)
            start = time.perf_counter()
            pixels = render(clip, layout, look)
            best[seed] = min(best[seed], time.perf_counter() - start)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            assert digests[seed] in ("", digest), f"look {seed} came out differently"
            digests[seed] = digest
    rates = frames / best
    return {
        "layout": layout,
        "frames": frames,
        "frames_per_s": round(looks * frames / float(best.sum()), 1),
        "slowest_look_frames_per_s": round(float(rates.min()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--looks", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    load = os.getloadavg()[0]
    rows = []
    for layout in ("kinect20", "utd20", "ntu25"):
        for frames in (16, 64):
            row = measure(layout, frames, arguments.looks, arguments.rounds)
            rates = f"{row['frames_per_s']:.0f} frames/s, slowest look {row['slowest_look_frames_per_s']:.0f}"
            print(f"{layout}, clips of {frames} frames: {rates}")
            rows.append(row)
    content = {"size": 112, "bodies": 1, "threads": 1, "opencv": cv2.__version__, "load_at_start": load}
    print(write_result("render", machine(), {**content, "rows": rows}))


if __name__ == "__main__":
    main()
