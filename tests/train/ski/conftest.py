"""A world of twenty short clips in five classes, three of them seen, and recipes for it that train in a second."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from ski_edge.data.store import ClipEntry, Index, write_data
from ski_edge.skeleton import LAYOUTS
from ski_edge.testing.skeletons import moving_skeleton
from ski_edge.train.recipe import parse_recipe

CLASSES = ("right hand wave", "squat", "two hand push", "front boxing", "walking in place")
LAYOUT = "kinect20"

VIDEO = {
    "frames": 2,
    "preprocessing": {"resize_short": 112, "crop": 112},
    "crop": "centre",
    "flip": 0.5,
    "mixup_alpha": 0,
    "cutmix_alpha": 0,
    "workers": 0,
}
TEACHER = {
    "backbone": "ctrgcn",
    "arch": "tiny",
    "skeleton": {"layout": LAYOUT, "persons": 1, "resample": {"name": "crop-resize", "frames": 8}},
    "augment": {"rotate": [0.1, 0.1, 0.1], "noise": 0.01},
}


@pytest.fixture(scope="session")
def ski_place(tmp_path_factory) -> Path:
    """A working directory with prepared skeletons in `skeletons`; they are drawn once, into runs/cache."""
    place = tmp_path_factory.mktemp("ski")
    layout, clips, entries = LAYOUTS[LAYOUT], [], []
    for number in range(4 * len(CLASSES)):
        label, take = number % len(CLASSES), number // len(CLASSES)
        clips.append(moving_skeleton(layout, 12 + take, seed=number))
        name = f"a{label}_s{take + 1}"
        entries.append(ClipEntry(name=name, label=label, frames=len(clips[-1]), subject=take + 1))
    index = Index(dataset="utd-mhad", layout=LAYOUT, fps=30, persons=1, classes=CLASSES, clips=tuple(entries))
    (place / "skeletons").mkdir()
    write_data(place / "skeletons", index, clips, {})
    return place


@pytest.fixture(autouse=True)
def _in_ski_place(ski_place, monkeypatch):
    """Runs draw into runs/cache and train stages in runs/stages of the folder they are started in."""
    monkeypatch.chdir(ski_place)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def ski_fields():
    """fields(objective, {"optim": {"lr": 1}}, ...) -> what a recipe file would hold; later mappings go over earlier."""

    def fields(objective: str, *changes: dict) -> dict:
        made = {
            "kind": "ski",
            "objective": objective,
            "data": {"skeletons": "skeletons", "split": "unseen:squat;front boxing", "seen_test_share": 0.25},
            "text": {"arch": "mini", "template": "{}"},
            "optim": {"epochs": 1, "batch_size": 4, "lr": 0.002},
        }
        if objective != "skeletonclip":
            made["student"] = {"model": "vificlip", "arch": "mini"}
            made["video"] = copy.deepcopy(VIDEO)
            made["data"]["rendered"] = {"looks": 1, "frames": 4, "size": 112}
        if objective != "student":
            made["teacher"] = copy.deepcopy(TEACHER)
        for change in changes:
            made = _over(made, change)
        if made.get("teacher") and made["teacher"].get("init", "random") != "random":
            for own in ("backbone", "arch", "skeleton"):  # those of a teacher that is loaded are its own
                made["teacher"].pop(own, None)
        return made

    return fields


@pytest.fixture(scope="session")
def ski_recipe(ski_fields):
    return lambda objective, *changes: parse_recipe(ski_fields(objective, *changes), "recipe of the test")


@pytest.fixture
def no_stage():
    def stage(name: str) -> Path:
        raise AssertionError(f"no stage is needed, {name} was asked for")

    return stage


@pytest.fixture
def pieces(no_stage):
    """recipe -> (world, pair, batches), as a run begins."""
    from ski_edge.models.skeletonclip import SkeletonCLIP
    from ski_edge.train.ski.batches import PairBatches
    from ski_edge.train.ski.networks import build_pair
    from ski_edge.train.ski.world import open_world

    def make(recipe, stage=no_stage):
        world = open_world(recipe)
        pair = build_pair(recipe, world, stage)
        spec = pair.teacher.config.backbone.skeleton if isinstance(pair.teacher, SkeletonCLIP) else None
        return world, pair, PairBatches(recipe, world, spec, torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def saved_embeddings(ski_place) -> Path:
    """What another skeleton-text model might say: its own 24 numbers for every clip and class."""
    path = ski_place / "embeddings.npz"
    rng = np.random.default_rng(3)
    names = [f"a{number % 5}_s{number // 5 + 1}" for number in range(20)]
    content = {"names": names, "embeddings": rng.normal(size=(20, 24)).astype(np.float32)}
    content |= {"classes": list(CLASSES), "class_embeddings": rng.normal(size=(5, 24)).astype(np.float32)}
    np.savez(path, **content)
    return path


def _over(below: dict, above: dict) -> dict:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "lr_factors"
        merged[key] = _over(merged[key], value) if both else value
    return {key: value for key, value in merged.items() if value is not None}
