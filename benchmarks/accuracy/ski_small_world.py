"""The SKI paper's claims in the small world: the rows of its tables that can be run on drawn clips.

    python benchmarks/accuracy/ski_small_world.py --seeds 1 2 3 --rows vificlip ski-vificlip

Each seed draws its own classes that are never shown (7 of UTD-MHAD's 27) and its own initial weights; all rows of a
seed share stages, clips and classes, so rows are compared seed by seed. Runs that are there are not run again, and a
stopped one goes on; numbers of runs made elsewhere stay in small_world.json until they are run again (delete it where
recipes changed). Writes benchmarks/results/ski/table.json (for `ski-edge evaluate --table all`), and beside it the
runs' logs and results. Weights of the distillation keep the proportion that they have to cross-entropy in the official
code, which sees bare cosines where ours sees them times 60 (`start_scale`): the paper's 10 becomes 600; the feature row
has 100 times that scale (its loss is a mean over 384 small squares), the projected one 1 times; losses that bring a
temperature of their own keep 1. The row `ski-vificlip-alpha10` takes the paper's number as it stands.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.evaluate.scores import read_scores
from ski_edge.evaluate.statistics import paired, spread
from ski_edge.evaluate.zero_shot import fuse, zero_shot
from ski_edge.files import write_json
from ski_edge.runtime.measure import machine
from ski_edge.train.recipe import read_recipe
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.networks import build_pair
from ski_edge.train.ski.score import report, score
from ski_edge.train.ski.stages import Stages
from ski_edge.train.ski.world import open_world

RUNS, RESULTS = Path("runs/ski"), Path("benchmarks/results/ski")
UNSEEN = 7
PUBLISHED = RESULTS / "small_world.json"
SEEDS = range(1, 21)  # whose runs are looked for when the table is written
SPLIT = f"UTD-MHAD drawn, {UNSEEN} of 27 unseen"
_ONLINE = ("teacher.freeze=false", "teacher.freeze_statistics=false")  # both sides learn, as in the paper
# row -> (recipe, changes, which head is its number)
ROWS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "vificlip": ("vificlip-rendered", (), "video"),
    "ski-vificlip": ("ski-vificlip-rendered", _ONLINE, "video"),
    "offline": ("ski-vificlip-rendered", (), "video"),
    "kl": ("ski-vificlip-rendered", (*_ONLINE, "distil=kl", "alpha=1"), "video"),
    "contrastive": ("ski-vificlip-rendered", (*_ONLINE, "distil=contrastive", "alpha=1"), "video"),
    "features": ("ski-vificlip-rendered", ("objective=feature", "alpha=6000"), "video"),
    "features-projected": ("ski-vificlip-rendered", ("objective=feature-projected", "alpha=60"), "video"),
    "tri-modal": ("ski-vificlip-rendered", (*_ONLINE, "objective=tri-modal", "alpha=1"), "skeleton"),
    "cross-projection": ("ski-vificlip-rendered", (*_ONLINE, "objective=cross-projection"), "skeleton"),
    "ski-vificlip-alpha10": ("ski-vificlip-rendered", (*_ONLINE, "alpha=10"), "video"),
    # The control: objects that say nothing about the class, so that video knows nothing that skeletons do not
    "vificlip-shuffled": ("vificlip-rendered", ("data.rendered.objects=shuffled",), "video"),
    "ski-vificlip-shuffled": ("ski-vificlip-rendered", (*_ONLINE, "data.rendered.objects=shuffled"), "video"),
    "froster": ("froster-rendered", (), "video"),
    "ski-froster": ("ski-froster-rendered", _ONLINE, "video"),
    "xclip": ("xclip-rendered", (), "video"),
    "ski-xclip": ("ski-xclip-rendered", _ONLINE, "video"),
}
_ONLY_TRAIN = ("student.text_tower=null", "bundle=null")  # texts are the sentence encoder's, nothing is exported
# rows of the paper's tables -> rows here
TABLES = {
    ("ski-1", "tri-modal"): "tri-modal",
    ("ski-1", "cross-projection"): "cross-projection",
    ("ski-1", "fusion"): "fusion",
    **{("ski-2", row): row for row in ("skeletonclip", "xclip", "ski-xclip", "froster", "ski-froster")},
    **{("ski-2", row): row for row in ("vificlip", "ski-vificlip")},
    **{("ski-3", row): row for row in ("clip", "xclip", "vificlip", "froster", "ski-vificlip")},
    ("ski-4", "online"): "ski-vificlip",
    ("ski-4", "offline"): "offline",
    ("ski-4", "features"): "features",
    ("ski-4", "features-projected"): "features-projected",
    ("ski-5", "mse"): "ski-vificlip",
    ("ski-5", "kl"): "kl",
    ("ski-5", "contrastive"): "contrastive",
}


def run(row: str, seed: int, threads: int) -> dict[str, Any]:
    """result.json of a row, trained now if it is not there."""
    name, changes, _ = ROWS[row]
    recipe = read_recipe(name, [*changes, *_ONLY_TRAIN, f"seed={seed}", f"data.split=unseen:{UNSEEN},seed={seed}"])
    out = RUNS / f"{row}-s{seed}"

    def tell(line: dict[str, Any], epochs: int) -> None:
        print(f"{row} seed {seed}: epoch {line['epoch']}/{epochs} loss {line['loss']:.3f}", file=sys.stderr, flush=True)

    stages = Stages(recipe, threads=threads, say=lambda line: print(line, file=sys.stderr, flush=True), report=tell)
    return train_ski(recipe, out, stages, resume=out.exists(), threads=threads, report=tell)


def numbers() -> dict[str, dict[int, float]]:
    """row -> seed -> top-1 on unseen classes: of all runs that are there, and of earlier ones that were published."""
    found: dict[str, dict[int, float]] = {}
    if PUBLISHED.is_file():
        before = json.loads(PUBLISHED.read_text())["unseen_top1"]
        found = {row: {int(seed): value for seed, value in seeds.items()} for row, seeds in before.items()}
    for row, (_, _, head) in ROWS.items():
        for seed in SEEDS:
            path = RUNS / f"{row}-s{seed}" / "result.json"
            if path.is_file() and (result := json.loads(path.read_text()))["finished"]:
                found.setdefault(row, {})[seed] = result[head]["zsl_top1"]
    for row, seeds in _from_parts().items():
        found.setdefault(row, {}).update(seeds)
    return found


def _raw(seed: int) -> float:
    """The caption network, which was shown no action at all, on the seed's unseen classes."""
    path = RUNS / f"clip-s{seed}.json"
    if not path.is_file():
        recipe = read_recipe("student-rendered", [f"seed={seed}", f"data.split=unseen:{UNSEEN},seed={seed}"])
        world = open_world(recipe)
        pair = build_pair(recipe, world, Stages(recipe))
        parts = {"unseen": score(pair, world, world.unseen_test), "seen": score(pair, world, world.seen_test)}
        write_json(path, report(parts, world))
    return json.loads(path.read_text())["video"]["zsl_top1"]


def _from_parts() -> dict[str, dict[int, float]]:
    """The teacher by itself, and the student's and the teacher's scores added: both before they met."""
    found: dict[str, dict[int, float]] = {}
    for seed in SEEDS:
        recipe = read_recipe("ski-vificlip-rendered", [f"seed={seed}", f"data.split=unseen:{UNSEEN},seed={seed}"])
        stages = Stages(recipe)
        teacher = stages.folder("skeletonclip-rendered")
        if (teacher / "result.json").is_file():
            result = json.loads((teacher / "result.json").read_text())
            found.setdefault("skeletonclip", {})[seed] = result["skeleton"]["zsl_top1"]
        student = RUNS / f"vificlip-s{seed}"
        if (student / "result.json").is_file():
            found.setdefault("clip", {})[seed] = _raw(seed)
        if (student / "result.json").is_file() and (teacher / "result.json").is_file():
            video, bones = read_scores(student / "unseen-video.npz"), read_scores(teacher / "unseen-skeleton.npz")
            rows = {name: row for row, name in enumerate(bones.names)}
            both = fuse(video.logits, bones.logits[[rows[name] for name in video.names]])
            found.setdefault("fusion", {})[seed] = zero_shot(both, video.labels, np.unique(video.labels)).top1
    return found


def table(found: dict[str, dict[int, float]]) -> dict[str, Any]:
    """What `ski-edge evaluate --ours` reads, and beside it each row's numbers and what SCD changes."""
    rows = []
    for (name, row), ours in TABLES.items():
        if ours in found:
            item = spread(list(found[ours].values()))
            cell = {"table": name, "row": row, "split": SPLIT, "mean": item.mean, "ci95": item.ci95, "seeds": item.n}
            alone = [found["vificlip"][seed] for seed in found[ours] if seed in found.get("vificlip", {})]
            if alone and ours != "vificlip":  # seeds draw classes: only the same ones can be compared
                cell["note"] = f"vificlip on these seeds: {np.mean(alone):.1f}"
            rows.append(cell)
    about = (
        f"drawn clips of UTD-MHAD, {UNSEEN} of 27 classes unseen (others for each seed), chance {100 / UNSEEN:.1f} %"
    )
    return {"about": about, "rows": rows}


def differences(found: dict[str, dict[int, float]]) -> dict[str, Any]:
    """SKI minus video alone, seed by seed."""
    out: dict[str, Any] = {}
    pairs = [("vificlip", row) for row in found if row not in ("vificlip",) and not row.endswith("-shuffled")]
    pairs += [(row.removeprefix("ski-"), row) for row in found if row.removeprefix("ski-") in set(found) - {row}]
    for base, row in pairs:
        seeds = sorted(found.get(base, {}).keys() & found.get(row, {}).keys())
        if seeds:
            item = paired({s: found[base][s] for s in seeds}, {s: found[row][s] for s in seeds})
            out[f"{row} - {base}"] = {
                "mean": item.spread.mean,
                "ci95": item.spread.ci95,
                "p": item.p,
                "seeds": item.spread.n,
            }
    return out


def publish(found: dict[str, dict[int, float]]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / "table.json", table(found))
    content = {"machine": machine(), "load": os.getloadavg()[0], "unseen_top1": found}
    content["differences"] = differences(found)
    write_json(PUBLISHED, content)
    for row, seeds in found.items():
        for seed in seeds:
            for name in ("log.csv", "result.json", "recipe.json"):
                source = RUNS / f"{row}-s{seed}" / name
                if source.is_file():
                    target = RESULTS / "runs" / f"{row}-s{seed}"
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--stop-after", type=float, help="minutes; no run is begun after that")
    parser.add_argument("--publish", action="store_true", help="only write the table of what is there")
    arguments = parser.parse_args()
    began = time.monotonic()
    if not arguments.publish:
        for seed in arguments.seeds:
            for row in arguments.rows:
                if arguments.stop_after and time.monotonic() - began > 60 * arguments.stop_after:
                    break
                result = run(row, seed, arguments.threads)
                print(row, seed, {head: result[head] for head in ("video", "skeleton", "both") if head in result})
    found = numbers()
    publish(found)
    print(json.dumps({row: [round(v, 1) for v in seeds.values()] for row, seeds in found.items()}))
    print(json.dumps(differences(found), indent=1))


if __name__ == "__main__":
    main()
