"""`ski-edge evaluate`: a checkpoint or a bundle against labelled data, or the SKI paper's tables beside our numbers.

Skeleton classifiers are measured on prepared skeletons, video-text checkpoints on the videos of the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import BACKEND, JSON, PRECISION, emit, log, steps
from ski_edge.errors import BadInput, MissingDependency

_OURS = Path("benchmarks/results/ski/table.json")  # in the checkout


def register(app: typer.Typer) -> None:
    help = (
        "Accuracy, per-class recall and confusion: of a skeleton classifier on prepared data, of a video-text "
        "checkpoint on --videos (zero-shot where the split divides classes); or, with --table, tables."
    )
    app.command("evaluate", help=help)(evaluate)


def evaluate(
    model: str = typer.Argument(None, help="Checkpoint folder, bundle folder, shipped name, openclip:TAG (raw CLIP)."),
    data: Path = typer.Option(None, help="Folder that ski-edge data prepare wrote."),
    split: str = typer.Option(
        None, help="Its test part is used: xsub60, cross-view, ..., 48/12, 48/12@xsub60 (novel and seen), or 'all'."
    ),
    videos: Path = typer.Option(None, help="Videos of the clips: a folder, or the official list (csv)."),
    root: Path = typer.Option(None, help="Where the names in the list begin; default: beside it."),
    checked: Path = typer.Option(None, help="What data check --list wrote: videos it finds unusable are left out."),
    views: str = typer.Option(None, help="Of each video: in time x crops (1 or 3), such as 4x3. Default: 1x1."),
    rate: int = typer.Option(
        None, min=1, help="Frames of the video per frame of a view. Default: froster 16, others an equal part each."
    ),
    workers: int = typer.Option(2, min=0, max=256, help="Threads that decode --videos."),
    prompts: Path = typer.Option(None, help="Sentences for classes: utd (ships), or a label file (data prompts)."),
    template: str = typer.Option(None, help='Of class names, in place of the model\'s own: "{}" for bare names.'),
    tsne: bool = typer.Option(False, "--tsne", help="Also a picture of the clips' embeddings (t-SNE), by class."),
    maps: int = typer.Option(0, min=0, help="Of so many videos, a picture of where the model looks for their class."),
    beside: Path = typer.Option(None, help="With --maps: another checkpoint, in the same pictures."),
    out: Path = typer.Option(None, help="Folder for the report and scores.npz. Default: runs/evaluate/NAME."),
    table: list[str] = typer.Option(None, help="Measure nothing, print ski-1 ... ski-5 of the SKI paper, or all."),
    ours: Path = typer.Option(None, help=f"With --table: our numbers, JSON. Default: {_OURS} where it exists."),
    markdown: bool = typer.Option(False, "--markdown", help="With --table: as Markdown."),
    backend: str = BACKEND,
    precision: str = PRECISION,
    as_json: bool = JSON,
) -> None:
    if table:
        if model or data or split or out or (backend, precision) != ("auto", "fp32"):
            raise BadInput(
                "--table prints numbers that are there; leave out the model, --data, --split, --out, --backend and "
                "--precision"
            )
        _tables(table, ours, markdown, as_json)
        return
    if ours or markdown:
        raise BadInput("--ours and --markdown go with --table")
    for value, name in ((model, "a model"), (data, "--data"), (split, "--split")):
        if value is None:
            raise BadInput(
                f"evaluate needs {name}: ski-edge evaluate MODEL --data FOLDER --split NAME (or --table ski-1)"
            )
    from ski_edge.cli import evaluate_texts as texts

    folder = Path(model.replace(":", "-")).resolve()
    out = out or Path("runs/evaluate") / (folder.parent.name if folder.name == "checkpoint" else folder.name)
    words = texts.Words(prompts, template)
    runs_as = _RunsAs(backend, precision)
    if videos is not None:
        if beside is not None and not maps:
            raise BadInput("--beside goes with --maps: of how many videos?")
        found = texts.Videos(videos, root, checked, texts.parse_views(views or "1x1"), rate, workers, maps, beside)
    elif root or checked or views or rate or maps or beside:
        raise BadInput("--root, --checked, --views, --rate, --maps and --beside are about videos; give --videos")
    skeleton_text = videos is None and texts.is_skeleton_text(model, split)
    if videos is not None or skeleton_text:
        runs_as.check_torch(model)
        with steps(quiet=as_json) as step:
            if skeleton_text:
                content = texts.skeleton_report(model, data, split, words, out, step, tsne)
            else:
                content = texts.video_report(model, data, split, words, found, out, step, tsne)
        emit({"report": str(out), **content}, as_json, lambda: texts.report_text(out, content))
        return
    if prompts or template:
        raise BadInput("--prompts and --template are for models that read text, on classes they were not trained on")
    with steps(quiet=as_json) as step:
        metrics, content = _skeleton_report(Path(model), data, split, runs_as, out, step, tsne)
    for note in content.pop("notes", []):
        log(f"note: {note}")
    emit({"report": str(out), **content}, as_json, lambda: "\n".join([text(out, metrics), *pictures(content)]))


@dataclass(frozen=True)
class _RunsAs:
    """How --backend and --precision say that a bundle runs."""

    backend: str
    precision: str

    def check_torch(self, model: object) -> None:
        """Raise if anything but torch was asked for: checkpoints have one way to run."""
        for name, given, default in (("--backend", self.backend, "auto"), ("--precision", self.precision, "fp32")):
            if given != default:
                raise BadInput(
                    f"{name} {given} is for skeleton bundles; {model} is measured by torch in float32. Leave it away, "
                    "or export a skeleton checkpoint and give its bundle"
                )


def _skeleton_report(
    model: Path, data: Path, split: str, runs_as: _RunsAs, out: Path, step: Any, tsne: bool
) -> tuple[Any, dict[str, Any]]:
    """Measure a skeleton classifier and write the report: (its metrics, what metrics.json holds)."""
    step("reading data")
    from ski_edge.evaluate import measure
    from ski_edge.evaluate.report import write_report
    from ski_edge.evaluate.scores import Scores, write_scores

    opened = _open(model, runs_as)
    classes = opened.classes
    if tsne and opened.embed is None:
        raise BadInput(f"{model} is a bundle, which keeps no embeddings; --tsne needs its checkpoint")
    clips, labels, names = _test_part(data, split, opened.spec, classes)
    step(f"classifying {len(clips)} clips with {opened.by}")
    logits = opened.classify(clips)
    metrics = measure(logits, labels)
    content = write_report(out, metrics, classes, {**opened.about, "data": data.name, "split": split})
    write_scores(out / "scores.npz", Scores(logits, labels, names, classes))
    if tsne:
        step("drawing embeddings")
        content["embeddings"] = draw_embeddings(out, opened.embed(clips), labels, classes)
    return metrics, content


def text(out: Path, metrics: Any) -> str:
    """Lines for people, shared with `ensemble`."""
    return (
        f"top-1 {metrics.top1:.2f} %, top-5 {metrics.top5:.2f} %, mean class recall {metrics.mean_recall:.2f} %, "
        f"{metrics.clips} clips\n{out}: metrics.json, per_class.csv, confusion.csv, confusion.png, scores.npz"
    )


@dataclass(frozen=True)
class _Opened:
    """A skeleton classifier, from a checkpoint or a bundle."""

    classes: tuple[str, ...]
    spec: Any  # SkeletonInput
    classify: Callable[[Any], Any]  # clips -> logits
    embed: Callable[[Any], Any] | None  # clips -> features [N, D]
    about: dict[str, Any]
    by: str  # what computes, for people


def draw_embeddings(out: Path, rows: Any, labels: Any, classes: tuple[str, ...]) -> str:
    """Writes embeddings.png; how its places were made, or why it is not there: numbers that were measured stay."""
    from ski_edge.evaluate.pictures import embedding_picture

    try:
        return embedding_picture(out / "embeddings.png", rows, labels, classes)
    except (BadInput, MissingDependency) as error:
        log(f"note: no embeddings.png: {error}")
        return f"not drawn: {error}"


def pictures(content: dict[str, Any]) -> list[str]:
    """Lines on the pictures that were asked for."""
    lines = [f"embeddings.png: {content['embeddings']}"] if "embeddings" in content else []
    return [*lines, f"maps/: {len(content['maps'])} videos"] if "maps" in content else lines


def _tables(names: list[str], ours: Path | None, markdown: bool, as_json: bool) -> None:
    """The SKI paper's tables on stdout."""
    from ski_edge.evaluate.paper import TABLES, compare_tables, read_ours, render_tables

    names = list(TABLES) if "all" in names else names
    file = ours or (_OURS if _OURS.is_file() else None)
    numbers = read_ours(file) if file else None
    content = {"ours_from": str(file) if file else None, **compare_tables(names, numbers)}
    if not as_json:
        log(f"our numbers: {file}" if file else f"our numbers: none; no {_OURS} here, and no --ours")
    emit(content, as_json, lambda: render_tables(names, numbers, "markdown" if markdown else "text"))


def _open(model: Path, runs_as: _RunsAs) -> _Opened:
    if (model / "config.json").is_file():
        runs_as.check_torch(model)
        from ski_edge.errors import require

        require("torch", "train", "evaluating a checkpoint")
        import torch

        from ski_edge.evaluate.classify import classify, embed, own_classes
        from ski_edge.models import load_model
        from ski_edge.models.pose import PoseNetwork
        from ski_edge.models.skeletonclip import SkeletonCLIP

        network = load_model(model)
        config = network.config
        if isinstance(network, SkeletonCLIP):
            network = own_classes(network)
        if not isinstance(network, PoseNetwork):
            raise BadInput(
                f"{model} is a {config.model}, which sees videos; give --videos: those of the clips in --data"
            )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network.to(device)
        about = {"model": config.model, "arch": config.arch, "weights": config.weights, "device": str(device)}
        own = network.config
        return _Opened(
            own.class_names,
            own.skeleton,
            lambda clips: classify(network, clips, device),
            lambda clips: embed(network, clips, device),
            about,
            f"torch on {device}",
        )
    from ski_edge.evaluate.windows import over_windows
    from ski_edge.runtime import PoseSession, find_bundle, open_bundle, shipped

    if not find_bundle(model).exists():
        raise BadInput(f"{model} is no checkpoint, no bundle and no shipped name ({', '.join(shipped())})")
    session = open_bundle(model, runs_as.backend, precision=runs_as.precision)
    if not isinstance(session, PoseSession):
        raise BadInput(f"{model} is a {session.task} bundle; evaluate measures its checkpoint, with --videos")
    manifest = session.manifest
    about = {"model": manifest.model, "arch": manifest.arch, "weights": manifest.provenance.weights}
    about |= {"backend": session.backend, "device": str(session.device), "precision": session.precision}
    spec = manifest.skeleton
    by = f"{session.backend} on {session.device}, {session.precision}"
    return _Opened(session.classes, spec, lambda clips: over_windows(session.classify, clips, spec), None, about, by)


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
