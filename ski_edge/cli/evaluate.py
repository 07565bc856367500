"""`ski-edge evaluate`: a checkpoint or a bundle against labelled data, or the SKI paper's tables beside our numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit, log, steps
from ski_edge.errors import BadInput

_OURS = Path("benchmarks/results/ski/table.json")  # in the checkout


def register(app: typer.Typer) -> None:
    help = (
        "Accuracy, per-class recall and confusion of a skeleton classifier on prepared data; or, with --table, tables."
    )
    app.command("evaluate", help=help)(evaluate)


def evaluate(
    model: Path = typer.Argument(None, help="Checkpoint folder, bundle folder or shipped name."),
    data: Path = typer.Option(None, help="Folder that ski-edge data prepare wrote."),
    split: str = typer.Option(None, help="Its test part is used: xsub60, cross-view, odd-even, ... or 'all'."),
    out: Path = typer.Option(None, help="Folder for the report and scores.npz. Default: runs/evaluate/NAME."),
    table: list[str] = typer.Option(None, help="Measure nothing, print ski-1 ... ski-5 of the SKI paper, or all."),
    ours: Path = typer.Option(None, help=f"With --table: our numbers, JSON. Default: {_OURS} where it exists."),
    markdown: bool = typer.Option(False, "--markdown", help="With --table: as Markdown."),
    as_json: bool = JSON,
) -> None:
    if table:
        if model or data or split or out:
            raise BadInput("--table prints numbers that are there; leave out the model, --data, --split and --out")
        _tables(table, ours, markdown, as_json)
        return
    if ours or markdown:
        raise BadInput("--ours and --markdown go with --table")
    for value, name in ((model, "a model"), (data, "--data"), (split, "--split")):
        if value is None:
            raise BadInput(
                f"evaluate needs {name}: ski-edge evaluate MODEL --data FOLDER --split NAME (or --table ski-1)"
            )
    folder = model.resolve()
    out = out or Path("runs/evaluate") / (folder.parent.name if folder.name == "checkpoint" else folder.name)
    with steps(quiet=as_json) as step:
        step("reading data")
        from ski_edge.evaluate import measure
        from ski_edge.evaluate.report import write_report
        from ski_edge.evaluate.scores import Scores, write_scores

        classes, spec, classify, about = _open(model)
        clips, labels, names = _test_part(data, split, spec, classes)
        step(f"classifying {len(clips)} clips")
        logits = classify(clips)
        metrics = measure(logits, labels)
        content = write_report(out, metrics, classes, {**about, "data": data.name, "split": split})
        write_scores(out / "scores.npz", Scores(logits, labels, names, classes))
    for note in content.pop("notes", []):
        log(f"note: {note}")
    emit({"report": str(out), **content}, as_json, lambda: text(out, metrics))


def text(out: Path, metrics: Any) -> str:
    """Lines for people, shared with `ensemble`."""
    return (
        f"top-1 {metrics.top1:.2f} %, top-5 {metrics.top5:.2f} %, mean class recall {metrics.mean_recall:.2f} %, "
        f"{metrics.clips} clips\n{out}: metrics.json, per_class.csv, confusion.csv, confusion.png, scores.npz"
    )


def _tables(names: list[str], ours: Path | None, markdown: bool, as_json: bool) -> None:
    """The SKI paper's tables on stdout."""
    from ski_edge.evaluate.paper import TABLES, compare_tables, read_ours, render_tables

    names = list(TABLES) if "all" in names else names
    file = ours or (_OURS if _OURS.is_file() else None)
    numbers = read_ours(file) if file else None
    content = {"ours_from": str(file) if file else None, **compare_tables(names, numbers)}
    if file and not as_json:
        log(f"our numbers: {file}")
    emit(content, as_json, lambda: render_tables(names, numbers, "markdown" if markdown else "text"))


def _open(model: Path) -> tuple[tuple[str, ...], Any, Any, dict[str, Any]]:
    """(classes, SkeletonInput, clips -> logits, what to write down) of a checkpoint or a bundle."""
    if (model / "config.json").is_file():
        from ski_edge.errors import require

        require("torch", "train", "evaluating a checkpoint")
        import torch

        from ski_edge.evaluate.classify import classify, own_classes
        from ski_edge.models import load_model
        from ski_edge.models.pose import PoseNetwork
        from ski_edge.models.skeletonclip import SkeletonCLIP

        network = load_model(model)
        config = network.config
        if isinstance(network, SkeletonCLIP):
            network = own_classes(network)
        if not isinstance(network, PoseNetwork):
            raise BadInput(f"{model} is a {config.model}; evaluate measures skeleton networks")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network.to(device)
        about = {"model": config.model, "arch": config.arch, "weights": config.weights, "device": str(device)}
        own = network.config
        return own.class_names, own.skeleton, lambda clips: classify(network, clips, device), about
    from ski_edge.evaluate.windows import over_windows
    from ski_edge.runtime import PoseSession, find_bundle, open_bundle, shipped

    if not find_bundle(model).exists():
        raise BadInput(f"{model} is no checkpoint, no bundle and no shipped name ({', '.join(shipped())})")
    session = open_bundle(model)
    if not isinstance(session, PoseSession):
        raise BadInput(f"{model} is a {session.task} bundle; evaluate measures skeleton classifiers")
    manifest = session.manifest
    about = {"model": manifest.model, "arch": manifest.arch, "weights": manifest.provenance.weights}
    about |= {"backend": session.backend, "device": str(session.device), "precision": manifest.precision.asked}
    spec = manifest.skeleton
    return session.classes, spec, lambda clips: over_windows(session.classify, clips, spec), about


def _test_part(data: Path, split_name: str, spec: Any, classes: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """(clips in the network's layout, labels as the network counts them, names) of the test part."""
    import numpy as np

    from ski_edge.data.clips import check_rate, load_clips
    from ski_edge.data.splits import split
    from ski_edge.data.store import open_data

    opened = open_data(data)
    check_rate(opened, spec)
    chosen = np.flatnonzero(opened.labels >= 0) if split_name == "all" else split(opened, split_name)[1]
    unknown = sorted({opened.index.classes[k] for k in opened.labels[chosen]} - set(classes))
    if unknown:
        known = ", ".join(classes[:8])
        raise BadInput(f"the network has no class {unknown[0]!r} ({len(unknown)} such); it has: {known}")
    position = np.array([classes.index(name) if name in classes else -1 for name in opened.index.classes])
    return load_clips(opened, chosen, spec), position[opened.labels[chosen]], opened.column("name")[chosen]
