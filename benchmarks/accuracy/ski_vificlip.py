"""How good is the shipped video model: drawn clips of classes it never saw and of classes it did, through the bundle.

    python benchmarks/accuracy/ski_vificlip.py --data data/utd
    python benchmarks/accuracy/ski_vificlip.py --data data/utd --ship runs/ski/ski-vificlip-s1 --text runs/text/mini

Scores are those of the bundle alone: its frames, its text tower. `--ship` first makes the shipped checkpoint and the
bundle of a run: weights are rounded to float16 and a distilled text tower takes the sentence encoder's place.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ski_edge.bundle import Label
from ski_edge.bundle.labels import embed_labels
from ski_edge.data.rendered import draw_look, render
from ski_edge.data.rendered.world import RenderedWorld, held_object
from ski_edge.evaluate import measure
from ski_edge.export import export_model
from ski_edge.models import load_model, save_model
from ski_edge.models.weights import SHIPPED
from ski_edge.runtime import open_bundle
from ski_edge.runtime.measure import machine
from ski_edge.runtime.open import ZOO
from ski_edge.testing.results import write_result
from ski_edge.train.recipe import parse_recipe, read_recipe
from ski_edge.train.run import CHECKPOINT
from ski_edge.train.ski.world import World, open_world, prompts
from ski_edge.train.text.tower import load_text_tower

NAME = "ski-vificlip"
CARD = ZOO / NAME / "README.md"
RECIPE = "ski-vificlip-mini"


def ship(run: Path, text: Path, labels: list[Label], card: Path) -> None:
    """The run's student with the text tower, every number a float16, as a checkpoint and as a bundle."""
    model = load_model(run / CHECKPOINT)
    load_text_tower(model, text)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and torch.isfinite(tensor).all():
                tensor.copy_(tensor.half().float())
    model.config = model.config.model_copy(update={"licence": "Apache-2.0"})
    save_model(model, SHIPPED / NAME, dtype=torch.float16)
    export_model(load_model(SHIPPED / NAME), ZOO / NAME, classes=labels, precision="fp16-storage", card=card)


def embeddings(session: Any, world: World, part: np.ndarray, frames: int) -> np.ndarray:
    """float32 [N, D] of the pairs `part`."""
    rows = []
    for clip in world.video[part]:
        length = world.videos.length(int(clip))
        indices = ((np.arange(frames) + 0.5) * length / frames).astype(np.int64)
        rows.append(session.encode_video(world.videos.read(int(clip), indices)))
    return np.stack(rows)


def by_objects(session: Any, world: World, frames: int) -> dict[str, float]:
    """Top-1 of unseen classes among themselves where hands hold what they do in training, anything, nothing."""
    out, data, unseen = {}, world.skeletons, world.unseen
    text = session.exported_labels.embeddings[unseen]
    for objects in ("table", "shuffled", "none"):
        drawn = RenderedWorld(objects=objects, seed=99)
        right = []
        for clip in np.flatnonzero(np.isin(data.labels, unseen)):
            label, joints = int(data.labels[clip]), data[int(clip)]
            rng = np.random.default_rng([drawn.seed, int(clip)])
            look = draw_look(rng, held_object(drawn, world.classes[label], label, rng))
            moments = np.rint(np.linspace(0, len(joints) - 1, frames)).astype(int)
            pixels = render(joints[moments], data.index.layout, look, drawn.size)
            right.append(unseen[int((text @ session.encode_video(pixels)).argmax())] == label)
        out[objects] = 100 * float(np.mean(right))
    return out


def numbers(video: dict[str, np.ndarray], text: np.ndarray, world: World) -> dict[str, float]:
    """Top-1 in per cent."""
    unseen, seen = (video[part] @ text.T for part in ("unseen", "seen"))
    labels = {"unseen": world.labels[world.unseen_test], "seen": world.labels[world.seen_test]}
    return {
        "unseen_among_unseen": measure(unseen[:, world.unseen], np.searchsorted(world.unseen, labels["unseen"])).top1,
        "unseen_among_all": measure(unseen, labels["unseen"]).top1,
        "seen_among_seen": measure(seen[:, world.seen], np.searchsorted(world.seen, labels["seen"])).top1,
        "seen_among_all": measure(seen, labels["seen"]).top1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/utd"))
    parser.add_argument("--ship", type=Path, metavar="RUN")
    parser.add_argument("--text", type=Path, default=Path("runs/text/mini"))
    parser.add_argument("--card", type=Path, default=CARD)
    arguments = parser.parse_args()
    recipe = read_recipe(RECIPE)
    if arguments.ship:
        path = arguments.ship / "recipe.json"
        recipe = parse_recipe(json.loads(path.read_text()), f"recipe of {arguments.ship}")
        if recipe.data.split != read_recipe(RECIPE).data.split:
            raise SystemExit(f"{path} has split {recipe.data.split}; what ships is measured on that of {RECIPE}")
    data = recipe.data.model_copy(update={"skeletons": arguments.data})
    recipe = recipe.model_copy(update={"data": data})
    world = open_world(recipe)
    names = list(world.classes)
    described = prompts(names, recipe.text)
    labels = [Label(name, sentences) for name, sentences in zip(names, described, strict=True)]
    if arguments.ship:
        ship(arguments.ship, arguments.text, labels, arguments.card)
    session = open_bundle(NAME)
    parts = {"unseen": world.unseen_test, "seen": world.seen_test}
    video = {name: embeddings(session, world, part, recipe.video.frames) for name, part in parts.items()}
    bare = embed_labels([Label(name) for name in names], session.manifest.text.template, session.encode_text)
    content = {
        "weights_sha256": session.manifest.provenance.weights_sha256,
        "clips": {name: len(part) for name, part in parts.items()},
        "classes": {"unseen": len(world.unseen), "seen": len(world.seen)},
        "unseen_classes": world.names(world.unseen),
        "described": numbers(video, session.exported_labels.embeddings, world),
        "bare_names": numbers(video, bare, world),
        "unseen_by_objects": by_objects(session, world, recipe.video.frames),
    }
    print(json.dumps(content, indent=1))
    print(write_result(NAME, machine(), content))


if __name__ == "__main__":
    main()
