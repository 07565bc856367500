"""`ski-edge train`: a recipe becomes a run folder with a checkpoint."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit, log, seconds
from ski_edge.errors import BadInput, require


def register(app: typer.Typer) -> None:
    app.command("train", help="Train from a recipe: skeleton classifiers, SKI models; resumes where it was stopped.")(
        train
    )


def train(
    recipe: str = typer.Argument(..., help="Name of a recipe, or a .yaml file."),
    changes: list[str] = typer.Argument(
        None,
        metavar="[KEY=VALUE]...",
        help="seed=2 skeleton.modality=bone; NAME:KEY=VALUE of a recipe that comes first.",
    ),
    out: Path = typer.Option(None, help="Run folder. Default: runs/train/RECIPE."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in --out, if there is one."),
    stop_after: str = typer.Option(None, help="Stop after the epoch that passes this time (9m), to be resumed."),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: one per core."),
    as_json: bool = JSON,
) -> None:
    for package in ("torch", "lightning"):
        require(package, "train", "train")
    from ski_edge.train.fabric import part
    from ski_edge.train.recipe import Recipe, read_recipe

    own, before = _sort_changes(changes or [])
    parsed = read_recipe(recipe, own)
    out = out or Path("runs/train") / Path(recipe).stem
    limit = seconds(stop_after, "--stop-after") if stop_after else None
    with _progress(quiet=as_json) as report:
        if isinstance(parsed, Recipe):
            from ski_edge.train.loop import train as run

            if before:
                raise BadInput(f"recipe {recipe} needs no other, so {next(iter(before))}:... changes nothing")
            result = run(parsed, out, resume=resume, stop_after_s=limit, threads=threads, report=report)
        else:
            result = _ski(parsed, out, before, resume, limit, threads, report)
            if result and result["finished"] and parsed.bundle is not None:
                result["bundle"] = str(_export(parsed, out))
    part()
    if not result:  # not the first process of several
        return
    again = shlex.join(["ski-edge", "train", recipe, *(changes or []), "--out", str(out), "--resume"])
    emit({"run": str(out), **result}, as_json, lambda: _text(out, again, result))


def _sort_changes(changes: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """(KEY=VALUE of the recipe itself, those of recipes that come before by name)."""
    own: list[str] = []
    before: dict[str, list[str]] = {}
    for item in changes:
        name, colon, change = item.partition(":")
        if colon and "=" not in name:
            before.setdefault(name, []).append(change)
        else:
            own.append(item)
    return own, before


def _ski(
    recipe: Any,
    out: Path,
    before: dict[str, list[str]],
    resume: bool,
    limit: float | None,
    threads: int,
    report: Any,
) -> dict[str, Any]:
    """A SKI run, and before it the runs that it needs."""
    from ski_edge.train.ski.loop import train_ski
    from ski_edge.train.ski.stages import Stages, StageStopped

    stop_at = None if limit is None else time.monotonic() + limit
    stages = Stages(recipe, changes=before, stop_at=stop_at, threads=threads, say=log, report=report)
    stages.check()
    try:
        return train_ski(
            recipe,
            out,
            stages,
            resume=resume,
            stop_after_s=limit,
            threads=threads,
            report=report,
            drawing=report.drawing,
            before=stages.folders(),
        )
    except StageStopped as stop:
        first = os.environ.get("RANK", "0") == "0"  # the others have nothing to say
        return {"finished": False, "stage": stop.name, "epochs": stop.epochs} if first else {}


def _export(recipe: Any, out: Path) -> Path:
    """The verified bundle of a finished run; its labels are all classes of the data, with what was said about each."""
    from ski_edge.bundle import Label
    from ski_edge.data.store import open_data
    from ski_edge.export import export_model
    from ski_edge.models import load_model
    from ski_edge.train.run import CHECKPOINT
    from ski_edge.train.ski.world import prompts

    names = list(open_data(recipe.data.skeletons).index.classes)
    labels = [Label(name, sentences) for name, sentences in zip(names, prompts(names, recipe.text), strict=True)]
    return export_model(
        load_model(out / CHECKPOINT),
        out / "bundle",
        classes=labels,
        precision=recipe.bundle,
        progress=lambda line: log(f"bundle: {line}"),
    )


def _text(out: Path, again: str, result: dict[str, Any]) -> str:
    """again: the command that goes on with a run."""
    if "stage" in result:
        return f"stopped in recipe {result['stage']} after epoch {result['epochs']}; go on with: {again}"
    if not result["finished"]:
        return f"{out}: stopped after epoch {result['epochs']}; go on with: {again}"
    if "objective" in result:
        return _ski_text(out, result)
    chosen = {
        "validation": "on a part of the training data",
        "test": "ON THE TEST PART, which flatters",
        "last": "none",
    }
    why = chosen.get(result["chosen_by"], "because it is the last")
    return (
        f"{out}: test top-1 {result['test_top1']:.2f} %, top-5 {result['test_top5']:.2f} %, mean recall "
        f"{result['test_mean_recall']:.2f} %, epoch {result['chosen_epoch']} of {result['epochs']} "
        f"(chosen {why}); last epoch {result['last_epoch_test_top1']:.2f} %\n"
        f"next: ski-edge evaluate {out / 'checkpoint'} --data DATA --split SPLIT"
    )


def _ski_text(out: Path, result: dict[str, Any]) -> str:
    classes = result["classes"]
    lines = [f"{out}: {classes['seen']} classes seen, {classes['unseen']} never shown"]
    for head in ("video", "skeleton", "both"):
        if head in result:
            row = result[head]
            seen = f", seen classes {row['seen_top1']:.1f} %" if "seen_top1" in row else ""
            harmonic = f", harmonic mean over all {row['gzsl_harmonic']:.1f} %" if "gzsl_harmonic" in row else ""
            lines.append(f"{head}: unseen classes {row['zsl_top1']:.1f} % top-1{seen}{harmonic}")
    if "bundle" in result:
        lines.append(f"next: ski-edge monitor --model {result['bundle']} --source VIDEO")
    for group, top1 in result.get("held_out_top1", {}).items():
        lines.append(f"{group}: {top1:.1f} %")
    return "\n".join(lines)


class _progress:
    """A bar on a terminal, a line per epoch elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._bar, self._task, self._drawn = quiet, None, None, 0

    def __enter__(self) -> Any:
        import sys

        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, row: dict[str, Any], epochs: int) -> None:
        parts = [f"loss {row['loss']:.4f}"]
        if "train_top1" in row:
            parts.append(f"train {row['train_top1']:.1f} %")
        parts += [f"{side} {row[f'{side}_top1']:.1f} %" for side in ("video", "skeleton") if f"{side}_top1" in row]
        if row.get("choose_top1", "") != "":
            parts.append(f"choosing {row['choose_top1']:.2f} %")
        stage = f"{row['stage']}: " if "stage" in row else ""
        line = f"{stage}epoch {row['epoch']}/{epochs}: {', '.join(parts)}"
        if self._bar is None:
            log(f"{line}, {row['seconds']:.0f} s")
            return
        self._show(row["epoch"], epochs, line)

    def drawing(self, done: int, total: int) -> None:
        """Clips drawn so far."""
        if self._bar is not None:
            self._show(done, total, f"drawing clips: {done} of {total}")
        elif not self._quiet and (10 * done // total > self._drawn or done == total):
            self._drawn = 10 * done // total
            log(f"drawing clips: {done} of {total}")

    def _show(self, done: int, total: int, line: str) -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done, total=total, description=line)
