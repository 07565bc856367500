"""A toy NTU RGB+D made of the real samples: real skeletons and real pixels under the names of all actions."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
import torch

from ski_edge.cli.main import main
from ski_edge.models import create_model, save_model
from ski_edge.train.recipe import read_recipe

FRAMES = 20  # of the recordings' beginning; NTU's denoising forgets tracks of 11 and fewer
TWICE = 6  # actions that a second subject shows, who tests in xsub60 as the first one trains


def _beginning(text: str) -> str:
    """The first frames of a .skeleton file: per frame a count of bodies, per body two lines and 25 joints."""
    lines, end = text.splitlines(), 1
    for _ in range(FRAMES):
        end += 1 + 27 * int(lines[end])
    return "\n".join([str(FRAMES), *lines[1:end]]) + "\n"


def _small_video(source: Path, path: Path) -> None:
    """The same frames of the real clip, 320 x 180."""
    capture = cv2.VideoCapture(str(source))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 180))
    for _ in range(FRAMES):
        writer.write(cv2.resize(capture.read()[1], (320, 180), interpolation=cv2.INTER_AREA))
    writer.release()


@pytest.fixture(scope="session")
def write_ntu(ntu_samples):
    """write(place, actions): place/raw with .skeleton files and place/data/ntu{actions}-rgb with videos of all."""

    def write(place: Path, actions: int) -> None:
        samples = [_beginning(path.read_text()) for path in sorted((ntu_samples / "NTU/skeleton").iterdir())]
        assert len(samples) == 4  # the third is of two people
        raw, rgb = place / "raw", place / "data" / f"ntu{actions}-rgb"
        raw.mkdir(parents=True)
        rgb.mkdir(parents=True)
        _small_video(ntu_samples / "NTU/rgb/S001C001P001R001A001_rgb.avi", place / "clip.avi")
        clips = [(action, 1) for action in range(1, actions + 1)] + [(action, 3) for action in range(1, TWICE + 1)]
        for number, (action, subject) in enumerate(clips):
            name = f"S001C001P{subject:03d}R001A{action:03d}"
            (raw / f"{name}.skeleton").write_text(samples[number % len(samples)])
            os.link(place / "clip.avi", rgb / f"{name}_rgb.avi")

    return write


@pytest.fixture(scope="session")
def toy_ntu(write_ntu, tmp_path_factory):
    """toy_ntu(60): a working directory with data/ntu60, data/ntu60-rgb and `clip`, which stands for CLIP's weights.

    Its runs share their stages.
    """
    made: dict[int, Path] = {}

    def make(actions: int) -> Path:
        if actions not in made:
            place = tmp_path_factory.mktemp(f"ntu{actions}")
            write_ntu(place, actions)
            arguments = ("--raw", place / "raw", "--out", place / "data" / f"ntu{actions}", "--json")
            assert main(["data", "prepare", "ntu", *map(str, arguments)]) == 0
            save_model(create_model("vificlip", arch="tiny", seed=7, weights="stands for CLIP"), place / "clip")
            made[actions] = place
        return made[actions]

    return make


def _own_changes(name: str) -> list[str]:
    recipe = read_recipe(name)
    if name.startswith("hyperformer-ski"):
        return ["arch=tiny", "epochs=1", "drops=[]", "batch_size=16", "skeleton.resample.frames=8"]
    small = ["optim.epochs=1", "optim.batch_size=16", "optim.accumulate=1", "optim.average_from=1"]
    if recipe.student is not None:
        small += ["student.arch=tiny", "video.frames=4", "video.workers=0"]
        small += ["student.init=clip"] * recipe.student.init.startswith("openclip:")
    if name.startswith("skeletonclip"):
        small += ["teacher.arch=tiny", "teacher.skeleton.resample.frames=24", "text.arch=tiny", "text.init=clip"]
    return small


def _before(name: str) -> set[str]:
    recipe = read_recipe(name)
    parts = [part for part in (getattr(recipe, "student", None), getattr(recipe, "teacher", None)) if part is not None]
    inits = [init for part in parts for init in (part.init, getattr(part, "backbone_init", None))]
    names = {init.removeprefix("recipe:") for init in inits if init is not None and init.startswith("recipe:")}
    return names.union(*(_before(inner) for inner in names))


@pytest.fixture(scope="session")
def small_changes():
    """recipe -> (changes of its own, of each recipe that comes before) that make all small, and nothing else.

    Weights of CLIP are replaced by a folder `clip`.
    """
    return lambda name: (_own_changes(name), {inner: _own_changes(inner) for inner in sorted(_before(name))})


@pytest.fixture(scope="session")
def train_toy(toy_ntu, small_changes):
    """train(recipe, actions, *more changes) -> its run folder, through the command line, in the toy's directory."""

    def train(recipe: str, actions: int, *changes: str, name: str | None = None) -> Path:
        place = toy_ntu(actions)
        out = place / "runs" / "train" / (name or recipe)
        own, before = small_changes(recipe)
        own = [*own, *(f"{inner}:{change}" for inner, some in before.items() for change in some), *changes]
        threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            code = main(["train", recipe, *own, "--out", str(out), "--threads", "1"])
        torch.set_num_threads(threads)
        assert code == 0
        return out

    return train
