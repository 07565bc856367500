"""The folder of a training run: recipe, log, the state to go on from, the best checkpoint, the result."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import torch

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.files import read_json, write_json, write_text

RECIPE, LOG, STATE, CHECKPOINT, RESULT = "recipe.json", "log.csv", "state.pt", "checkpoint", "result.json"
STAGES = "stages.json"  # folders of the recipes that came before, by name


class RunFolder:
    """Everything a run writes. Its state is replaced in one step, so a kill at any moment costs one epoch at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, recipe: Contract, resume: bool, stages: dict[str, str] | None = None) -> None:
        """Refuse a folder that this run may not use; writes nothing, so it can come before data is loaded.

        stages: folders of the recipes that come before it.
        """
        path = self.folder / RECIPE
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise BadInput(f"--out {self.folder} holds other files; give a new folder")
            return
        if not resume:
            raise BadInput(f"--out {self.folder} already holds a run; add --resume to go on, or give another folder")
        before, content = read_json(path, "recipe of the run"), recipe.model_dump(mode="json")
        if before != content:
            changed = _changes(before, content)
            raise BadInput(f"{path} differs from this recipe in {', '.join(changed)}; resume with the same recipe")
        kept = self.folder / STAGES
        if stages is not None and kept.exists() and (old := read_json(kept, "stages of the run")) != stages:
            name = next((name for name in stages if not isinstance(old, dict) or old.get(name) != stages[name]), "?")
            was = old.get(name) if isinstance(old, dict) else old
            raise BadInput(
                f"{self.folder} began with {name} as in {was}, it would now be {stages.get(name)}; go on with the same "
                f"{name}:KEY=VALUE changes and data"
            )

    def open(self, recipe: Contract, resume: bool, stages: dict[str, str] | None = None) -> dict[str, Any] | None:
        """Check (again: loading data took its time) and prepare; the saved state where the run goes on, else None."""
        self.check(recipe, resume, stages)
        path = self.folder / RECIPE
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, recipe.model_dump(mode="json"))
            if stages:
                write_json(self.folder / STAGES, stages)
            return None
        state = self.folder / STATE
        if not state.exists():
            return None
        try:
            return torch.load(state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds on a damaged file
            raise BadInput(f"{state} cannot be read: {error}; start again in another folder") from error

    def result(self) -> dict[str, Any]:
        """What result.json holds, if the run is finished, else nothing."""
        path = self.folder / RESULT
        content = read_json(path, "result of the run") if path.exists() else None
        return content if isinstance(content, dict) and content.get("finished") else {}

    def save_state(self, state: dict[str, Any]) -> None:
        temporary = self.folder / f".{STATE}"
        torch.save(state, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / STATE)

    def log(self, row: dict[str, Any], first: bool) -> None:
        """Append an epoch to log.csv; the first one starts the file."""
        with open(self.folder / LOG, "w" if first else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if first:
                writer.writeheader()
            writer.writerow(row)

    def trim_log(self, epochs: int) -> None:
        """Forget rows after the saved state: the epochs that will be done again."""
        path = self.folder / LOG
        if path.exists():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            write_text(path, "".join(lines[: epochs + 1]))


def _changes(before: Any, now: Any, where: str = "") -> list[str]:
    """Names of the fields that differ, with both values where they are short."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = [_changes(before.get(key), now[key], f"{where}.{key}" if where else key) for key in now]
        return [change for changes in inner for change in changes]
    if before == now:
        return []
    both = f" ({before} -> {now})"
    return [where + (both if len(both) < 60 else "")]
