"""`ski-edge train`: a recipe becomes a run folder with a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit, log, seconds
from ski_edge.errors import require


def register(app: typer.Typer) -> None:
    app.command("train", help="Train a skeleton classifier from a recipe; resumes where it was stopped.")(train)


def train(
    recipe: str = typer.Argument(..., help="Name of a recipe, or a .yaml file."),
    changes: list[str] = typer.Argument(None, metavar="[KEY=VALUE]...", help="seed=2 skeleton.modality=bone ..."),
    out: Path = typer.Option(None, help="Run folder. Default: runs/train/RECIPE."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in --out, if there is one."),
    stop_after: str = typer.Option(None, help="Stop after the epoch that passes this time (9m), to be resumed."),
    threads: int = typer.Option(0, min=0, help="CPU threads; 0: one per core."),
    as_json: bool = JSON,
) -> None:
    for package in ("torch", "lightning"):
        require(package, "train", "train")
    from ski_edge.train import read_recipe
    from ski_edge.train.loop import train as run

    parsed = read_recipe(recipe, changes)
    out = out or Path("runs/train") / Path(recipe).stem
    limit = seconds(stop_after, "--stop-after") if stop_after else None
    with _progress(quiet=as_json) as report:
        result = run(parsed, out, resume=resume, stop_after_s=limit, threads=threads, report=report)
    if not result:  # not the first process of several
        return
    emit({"run": str(out), **result}, as_json, lambda: _text(out, recipe, result))


def _text(out: Path, recipe: str, result: dict[str, Any]) -> str:
    if not result["finished"]:
        return (
            f"{out}: stopped after epoch {result['epochs']}; go on with: ski-edge train {recipe} --out {out} --resume"
        )
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


class _progress:
    """A bar on a terminal, a line per epoch elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._bar, self._task = quiet, None, None

    def __enter__(self) -> Any:
        import sys

        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
        return self._report

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, row: dict[str, Any], epochs: int) -> None:
        chosen = f", choosing {row['choose_top1']:.2f} %" if row["choose_top1"] != "" else ""
        line = f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, train {row['train_top1']:.1f} %{chosen}"
        if self._bar is None:
            log(f"{line}, {row['seconds']:.0f} s")
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=epochs)
        self._bar.update(self._task, completed=row["epoch"], description=line)
