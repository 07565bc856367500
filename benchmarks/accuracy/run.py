"""Accuracy on NW-UCLA and UTD-MHAD: trains what is missing, evaluates, adds up streams, keeps logs and a table.

    python benchmarks/accuracy/run.py                      everything, original sizes; hours on a CPU
    python benchmarks/accuracy/run.py --set utd            one data set
    python benchmarks/accuracy/run.py --arch small         half the width
    python benchmarks/accuracy/run.py --stop-after 9m      stop in time; the same command goes on
    python benchmarks/accuracy/run.py --collect            train nothing, report what is finished

Prepared data is expected in data/ucla and data/utd (`ski-edge data prepare`). Runs are processes side by side: their
batches are small, so several share one GPU.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.cli.output import seconds
from ski_edge.evaluate import measure
from ski_edge.evaluate.ensemble import CTRGCN, combine
from ski_edge.evaluate.scores import read_scores
from ski_edge.files import write_json
from ski_edge.runtime.measure import machine
from ski_edge.skeleton import MODALITIES

RUNS, RESULTS = Path("runs/accuracy"), Path("benchmarks/results/accuracy")
SPLIT = {"ucla": "cross-view", "utd": "odd-even"}
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Run:
    """One training run of a recipe with changes."""

    data: str
    model: str
    modality: str
    seed: int
    select: str
    arch: str

    @property
    def name(self) -> str:
        return f"{self.data}-{self.model}-{self.arch}-{self.modality}-{self.select}-s{self.seed}"

    def command(self, extra: list[str], stop_after: str | None) -> list[str]:
        changes = [f"skeleton.modality={self.modality}", f"seed={self.seed}", f"arch={self.arch}"]
        if self.select != "default":
            changes.append(f"select={self.select}")
        if self.model != "ctrgcn":
            changes.append(f"model={self.model}")
        limit = ["--stop-after", stop_after] if stop_after else []
        recipe = f"{self.data}-ctrgcn"
        return ["ski-edge", "train", recipe, *changes, *extra, "--out", str(RUNS / self.name), "--resume", *limit]

    @property
    def finished(self) -> bool:
        result = RUNS / self.name / "result.json"
        return result.is_file() and json.loads(result.read_text())["finished"]


def wanted(sets: list[str], arch: str) -> list[Run]:
    """Joint with three seeds; four streams with the recipe's choice and with the originals' (on the test part)."""
    runs = []
    for data in sets:
        runs += [Run(data, "ctrgcn", "joint", seed, "default", arch) for seed in SEEDS]
        runs += [Run(data, "ctrgcn", modality, 1, "default", arch) for modality in MODALITIES[1:]]
        runs += [Run(data, "ctrgcn", modality, 1, "test", arch) for modality in MODALITIES]
        runs += [Run(data, model, "joint", 1, "default", arch) for model in ("stgcn", "hyperformer")]
    return runs


def train(runs: list[Run], processes: int, extra: list[str], stop_after: str | None) -> None:
    """All unfinished runs, `processes` at a time; each has its own log file."""
    end = time.monotonic() + seconds(stop_after, "--stop-after") if stop_after else None

    def one(run: Run) -> None:
        left = end - time.monotonic() if end is not None else None
        if left is not None and left < 20:
            return
        (RUNS / f"{run.name}.log").parent.mkdir(parents=True, exist_ok=True)
        with open(RUNS / f"{run.name}.log", "a") as log:
            command = run.command(extra, f"{left:.0f}s" if left is not None else None)
            subprocess.run(command, stdout=log, stderr=log, check=False)
        print(f"{run.name}: {'finished' if run.finished else 'not finished, see its .log'}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        list(pool.map(one, [run for run in runs if not run.finished]))


def collect(runs: list[Run], arch: str) -> dict[str, object]:
    """Scores, ensembles and logs of what is finished, under benchmarks/results/accuracy."""
    done = [run for run in runs if run.finished]
    rows = []
    for run in done:
        folder, kept = RUNS / run.name, RESULTS / run.name
        if not (folder / "report" / "scores.npz").is_file():
            split = ["--data", f"data/{run.data}", "--split", SPLIT[run.data]]
            command = ["ski-edge", "evaluate", str(folder / "checkpoint"), *split, "--out", str(folder / "report")]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        kept.mkdir(parents=True, exist_ok=True)
        for name in ("recipe.json", "log.csv", "result.json", "report/metrics.json", "report/confusion.csv"):
            shutil.copyfile(folder / name, kept / Path(name).name)
        result = json.loads((folder / "result.json").read_text())
        keys = ("test_top1", "last_epoch_test_top1", "test_mean_recall", "chosen_epoch", "epochs", "clips")
        row = {"run": run.name, "chosen_by": result["chosen_by"], **{key: result[key] for key in keys}}
        recipe = json.loads((folder / "recipe.json").read_text())
        row |= {key: recipe[key] for key in ("repeat", "batch_size", "lr", "schedule", "precision")}
        rows.append({**row, "seconds": result["seconds"]})
    summary: dict[str, object] = {"device": machine(), "runs": rows, "joint_over_seeds": {}, "four_streams": {}}
    for key in sorted({(r.data, r.model, r.arch, r.select) for r in done}):
        group = [run for run in done if (run.data, run.model, run.arch, run.select) == key]
        joint = [
            row["test_top1"] for row in rows for run in group if row["run"] == run.name and run.modality == "joint"
        ]
        if len(joint) > 1:
            spread = {"mean": np.mean(joint), "std": np.std(joint, ddof=1), "seeds": len(joint), "values": joint}
            summary["joint_over_seeds"]["-".join(key)] = spread
        first = {run.modality: run for run in group if run.seed == 1}
        if set(first) == set(MODALITIES):
            streams = [read_scores(RUNS / first[m].name / "report" / "scores.npz") for m in MODALITIES]
            total = combine(streams, CTRGCN)
            summary["four_streams"]["-".join(key)] = {
                "top1": measure(total.logits, total.labels).top1,
                "streams": {m: measure(s.logits, s.labels).top1 for m, s in zip(MODALITIES, streams, strict=True)},
            }
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / f"summary-{arch}.json", summary)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=sorted(SPLIT), action="append")
    parser.add_argument("--arch", default="base", choices=("base", "small", "tiny"))
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--stop-after")
    parser.add_argument("--collect", action="store_true")
    parser.add_argument("changes", nargs="*", help="further KEY=VALUE for every recipe")
    given = parser.parse_args()
    runs = wanted(given.set or sorted(SPLIT), given.arch)
    if not given.collect:
        train(runs, given.processes, given.changes, given.stop_after)
    summary = collect(runs, given.arch)
    print(json.dumps({key: summary[key] for key in ("joint_over_seeds", "four_streams")}, indent=2))
    left = [run.name for run in runs if not run.finished]
    if left:
        print(f"{len(left)} of {len(runs)} runs are not finished; the same command goes on", file=sys.stderr)


if __name__ == "__main__":
    main()
