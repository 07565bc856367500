"""Runs that need other runs. `recipe:NAME` in a recipe means: train NAME first, on this recipe's data and seed.

A stage's folder carries a hash of everything that decides its weights, so that all runs that want the same one share
it, and a run that is stopped goes on where it was.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed

from ski_edge.data.prompts import prompts_file, read_prompts, read_templates
from ski_edge.data.store import CLIPS, INDEX, open_data
from ski_edge.errors import BadInput
from ski_edge.files import sha256_file
from ski_edge.train.recipe import Recipe, read_recipe
from ski_edge.train.run import CHECKPOINT, RunFolder
from ski_edge.train.ski.loop import train_ski
from ski_edge.train.ski.recipe import SkiRecipe, Text

STAGES = Path("runs/stages")
Say = Callable[[str], None]
Report = Callable[[dict[str, Any], int], None]


class StageStopped(Exception):
    """A stage came to the end of its time; the next run goes on with it."""

    def __init__(self, name: str, epochs: int) -> None:
        super().__init__(f"recipe {name} stopped after its epoch {epochs}")
        self.name, self.epochs = name, epochs


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
        stop_at: float | None = None,
        above: tuple[str, ...] = (),
    ) -> None:
        """changes: KEY=VALUE changes of stages, by name; stop_at: time.monotonic() after which a stage stops.

        above: the stages that this one's recipe is made for.
        """
        self.recipe, self.root, self.changes, self.above, self.stop_at = recipe, root, changes or {}, above, stop_at
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

    def folders(self) -> dict[str, str]:
        """Recipes that come right before this one -> names of their folders, which say all that decides them."""
        return {name: self.folder(name).name for name in _names(self.recipe)}

    def stage_recipe(self, name: str) -> Recipe | SkiRecipe:
        """The recipe of a stage with the data, text and seed of the run that needs it."""
        if name in self.above:
            raise BadInput(f"recipe:{name} needs itself, by way of {' -> '.join((*self.above, name))}")
        stage, run = read_recipe(name, self.changes.get(name)), self.recipe
        self._refuse_lost(name, stage)
        if isinstance(stage, SkiRecipe):
            if stage.objective == "captions":  # knows no actions and has people of its own: one serves all
                return stage
            update: dict[str, Any] = {"data": run.data, "seed": run.seed, "text": _text(stage, run)}
            if stage.objective == "skeletonclip":  # its world has no pixels: looks change nothing
                pixels = dict.fromkeys(("videos", "root", "checked", "rendered"))
                update["data"] = run.data.model_copy(update=pixels)
            return stage.model_copy(update=update)
        update = {
            "data": run.data.skeletons,
            "seed": run.seed,
            "split": f"base:{run.data.split},held={run.data.seen_test_share:g}",
        }
        return stage.model_copy(update=update)

    def _refuse_lost(self, name: str, stage: Recipe | SkiRecipe) -> None:
        """Changes of a stage that the run's own fields would go over."""
        for change in self.changes.get(name, []):
            field = change.partition("=")[0]
            if isinstance(stage, SkiRecipe):
                if stage.objective == "captions":  # takes nothing
                    continue
                taken = field.startswith("text.") and field.removeprefix("text.") not in _own_text(stage)
            else:
                taken = field == "split"
            if taken or field == "seed" or field.split(".")[0] == "data":
                raise BadInput(f"{name}:{change}: a stage takes {field} from the run it is for; set it there")

    def digest(self, name: str) -> str:
        """Of stage NAME, of what its files hold, and of all stages before it."""
        stage = self.stage_recipe(name)
        fields, before = stage.model_dump(mode="json"), []
        if isinstance(stage, SkiRecipe):
            inner = self.within(name, stage)
            before = [inner.digest(first) for first in _names(stage)]
        content = [_content(path) for path in _reads(stage)]
        return hashlib.sha256(json.dumps([fields, content, before], sort_keys=True).encode()).hexdigest()[:12]

    def check(self) -> None:
        """Refuse what would only be noticed after days: weights that are not there, changes of stages nobody needs."""
        needed = self._needed()
        if strange := sorted(self.changes.keys() - needed):
            known = ", ".join(sorted(needed)) or "no other"
            raise BadInput(f"{strange[0]}:{self.changes[strange[0]][0]} changes nothing: this recipe needs {known}")

    def _needed(self) -> set[str]:
        """Names of the stages of this recipe, and of theirs."""
        if lost := [init for init in _inits(self.recipe) if not _may_exist(init)]:
            where = f"recipe:{self.above[-1]}: " if self.above else ""
            raise BadInput(f"{where}init {lost[0]!r} is no folder, no file, not random, openclip:TAG or recipe:NAME")
        _refuse_early(self.recipe)
        names = set()
        for name in _names(self.recipe):
            stage = self.stage_recipe(name)
            names.add(name)
            open_data(stage.data.skeletons if isinstance(stage, SkiRecipe) else stage.data)
            if isinstance(stage, SkiRecipe):
                names |= self.within(name, stage)._needed()
        return names

    def within(self, name: str, recipe: SkiRecipe) -> Stages:
        """Stages of stage NAME."""
        return Stages(
            recipe,
            root=self.root,
            changes=self.changes,
            threads=self.threads,
            say=self.say,
            report=self.report,
            stop_at=self.stop_at,
            above=(*self.above, name),
        )

    def _train(self, name: str, stage: Recipe | SkiRecipe, folder: Path) -> None:
        resume = folder.exists()

        def report(row: dict[str, Any], epochs: int) -> None:
            self.report({"stage": Path(name).stem, **row}, epochs)

        if isinstance(stage, SkiRecipe):
            result = train_ski(
                stage,
                folder,
                self.within(name, stage),
                resume=resume,
                stop_after_s=self._left(),
                threads=self.threads,
                report=report,
            )
        else:
            from ski_edge.train.loop import train

            left = self._left()
            result = train(stage, folder, resume=resume, stop_after_s=left, threads=self.threads, report=report)
        if not _of_first(bool(result.get("finished"))):
            raise StageStopped(name, result.get("epochs", 0))

    def _left(self) -> float | None:
        return None if self.stop_at is None else max(self.stop_at - time.monotonic(), 0.0)


def _refuse_early(recipe: SkiRecipe) -> None:
    """Files that are read late: after clips were drawn, or after other recipes were trained."""
    open_data(recipe.data.skeletons)
    if recipe.text.prompts is not None:
        read_prompts(prompts_file(recipe.text.prompts))
    if recipe.text.templates is not None:
        read_templates(recipe.text.templates)
    tower = recipe.student.text_tower if recipe.student is not None else None
    if tower not in (None, "shipped") and not Path(tower).is_dir():
        raise BadInput(f"student.text_tower {tower} is no folder; ski_edge.train.text makes one, and one is shipped")


def _text(stage: SkiRecipe, run: SkiRecipe) -> Text:
    """What is read is the run's, but for what is the stage's own."""
    return run.text.model_copy(update={field: getattr(stage.text, field) for field in _own_text(stage)})


def _own_text(stage: SkiRecipe) -> tuple[str, ...]:
    """Fields of `text` that a stage keeps: who reads, and whether that learns. A teacher keeps its templates, too: it
    goes on with them, whatever its students read.
    """
    own = ("encoder", "arch", "init", "freeze")
    return (*own, "template", "templates") if stage.objective == "skeletonclip" else own


def _inits(recipe: SkiRecipe) -> list[str]:
    """Where a recipe's networks begin."""
    inits = [recipe.text.init]
    if recipe.student is not None:
        inits.append(recipe.student.init)
    if recipe.teacher is not None:
        inits += [recipe.teacher.init, recipe.teacher.backbone_init or "random"]
    return inits


def _reads(stage: Recipe | SkiRecipe) -> list[Path]:
    """Files and folders whose content decides a stage's weights. Videos are not among them: to read them all takes as
    long as to train on them, so they count by their names.
    """
    if not isinstance(stage, SkiRecipe):
        return [stage.data / CLIPS, stage.data / INDEX]
    named = [init for init in _inits(stage) if init != "random" and not init.startswith(("recipe:", "openclip:"))]
    prompts = [prompts_file(stage.text.prompts)] if stage.text.prompts is not None else []
    if stage.text.templates is not None:
        prompts.append(Path(stage.text.templates))  # a name of templates is no file, and counts as a field
    if stage.student is not None and stage.student.text_tower not in (None, "shipped"):
        named.append(stage.student.text_tower)
    saved = [stage.teacher.embeddings] if stage.teacher is not None and stage.teacher.embeddings is not None else []
    checked = [stage.data.checked] if stage.data.checked is not None else []
    data = [stage.data.skeletons / CLIPS, stage.data.skeletons / INDEX]
    return [*data, *map(Path, named), *prompts, *saved, *checked]


def _content(path: Path) -> list[str]:
    """Hash of a file, or of each file of a folder; nothing for what is not there, which is said where it is opened."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [_sha256(file, stat.st_size, stat.st_mtime_ns) for file, stat in found]


@functools.lru_cache
def _sha256(file: Path, size: int, changed_ns: int) -> str:
    """Once per process, unless the file changes."""
    return sha256_file(file)


def _names(recipe: SkiRecipe) -> list[str]:
    """The recipes that come before this one."""
    inits = [init.removeprefix("recipe:").partition("#")[0] for init in _inits(recipe) if init.startswith("recipe:")]
    return list(dict.fromkeys(inits))


def _may_exist(init: str) -> bool:
    return init == "random" or init.startswith(("recipe:", "openclip:")) or Path(init).exists()


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _of_first(value: bool) -> bool:
    """What the first process of the run says; the others wait for it."""
    if not torch.distributed.is_initialized():
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box)
    return box[0]
