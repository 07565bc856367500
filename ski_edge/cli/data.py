"""`ski-edge data`: raw skeleton sets become prepared data; a look at either, and at videos beside them; class names."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ski_edge.cli.output import JSON, emit, log, steps
from ski_edge.errors import BadInput

if TYPE_CHECKING:
    from ski_edge.data.plans import Plan, PrepareOptions

_DATASETS = "ntu, ucla, utd, pku, sysu, smarthome or folder"
_LINE_EVERY_S = 10.0


def register(app: typer.Typer) -> None:
    verbs = typer.Typer(help="Prepare, convert and check skeleton data sets.", no_args_is_help=True)
    verbs.command("prepare", help="Turn a raw data set into prepared data. Goes on after a kill.")(prepare)
    verbs.command("convert", help="Turn CTR-GCN's .npz or pyskl's .pkl file into prepared data.")(convert)
    verbs.command("check", help="Summary of prepared data, of one raw file, or of prepared data and its videos.")(check)
    verbs.command("prompts", help="Class names and prompts of a split, in the official formats.")(prompts)
    app.add_typer(verbs, name="data")


def prepare(
    dataset: str = typer.Argument(..., metavar="DATASET", help=f"{_DATASETS}."),
    raw: Path = typer.Option(..., help="Folder with the raw files (searched with its sub-folders)."),
    out: Path = typer.Option(..., help="Folder to write."),
    workers: int = typer.Option(1, min=1, max=256, help="Processes."),
    subset: str = typer.Option(None, help="ntu: 60 or 120; default: 120 where there are actions above 60."),
    second_body: str = typer.Option(
        None, help="ntu: zeros or copy, what body 2 of a one-person clip is for networks; default: as the originals."
    ),
    missing: Path = typer.Option(None, help="ntu: list of samples to leave out; default: one beside the files."),
    labels: Path = typer.Option(None, help="folder: csv of name,label[,subject]; default: labels.csv in --raw."),
    layout: str = typer.Option(None, help="folder: joint layout, a name or a YAML file."),
    fps: float = typer.Option(None, help="folder: frames per second; default 30."),
    as_json: bool = JSON,
) -> None:
    from ski_edge.data.prepare import prepare as run
    from ski_edge.data.sources import make_plan

    options = _options(subset=subset, second_body=second_body, missing=missing, labels=labels, layout=layout, fps=fps)
    plan = _named(make_plan(dataset, raw, options))
    with _bar(f"preparing {plan.dataset}", "skipped", quiet=as_json) as progress:
        report = run(plan, out, workers, progress)
    emit({"out": str(out), **report}, as_json, _summary(out, report))


def convert(
    source: Path = typer.Argument(..., metavar="FILE", help="CTR-GCN's .npz or pyskl's .pkl file."),
    out: Path = typer.Option(..., help="Folder to write."),
    classes: str = typer.Option(None, help="Class names in order: a file, a list, ntu60 or ntu120."),
    as_json: bool = JSON,
) -> None:
    from ski_edge.bundle.labels import read_labels
    from ski_edge.data.convert import convert as run

    if not source.is_file():
        raise BadInput(f"{source} does not exist or is not a file")
    names = tuple(label.name for label in read_labels(classes)) if classes else ()
    with steps(quiet=as_json) as step:
        step(f"converting {source}")
        report = run(source, out, names)
    emit({"out": str(out), **report}, as_json, _summary(out, report))


def check(
    path: Path = typer.Argument(..., metavar="PATH", help="Prepared folder, or one raw file."),
    layout: str = typer.Option(None, help="Of a .npy or .csv clip: a name or a YAML file."),
    videos: Path = typer.Option(None, help="Videos of the same clips: a folder, or the official list (csv)."),
    root: Path = typer.Option(None, help="Where the names in the list begin; default: beside it."),
    classes: Path = typer.Option(None, help="Class names of the list's labels, to compare them with the skeletons'."),
    split: list[str] = typer.Option([], help="Splits to look at; default: all that fit."),
    list_file: Path = typer.Option(
        None,
        "--list",
        help="File to write; training leaves out what it calls unusable.",
    ),
    workers: int = typer.Option(1, min=1, max=256, help="Files decoded at a time."),
    as_json: bool = JSON,
) -> None:
    from ski_edge.data.check import check as run
    from ski_edge.skeleton import get_layout

    if videos is None:
        if root or classes or split or list_file:
            raise BadInput("--root, --classes, --split and --list are about videos; give --videos")
        summary = run(path, get_layout(layout) if layout else None)
        lines = [f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in summary.items()]
        emit(summary, as_json, "\n".join(lines))
        return
    from ski_edge.data.prompts import read_classes
    from ski_edge.data.store import open_data
    from ski_edge.data.video.check import check_pairs

    if list_file is not None and not list_file.absolute().parent.is_dir():
        raise BadInput(f"--list {list_file}: its folder does not exist")
    data, names = open_data(path), read_classes(classes) if classes else ()
    with _bar("decoding", "unusable", quiet=as_json) as progress:
        summary = check_pairs(data, videos, root, names, split, list_file, workers, progress)
    emit(summary, as_json, _paired(summary))


def prompts(
    classes: str = typer.Argument(..., metavar="CLASSES", help="ntu60, ntu120, a file of names, or a prepared folder."),
    out: Path = typer.Option(..., help="Folder to write into."),
    split: str = typer.Option(None, help="Zero-shot split, such as 48/12 or unseen:7,seed=3: base and novel csv."),
    templates: str = typer.Option("vifi", help="vifi, bare, froster, or a file with a template a line."),
    descriptions: Path = typer.Option(None, help="File of `name: description` lines, or utd, which ships."),
    as_json: bool = JSON,
) -> None:
    from ski_edge.data.prompts import class_prompts, prompts_file, read_prompts, write_split_classes
    from ski_edge.files import write_json

    names = _class_names(classes)
    made = class_prompts(names, templates, read_prompts(prompts_file(descriptions)) if descriptions else None)
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file; give a folder")
    if split is not None:
        from ski_edge.data.splits import zero_shot_classes

        zero_shot_classes(split, names)  # before a folder is made
    out.mkdir(parents=True, exist_ok=True)
    files = list(write_split_classes(out, names, split)) if split is not None else []
    write_json(out / "prompts.json", {name: list(sentences) for name, sentences in made.items()})
    files = [str(path) for path in (*files, out / "prompts.json")]
    emit({"files": files, "classes": len(names)}, as_json, "\n".join(files))


def _class_names(spec: str) -> tuple[str, ...]:
    """Names of a label set, of a prepared folder or of a file."""
    from ski_edge.bundle.labels import LABEL_SETS, label_set
    from ski_edge.data.prompts import read_classes
    from ski_edge.data.store import open_data

    if spec in LABEL_SETS:
        return tuple(label.name for label in label_set(spec))
    return open_data(spec).index.classes if Path(spec).is_dir() else read_classes(Path(spec))


def _paired(summary: dict[str, Any]) -> str:
    """A check of pairs, for people: counts, and the first few of each list."""
    lines = [f"{summary['pairs']} pairs of {summary['video_files']} videos and {summary['skeletons']} skeletons"]
    unusable = [f"{item['file']}: {item['why']}" for item in summary["unusable"]]
    found = {
        "videos that cannot be used": unusable,
        **{
            key.replace("_", " "): summary[key]
            for key in ("videos_without_skeleton", "skeletons_without_video", "lengths_differ", "labels_differ")
        },
    }
    for what, items in found.items():
        lines.append(f"{what}: {len(items)}")
        lines += [f"  {item}" for item in items[:3]]
        lines += [f"  and {len(items) - 3} more; all with --json"] if len(items) > 3 else []
    for name, part in summary["splits"].items():
        if "error" in part:
            lines.append(f"split {name}: {part['error']}")
            continue
        lines.append(f"split {name}: {part['train']} train, {part['test']} test")
        for what in ("train", "test"):
            if missing := part[f"{what}_classes_without_pairs"]:
                lines.append(f"  {len(missing)} classes without {what} pairs: {', '.join(missing[:8])}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({count})" for key, count in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def _summary(out: Path, report: dict[str, Any]) -> str:
    lines = [f"{out}: {report['clips']} clips, {report['frames']} frames of {report['dataset']}"]
    lines += [f"  {note}" for note in report["notes"]]
    if report["skipped"]:
        lines.append(f"  {len(report['skipped'])} skipped, the reasons are in {out / 'report.json'}; the first:")
        lines += [f"    {item['file']}: {item['why']}" for item in report["skipped"][:3]]
    return "\n".join(lines)


def _named(plan: Plan) -> Plan:
    """NTU's class names are a label set of ours; the data package knows only numbers."""
    from dataclasses import replace

    from ski_edge.bundle.labels import label_set

    if plan.dataset != "ntu":
        return plan
    return replace(plan, classes=tuple(label.name for label in label_set(f"ntu{len(plan.classes)}")))


def _options(**values: object) -> PrepareOptions:
    from pydantic import ValidationError

    from ski_edge.data.plans import PrepareOptions

    try:
        return PrepareOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise BadInput(f"{flag} {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


@contextlib.contextmanager
def _bar(title: str, lost: str, quiet: bool) -> Iterator[Callable[[int, int, int], None]]:
    """A callback (done, total, lost): a bar with the time left on a terminal, a line now and then elsewhere.

    lost: the word for those that were.
    """
    if quiet:
        yield lambda done, total, skipped: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("")

            def show(done: int, total: int, skipped: int) -> None:
                bar.update(task, completed=done, total=total, description=f"{skipped} {lost}" if skipped else "")

            yield show
    else:
        started = last = time.monotonic()

        def line(done: int, total: int, skipped: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _LINE_EVERY_S or done == total:
                last = now
                rate = done / max(now - started, 1e-9)
                log(f"{title}: {done} of {total} files, {skipped} {lost}, {rate:.0f} files/s")

        yield line
