"""A process that holds contenders of a case and times them when it is told to: one JSON object a line, in and out.

{"do": "prepare", "case": {...}, "labels": [...] or null}   ->  {"errors": {...}, "missing": {...}}
{"do": "turn", "label": "...", "seconds": 0.2}               ->  {"ms": [...]}
{"do": "peaks"}                                             ->  {"copy_gb_s": ...}
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
from contenders import Contender, compiled, makers, precision_of
from peaks import peaks
from sizes import MOST_ERROR, Case

_MOST_RUNS = 200  # of one turn


class Worker:
    def __init__(self, folder: Path, device: int) -> None:
        self.folder, self.device = folder, device
        self.ready: dict[str, Contender] = {}

    def prepare(self, case: dict, labels: list[str] | None) -> dict:
        """labels: of torch.compile; null for all others."""
        self.ready.clear()
        gc.collect()
        torch.cuda.empty_cache()
        case = Case(**case)
        with np.load(self.folder / f"{case.name}.npz") as stored:
            clip, wanted = stored["clip"], stored["wanted"]
        if labels is None:
            made = makers(self.folder, case, clip, self.device)
        else:
            made = {label: lambda label=label: compiled(self.folder, case, clip, label) for label in labels}
        errors, missing = {}, {}
        for label, make in made.items():
            try:
                contender = make()
            except Exception as error:
                traceback.print_exc(limit=4)
                missing[label] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
                continue
            errors[label] = float(np.abs(contender.result - wanted).max() / np.abs(wanted).max())
            if errors[label] <= MOST_ERROR[precision_of(label)]:  # NaN is not
                self.ready[label] = contender
            else:
                missing[label] = f"wrong: logits are off by {errors[label]:.1e}"
        return {"errors": errors, "missing": missing}

    def turn(self, label: str, seconds: float) -> dict:
        """Milliseconds of as many runs as fit into the seconds, after some that nobody times."""
        times = self.ready[label].times
        slowest = max(times(3))
        return {"ms": times(max(3, min(_MOST_RUNS, int(1000 * seconds / max(slowest, 1e-3)))))}

    def peaks(self) -> dict:
        return peaks()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print must not end up between the answers
    torch.backends.cudnn.benchmark = True
    worker = Worker(Path(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as error:  # the next command may work
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
