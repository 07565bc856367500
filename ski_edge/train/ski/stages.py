"""Runs that need other runs. `recipe:NAME` in a recipe means: train NAME first, on this recipe's data and seed.

A stage's folder carries a hash of everything that decides its weights, so that all runs that want the same one share
it, and a run that is stopped goes on where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed

from ski_edge.errors import BadInput
from ski_edge.train.recipe import Recipe, read_recipe
from ski_edge.train.run import CHECKPOINT, RunFolder
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.recipe import SkiRecipe

STAGES = Path("runs/stages")
Say = Callable[[str], None]
Report = Callable[[dict[str, Any], int], None]


class Stages:
    """Trains what a recipe needs, once."""

    def __init__(
        self,
        recipe: SkiRecipe,
        *,
        root: Path = STAGES,
        changes: dict[str, list[str]] | None = None,
        threads: int = 0,
        say: Say = lambda line: None,
        report: Report = lambda row, epochs: None,
        above: tuple[str, ...] = (),
    ) -> None:
        """changes: KEY=VALUE changes of stages, by name; above: the stages that this one's recipe is made for."""
        self.recipe, self.root, self.changes, self.above = recipe, root, changes or {}, above
        self.threads, self.say, self.report = threads, say, report

    def __call__(self, name: str) -> Path:
        """Checkpoint folder of stage NAME. The processes of a run come here together and train it together."""
        stage, folder = self.stage_recipe(name), self.folder(name)
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / f".{folder.name}.lock", "w") as lock:
            if _first():  # the others would wait for their own first process
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _of_first((folder / CHECKPOINT).is_dir() and bool(RunFolder(folder).result())):
                if _first():
                    self.say(f"stage {name}: training in {folder}")
                self._train(name, stage, folder)
        return folder / CHECKPOINT

    def folder(self, name: str) -> Path:
        """Where stage NAME is, or will be."""
        return self.root / f"{Path(name).stem}-{self.digest(name)}"

    def stage_recipe(self, name: str) -> Recipe | SkiRecipe:
        """The recipe of a stage with the data, text and seed of the run that needs it."""
        if name in self.above:
            raise BadInput(f"recipe:{name} needs itself, by way of {' -> '.join((*self.above, name))}")
        stage, run = read_recipe(name, self.changes.get(name)), self.recipe
        if isinstance(stage, SkiRecipe):
            if stage.objective == "captions":  # knows no actions and has people of its own: one serves all
                return stage
            update: dict[str, Any] = {"data": run.data, "seed": run.seed, "text": run.text}
            if stage.objective == "skeletonclip":  # its world has no pixels: looks change nothing
                pixels = dict.fromkeys(("videos", "root", "checked", "rendered"))
                update["data"] = run.data.model_copy(update=pixels)
            return stage.model_copy(update=update)
        update = {"data": run.data.skeletons, "seed": run.seed, "split": f"base:{run.data.split}"}
        return stage.model_copy(update=update)

    def digest(self, name: str) -> str:
        """Of stage NAME and of all stages before it."""
        stage = self.stage_recipe(name)
        fields, before = stage.model_dump(mode="json"), []
        if isinstance(stage, SkiRecipe):
            inner = self.within(name, stage)
            inits = [stage.text.init, stage.student and stage.student.init, stage.teacher and stage.teacher.init]
            inits.append(stage.teacher and stage.teacher.backbone_init)
            before = [
                inner.digest(init.removeprefix("recipe:")) for init in inits if init and init.startswith("recipe:")
            ]
        return hashlib.sha256(json.dumps([fields, before], sort_keys=True).encode()).hexdigest()[:12]

    def within(self, name: str, recipe: SkiRecipe) -> Stages:
        """Stages of stage NAME."""
        return Stages(
            recipe,
            root=self.root,
            changes=self.changes,
            threads=self.threads,
            say=self.say,
            report=self.report,
            above=(*self.above, name),
        )

    def _train(self, name: str, stage: Recipe | SkiRecipe, folder: Path) -> None:
        resume = folder.exists()
        if isinstance(stage, SkiRecipe):
            result = train_ski(
                stage, folder, self.within(name, stage), resume=resume, threads=self.threads, report=self.report
            )
        else:
            from ski_edge.train.loop import train

            result = train(stage, folder, resume=resume, threads=self.threads, report=self.report)
        if not _of_first(bool(result.get("finished"))):
            raise BadInput(f"stage in {folder} did not finish; run the same command again to go on")


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _of_first(value: bool) -> bool:
    """What the first process of the run says; the others wait for it."""
    if not torch.distributed.is_initialized():
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box)
    return box[0]
