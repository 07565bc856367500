"""Tiny networks once each, with neither torch nor a check of the numbers: what compute-sanitizer watches.

python tiny.py FOLDER DEVICE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from ski_edge import _native


def main() -> None:
    folder, device = Path(sys.argv[1]), int(sys.argv[2])
    random = np.random.default_rng(0)
    for path in sorted(folder.glob("*/spec.json")):
        spec = json.loads(path.read_text())
        for precision in ("fp16", "fp32"):
            engine = _native.cuda_engine(path.parent / "model.safetensors", device=device, precision=precision, **spec)
            for frames in (7, 20):
                clip = random.normal(size=(2, 3, frames, spec["joints"], spec["persons"])).astype(np.float32)
                clip[1, ..., 1:] = 0
                assert np.isfinite(engine.run(clip)[0]).all()
        print(path.parent.name, "runs", flush=True)


if __name__ == "__main__":
    main()
