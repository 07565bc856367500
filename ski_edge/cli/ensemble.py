"""`ski-edge ensemble`: several streams' scores, added up."""

from __future__ import annotations

from pathlib import Path

import typer

from ski_edge.cli.evaluate import text
from ski_edge.cli.output import JSON, emit
from ski_edge.errors import BadInput


def register(app: typer.Typer) -> None:
    app.command("ensemble", help="Add up several streams' scores, by given or fitted weights.")(ensemble)


def ensemble(
    scores: list[Path] = typer.Argument(..., help="scores.npz files or the folders that hold them, one per stream."),
    weights: str = typer.Option(None, help="0.6,0.6,0.4,0.4, one per stream. Default: CTR-GCN's for four, else equal."),
    fit: list[Path] = typer.Option(None, help="Scores of the same streams on validation data, to fit the weights on."),
    out: Path = typer.Option(Path("runs/ensemble"), help="Folder for the report and scores.npz."),
    as_json: bool = JSON,
) -> None:
    from ski_edge.evaluate import measure
    from ski_edge.evaluate.ensemble import CTRGCN, combine
    from ski_edge.evaluate.ensemble import fit as fitted
    from ski_edge.evaluate.report import write_report
    from ski_edge.evaluate.scores import read_scores, write_scores

    if weights and fit:
        raise BadInput("give --weights or --fit, not both")
    streams = [read_scores(_file(path)) for path in scores]
    if fit:
        if len(fit) != len(scores):
            raise BadInput(f"--fit needs one file per stream, {len(scores)}; got {len(fit)}")
        chosen, how = fitted([read_scores(_file(path)) for path in fit]), "fitted on the scores given with --fit"
    elif weights:
        try:
            chosen, how = tuple(float(weight) for weight in weights.split(",")), "given"
        except ValueError as error:
            raise BadInput(f"--weights must be numbers with commas, got {weights!r}") from error
    elif len(streams) == len(CTRGCN):
        chosen, how = CTRGCN, "CTR-GCN's for joint, bone, joint motion, bone motion, in this order"
    else:
        chosen, how = (1.0,) * len(streams), "equal"
    total = combine(streams, chosen)
    metrics = measure(total.logits, total.labels)
    about = {"streams": [str(path) for path in scores], "weights": list(chosen), "weights_are": how}
    content = write_report(out, metrics, total.classes, about)
    write_scores(out / "scores.npz", total)
    emit({"report": str(out), **content}, as_json, lambda: f"weights {list(chosen)} ({how})\n{text(out, metrics)}")


def _file(path: Path) -> Path:
    return path / "scores.npz" if path.is_dir() else path
