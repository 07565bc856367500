"""Does skeleton guidance move a video network's eyes to the body (the paper's Fig. 1)? Measured in the small world.

    python benchmarks/accuracy/ski_small_world.py --seeds 1 2 3 4 5 --rows vificlip offline
    python benchmarks/accuracy/ski_maps.py --seeds 1 2 3 4 5

Of each seed's unseen classes, clip by clip: the relevance of every patch for the clip's own class (activation times
gradient, `ski_edge.evaluate.attention`) and how much of it lies on the drawn person, whose outline is known exactly.
Rows are compared seed by seed. Writes benchmarks/results/ski/maps.json and maps.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ski_edge.data.rendered.source import bodies
from ski_edge.data.video.sampling import segments_test
from ski_edge.evaluate.attention import OnBody, on_body, picture, relevance
from ski_edge.evaluate.statistics import paired, spread
from ski_edge.files import write_json
from ski_edge.models import load_model
from ski_edge.models.pixels import normalise
from ski_edge.models.sentence import SentenceEncoder
from ski_edge.runtime.measure import machine
from ski_edge.train.recipe import parse_recipe
from ski_edge.train.ski.world import open_world, prompts

RUNS, RESULTS = Path("runs/ski"), Path("benchmarks/results/ski")


def measure(row: str, seed: int, shown: int) -> tuple[OnBody, list[tuple[np.ndarray, np.ndarray]]]:
    """(of all clips together, (frames, maps) of the first `shown` classes' first clips)."""
    folder = RUNS / f"{row}-s{seed}"
    recipe = parse_recipe(json.loads((folder / "recipe.json").read_text()), f"recipe of {folder}")
    world, model = open_world(recipe), load_model(folder / "checkpoint")
    text = SentenceEncoder().encode([sentence for (sentence,) in prompts(list(world.classes), recipe.text)])
    maps, masks, examples, classes = [], [], [], set()
    looks = recipe.data.rendered.looks  # clips of one skeleton; the first of them is measured
    for pair in world.unseen_test[world.video[world.unseen_test] % looks == 0]:
        clip, label = int(world.video[pair]), int(world.labels[pair])
        indices = segments_test(world.videos.length(clip), recipe.video.frames, 0, 1)
        frames = world.videos.read(clip, indices)
        pixels = normalise(torch.from_numpy(frames), recipe.video.preprocessing)
        maps.append(relevance(model, pixels, text, label))
        masks.append(bodies(world.skeletons, recipe.data.rendered, clip)[indices])
        if label not in classes and len(classes) < shown:
            classes.add(label)
            examples.append((frames, maps[-1]))
    return on_body(np.concatenate(maps), np.concatenate(masks)), examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rows", nargs=2, default=["vificlip", "offline"], metavar=("ALONE", "GUIDED"))
    parser.add_argument("--shown", type=int, default=3, help="clips in the picture")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found: dict[str, dict[int, OnBody]] = {row: {} for row in arguments.rows}
    for seed in arguments.seeds:
        examples = {}
        for row in arguments.rows:
            found[row][seed], examples[row] = measure(row, seed, arguments.shown)
            print(row, seed, found[row][seed], flush=True)
        if seed == arguments.seeds[0]:
            frames = np.concatenate([frames for frames, _ in examples[arguments.rows[0]]])
            rows = [(row, np.concatenate([maps / maps.sum() for _, maps in clips])) for row, clips in examples.items()]
            RESULTS.mkdir(parents=True, exist_ok=True)
            picture(RESULTS / "maps.png", frames[::2], [(row, maps[::2]) for row, maps in rows])
    alone, guided = arguments.rows
    content: dict[str, object] = {"machine": machine(), "clips": "unseen classes, one look of each"}
    for name in ("energy", "hits"):
        numbers = {row: {seed: 100 * getattr(item, name) for seed, item in found[row].items()} for row in found}
        chance = spread([100 * getattr(item, f"{name}_by_chance") for item in found[alone].values()])
        change = paired(numbers[alone], numbers[guided])
        content[f"{name}_percent"] = numbers | {
            "by_chance": chance.mean,
            "change": {"mean": change.spread.mean, "ci95": change.spread.ci95, "p": change.p, "seeds": change.spread.n},
        }
    write_json(RESULTS / "maps.json", content)
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
