"""`ski-edge evaluate` for models that compare clips with texts: video-text models, and SkeletonCLIP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ski_edge.cli.evaluate import draw_embeddings, pictures
from ski_edge.cli.output import log
from ski_edge.errors import BadInput, require


@dataclass(frozen=True)
class Videos:
    """What the options say of videos."""

    path: Path
    root: Path | None
    checked: Path | None
    views: tuple[int, int]
    rate: int | None
    workers: int
    maps: int
    beside: Path | None


@dataclass(frozen=True)
class Words:
    """What the options say of texts."""

    prompts: Path | None
    template: str | None

    def read(self, known: tuple[str, ...], chosen: tuple[str, ...]) -> dict[str, tuple[str, ...]] | None:
        """Sentences of the classes `chosen`; the file may have those of all classes `known`."""
        if self.template is not None and self.template.count("{}") != 1:
            raise BadInput(f"--template needs exactly one {{}} for the class name, got {self.template!r}")
        if self.prompts is None:
            return None
        from ski_edge.bundle.labels import read_label_file
        from ski_edge.data.prompts import prompts_file, read_prompts

        if (shipped := prompts_file(self.prompts)) != self.prompts:
            found = {name: (sentence,) for name, sentence in read_prompts(shipped).items()}
        else:
            found = {label.name: label.prompts for label in read_label_file(self.prompts)}
        if strange := sorted(found.keys() - set(known)):
            listed = ", ".join(known)[:200]
            raise BadInput(f"{self.prompts} has sentences for {strange[0]!r}, which is no class of the data: {listed}")
        return {name: found[name] for name in chosen if name in found}


def parse_views(text: str) -> tuple[int, int]:
    """TIMExCROPS."""
    match = re.fullmatch(r"([1-9]\d?)x([13])", text, re.ASCII)
    if match is None:
        raise BadInput(f"--views {text!r} must be views in time x crops, crops 1 or 3, such as 1x1 or 4x3")
    return int(match[1]), int(match[2])


def is_skeleton_text(model: str, split: str) -> bool:
    """Whether it is a SkeletonCLIP that is asked about classes it was not trained on."""
    from ski_edge.data.splits import is_zero_shot
    from ski_edge.files import read_json

    config = Path(model) / "config.json"
    if not is_zero_shot(split) or not config.is_file():
        return False
    fields = read_json(config, "config of the checkpoint")
    return isinstance(fields, dict) and fields.get("model") == "skeletonclip"


def video_report(
    model: str, data: Path, split: str, words: Words, found: Videos, out: Path, step: Any, tsne: bool
) -> dict[str, Any]:
    """Measure a video-text model, write the report; what metrics.json holds."""
    step("reading data")
    require("torch", "train", "evaluating a checkpoint")
    import torch

    from ski_edge.data.store import open_data
    from ski_edge.data.video import open_videos
    from ski_edge.evaluate.attention import draw_maps, shared_views
    from ski_edge.evaluate.video import measure_videos, open_test, run_videos, sum_policy, views_of

    opened = open_data(data)
    test = open_test(opened, videos := open_videos(found.path, opened.index.classes, found.root, found.checked), split)
    prompts = words.read(opened.index.classes, test.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = [model, *([str(found.beside)] if found.beside is not None else [])]
    networks = {name: _video_model(name, words.template).to(device) for name in names}
    network = networks[model]
    config = network.config
    shared_views(networks)  # before anything is measured
    views = views_of(config, found.views, found.rate)
    tell = _every_tenth(step)
    logits, embeddings = run_videos(network, videos, test, views, prompts=prompts, workers=found.workers, progress=tell)
    result = measure_videos(logits, test, sum_policy(config))
    about: dict[str, Any] = {"model": config.model, "arch": config.arch, "weights": config.weights}
    about |= {"device": str(device), "data": data.name, "videos": found.path.name, "split": split}
    about |= {"views": f"{found.views[0]}x{found.views[1]}", "frames": views.frames}
    about |= {"clips_without_video": test.without_video, "left_out": len(videos.left_out)}
    unread = [note for note in config.notes if prompts is None and note.startswith("texts:")]
    content = _write(out, test, result, about, unread)
    if tsne:
        step("drawing embeddings")
        content["embeddings"] = draw_embeddings(out, embeddings, test.labels, test.classes)
    if found.maps:
        step(f"drawing where it looks in {found.maps} videos")
        content["maps"] = [str(path) for path in draw_maps(networks, videos, test, found.maps, out / "maps", prompts)]
    return content


def _video_model(name: str, template: str | None) -> Any:
    from ski_edge.models import load_model, resolve_weights
    from ski_edge.models.clip import ClipModel
    from ski_edge.models.weights import SHIPPED

    if name.startswith("openclip:"):
        network = resolve_weights("vificlip", name, None)
    elif not Path(name).exists() and (SHIPPED / name).is_dir():
        network = load_model(SHIPPED / name)
    elif (Path(name) / "manifest.json").is_file():
        raise BadInput(f"{name} is a bundle; with --videos its checkpoint is measured, which has a config.json")
    else:
        network = load_model(name)
    config = network.config
    if not isinstance(network, ClipModel):
        raise BadInput(f"{name} is a {config.model}, which sees skeletons; leave --videos away")
    if template is not None:
        text = config.text.model_copy(update={"template": template})
        network.config = config.model_copy(update={"text": text})
    return network


def skeleton_report(
    model: str, data: Path, split: str, words: Words, out: Path, step: Any, tsne: bool
) -> dict[str, Any]:
    """Measure a SkeletonCLIP among classes it never saw, write the report; what metrics.json holds."""
    step("reading data")
    require("torch", "train", "evaluating a checkpoint")
    import torch

    from ski_edge.data.clips import check_rate, load_clips
    from ski_edge.data.store import open_data
    from ski_edge.evaluate.classify import classifier_of, classify, embed
    from ski_edge.evaluate.video import measure_videos, open_skeletons
    from ski_edge.models import load_model

    opened, network = open_data(data), load_model(model)
    test, config = open_skeletons(opened, split), network.config
    prompts = words.read(opened.index.classes, test.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = classifier_of(network.to(device), test.classes, words.template, prompts).to(device)
    spec = own.config.skeleton
    check_rate(opened, spec)
    step(f"reading {len(test.clips)} clips")
    clips = load_clips(opened, test.clips, spec)
    result = measure_videos(classify(own, clips, device)[:, None], test, "logits")
    about: dict[str, Any] = {"model": config.model, "arch": config.arch, "weights": config.weights}
    about |= {"device": str(device), "data": data.name, "split": split}
    content = _write(out, test, result, about, ())
    if tsne:
        step("drawing embeddings")
        content["embeddings"] = draw_embeddings(out, embed(own, clips, device), test.labels, test.classes)
    return content


def _write(out: Path, test: Any, result: Any, about: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """The report's files; what metrics.json holds."""
    from ski_edge.evaluate.report import write_report
    from ski_edge.evaluate.scores import Scores, write_scores

    about = {**about, "classes": len(test.novel)}
    if result.general is not None:
        about["seen_classes"] = {name: getattr(result.seen, name) for name in ("clips", "top1", "mean_recall")}
        about["generalised"] = {name: getattr(result.general, name) for name in ("seen", "unseen", "harmonic", "ausuc")}
    names = tuple(test.classes[int(position)] for position in test.novel)
    content = write_report(out, result.metrics, names, about)
    write_scores(out / "scores.npz", Scores(result.scores, test.novel_labels, test.names[test.of_novel], names))
    if result.general_scores is not None:
        every = Scores(result.general_scores, test.labels, test.names, test.classes)
        write_scores(out / "scores-generalised.npz", every)
    for note in (*content.pop("notes", []), *notes):
        log(f"note: {note}")
    return content


def _every_tenth(step: Any) -> Any:
    """A callback (done, total) that speaks ten times."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if 10 * done // total > told:
            told = 10 * done // total
            step(f"{done} of {total} videos")

    return tell


def report_text(out: Path, content: dict[str, Any]) -> str:
    """Lines for people."""
    what = "videos" if "videos" in content else "skeletons"
    lines = [
        f"top-1 {content['top1']:.2f} %, top-5 {content['top5']:.2f} %, mean class recall "
        f"{content['mean_recall']:.2f} %, {content['clips']} {what}, {content['classes']} classes"
    ]
    if "generalised" in content:
        seen, general = content["seen_classes"], content["generalised"]
        lines.append(f"seen classes among themselves: top-1 {seen['top1']:.2f} %, {seen['clips']} {what}")
        lines.append(
            f"among all classes (mean over classes): seen {general['seen']:.2f} %, novel {general['unseen']:.2f} %, "
            f"harmonic mean {general['harmonic']:.2f} %"
        )
    if content.get("clips_without_video"):
        lines.append(f"{content['clips_without_video']} test clips have no video ({content['left_out']} left out)")
    lines.append(f"{out}: metrics.json, per_class.csv, confusion.csv, confusion.png, scores.npz")
    return "\n".join([*lines, *pictures(content)])
