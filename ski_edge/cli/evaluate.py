"""`ski-edge evaluate`: a checkpoint or a bundle against labelled data, or the SKI paper's tables beside our numbers.

Skeleton classifiers are measured on prepared skeletons, video-text checkpoints on the videos of the same names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit, log, steps
from ski_edge.errors import BadInput

_OURS = Path("benchmarks/results/ski/table.json")  # in the checkout


def register(app: typer.Typer) -> None:
    help = (
        "Accuracy, per-class recall and confusion: of a skeleton classifier on prepared data, of a video-text "
        "checkpoint on --videos (zero-shot where the split divides classes); or, with --table, tables."
    )
    app.command("evaluate", help=help)(evaluate)


def evaluate(
    model: Path = typer.Argument(None, help="Checkpoint folder, bundle folder or shipped name."),
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
    prompts: Path = typer.Option(None, help="Sentences for classes of --videos, a label file (see data prompts)."),
    tsne: bool = typer.Option(False, "--tsne", help="Also a picture of the clips' embeddings (t-SNE), by class."),
    maps: int = typer.Option(0, min=0, help="Of so many videos, a picture of where the model looks for their class."),
    beside: Path = typer.Option(None, help="With --maps: another checkpoint, in the same pictures."),
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
    if videos is not None:
        if beside is not None and not maps:
            raise BadInput("--beside goes with --maps: of how many videos?")
        found = _Videos(videos, root, checked, _views(views or "1x1"), rate, workers, prompts, tsne, maps, beside)
        with steps(quiet=as_json) as step:
            content = _video_report(model, data, split, found, out, step)
        emit({"report": str(out), **content}, as_json, lambda: _video_text(out, content))
        return
    if root or checked or views or rate or prompts or maps or beside:
        raise BadInput(
            "--root, --checked, --views, --rate, --prompts, --maps and --beside are about videos; give --videos"
        )
    with steps(quiet=as_json) as step:
        step("reading data")
        from ski_edge.evaluate import measure
        from ski_edge.evaluate.report import write_report
        from ski_edge.evaluate.scores import Scores, write_scores

        opened = _open(model)
        classes = opened.classes
        if tsne and opened.embed is None:
            raise BadInput(f"{model} is a bundle, which keeps no embeddings; --tsne needs its checkpoint")
        clips, labels, names = _test_part(data, split, opened.spec, classes)
        step(f"classifying {len(clips)} clips")
        logits = opened.classify(clips)
        metrics = measure(logits, labels)
        content = write_report(out, metrics, classes, {**opened.about, "data": data.name, "split": split})
        write_scores(out / "scores.npz", Scores(logits, labels, names, classes))
        if tsne:
            step("drawing embeddings")
            content["embeddings"] = _embeddings(out, opened.embed(clips), labels, classes)
    for note in content.pop("notes", []):
        log(f"note: {note}")
    emit({"report": str(out), **content}, as_json, lambda: "\n".join([text(out, metrics), *_pictures(content)]))


def text(out: Path, metrics: Any) -> str:
    """Lines for people, shared with `ensemble`."""
    return (
        f"top-1 {metrics.top1:.2f} %, top-5 {metrics.top5:.2f} %, mean class recall {metrics.mean_recall:.2f} %, "
        f"{metrics.clips} clips\n{out}: metrics.json, per_class.csv, confusion.csv, confusion.png, scores.npz"
    )


@dataclass(frozen=True)
class _Videos:
    """What the options say of videos."""

    path: Path
    root: Path | None
    checked: Path | None
    views: tuple[int, int]
    rate: int | None
    workers: int
    prompts: Path | None
    tsne: bool
    maps: int
    beside: Path | None


@dataclass(frozen=True)
class _Opened:
    """A skeleton classifier, from a checkpoint or a bundle."""

    classes: tuple[str, ...]
    spec: Any  # SkeletonInput
    classify: Callable[[Any], Any]  # clips -> logits
    embed: Callable[[Any], Any] | None  # clips -> features [N, D]
    about: dict[str, Any]


def _views(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([13])", text, re.ASCII)
    if match is None:
        raise BadInput(f"--views {text!r} must be views in time x crops, crops 1 or 3, such as 1x1 or 4x3")
    return int(match[1]), int(match[2])


def _video_report(model: Path, data: Path, split: str, found: _Videos, out: Path, step: Any) -> dict[str, Any]:
    """Measure a video-text checkpoint, write the report; what metrics.json holds."""
    step("reading data")
    from ski_edge.errors import require

    require("torch", "train", "evaluating a checkpoint")
    import torch

    from ski_edge.bundle.labels import read_label_file
    from ski_edge.data.store import open_data
    from ski_edge.data.video import open_videos
    from ski_edge.evaluate.attention import draw_maps, shared_views
    from ski_edge.evaluate.report import write_report
    from ski_edge.evaluate.scores import Scores, write_scores
    from ski_edge.evaluate.video import measure_videos, open_test, run_videos, sum_policy, views_of
    from ski_edge.models import load_model
    from ski_edge.models.clip import ClipModel

    prompts = None
    if found.prompts is not None:
        prompts = {label.name: label.prompts for label in read_label_file(found.prompts)}
    opened = open_data(data)
    test = open_test(opened, videos := open_videos(found.path, opened.index.classes, found.root, found.checked), split)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = {}
    for path in [model, *([found.beside] if found.beside is not None else [])]:
        networks[str(path)] = network = load_model(path).to(device)
        if not isinstance(network, ClipModel):
            raise BadInput(f"{path} is a {network.config.model}, which sees skeletons; leave --videos away")
    network = networks[str(model)]
    config = network.config
    shared_views(networks)  # before anything is measured
    views = views_of(config, found.views, found.rate)
    tell = _every_tenth(step)
    logits, embeddings = run_videos(network, videos, test, views, prompts=prompts, workers=found.workers, progress=tell)
    result = measure_videos(logits, test, sum_policy(config))
    about: dict[str, Any] = {"model": config.model, "arch": config.arch, "weights": config.weights}
    about |= {"device": str(device), "data": data.name, "videos": found.path.name, "split": split}
    about |= {"classes": len(test.novel), "views": f"{found.views[0]}x{found.views[1]}", "frames": views.frames}
    about |= {"clips_without_video": test.without_video, "left_out": len(videos.left_out)}
    if result.general is not None:
        about["seen_classes"] = {name: getattr(result.seen, name) for name in ("clips", "top1", "mean_recall")}
        about["generalised"] = {name: getattr(result.general, name) for name in ("seen", "unseen", "harmonic", "ausuc")}
    names = tuple(test.classes[int(position)] for position in test.novel)
    content = write_report(out, result.metrics, names, about)
    write_scores(out / "scores.npz", Scores(result.scores, test.novel_labels, test.names[test.of_novel], names))
    if result.general_scores is not None:
        every = Scores(result.general_scores, test.labels, test.names, test.classes)
        write_scores(out / "scores-generalised.npz", every)
    if found.tsne:
        step("drawing embeddings")
        content["embeddings"] = _embeddings(out, embeddings, test.labels, test.classes)
    if found.maps:
        step(f"drawing where it looks in {found.maps} videos")
        content["maps"] = [str(path) for path in draw_maps(networks, videos, test, found.maps, out / "maps", prompts)]
    for note in content.pop("notes", []):
        log(f"note: {note}")
    return content


def _embeddings(out: Path, rows: Any, labels: Any, classes: tuple[str, ...]) -> str:
    """Writes embeddings.png; how its places were made."""
    from ski_edge.evaluate.pictures import embedding_picture

    return embedding_picture(out / "embeddings.png", rows, labels, classes)


def _every_tenth(step: Any) -> Any:
    """A callback (done, total) that speaks ten times."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if 10 * done // total > told:
            told = 10 * done // total
            step(f"{done} of {total} videos")

    return tell


def _video_text(out: Path, content: dict[str, Any]) -> str:
    lines = [
        f"top-1 {content['top1']:.2f} %, top-5 {content['top5']:.2f} %, mean class recall "
        f"{content['mean_recall']:.2f} %, {content['clips']} videos, {content['classes']} classes"
    ]
    if "generalised" in content:
        seen, general = content["seen_classes"], content["generalised"]
        lines.append(f"seen classes among themselves: top-1 {seen['top1']:.2f} %, {seen['clips']} videos")
        lines.append(
            f"among all classes (mean over classes): seen {general['seen']:.2f} %, novel {general['unseen']:.2f} %, "
            f"harmonic mean {general['harmonic']:.2f} %"
        )
    if content["clips_without_video"]:
        lines.append(f"{content['clips_without_video']} test clips have no video ({content['left_out']} left out)")
    lines.append(f"{out}: metrics.json, per_class.csv, confusion.csv, confusion.png, scores.npz")
    return "\n".join([*lines, *_pictures(content)])


def _pictures(content: dict[str, Any]) -> list[str]:
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
    if file and not as_json:
        log(f"our numbers: {file}")
    emit(content, as_json, lambda: render_tables(names, numbers, "markdown" if markdown else "text"))


def _open(model: Path) -> _Opened:
    if (model / "config.json").is_file():
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
        )
    from ski_edge.evaluate.windows import over_windows
    from ski_edge.runtime import PoseSession, find_bundle, open_bundle, shipped

    if not find_bundle(model).exists():
        raise BadInput(f"{model} is no checkpoint, no bundle and no shipped name ({', '.join(shipped())})")
    session = open_bundle(model)
    if not isinstance(session, PoseSession):
        raise BadInput(f"{model} is a {session.task} bundle; evaluate measures its checkpoint, with --videos")
    manifest = session.manifest
    about = {"model": manifest.model, "arch": manifest.arch, "weights": manifest.provenance.weights}
    about |= {"backend": session.backend, "device": str(session.device), "precision": manifest.precision.asked}
    spec = manifest.skeleton
    return _Opened(session.classes, spec, lambda clips: over_windows(session.classify, clips, spec), None, about)


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
