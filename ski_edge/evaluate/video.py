"""A video-text model on labelled videos: among classes it never saw, and among all where seen ones are tested.

The protocol is the papers': one view, or several whose scores are added. What the test part is, and which classes are
novel, the split says; which video shows what, the prepared skeletons of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ski_edge.data.splits import is_zero_shot, split, zero_shot_classes
from ski_edge.data.store import SkeletonData
from ski_edge.data.video import VideoSource, pair
from ski_edge.data.video.files import ShortVideos, VideoFiles
from ski_edge.data.video.views import Views, view_batches
from ski_edge.errors import BadInput
from ski_edge.evaluate.classify import evaluating
from ski_edge.evaluate.metrics import Metrics, measure
from ski_edge.evaluate.zero_shot import Generalised, Sum, add_views, generalised
from ski_edge.models.clip import ClipConfig, ClipModel, mean_of_prompts, tokenize
from ski_edge.models.pixels import normalise

_BATCH = 16  # views that the network sees at a time
FROSTER_RATE = 16  # frames of the video per frame of the clip
Prompts = Mapping[str, Sequence[str]]  # class -> its sentences
Progress = Callable[[int, int], None]  # (videos done, in all)


@dataclass(frozen=True)
class VideoTest:
    """The test part of a split: videos of it, as far as there are any, or skeletons. C classes, N clips."""

    classes: tuple[str, ...]  # [C], in the order of the data's labels
    novel: np.ndarray  # int64: positions of the classes that are chosen among; all where the split divides no classes
    clips: np.ndarray  # int64 [N], of the video source, or of the data
    labels: np.ndarray  # int64 [N], positions in `classes`
    names: np.ndarray  # [N]
    without_video: int  # test clips that have none

    @property
    def of_novel(self) -> np.ndarray:
        """bool [N]: videos of novel classes."""
        return np.isin(self.labels, self.novel)

    @property
    def novel_labels(self) -> np.ndarray:
        """int64 [videos of novel classes]: positions in `novel`."""
        return np.searchsorted(self.novel, self.labels[self.of_novel])


@dataclass(frozen=True)
class VideoScores:
    """What was found. `metrics` counts classes as `VideoTest.novel` does."""

    metrics: Metrics  # novel classes among themselves
    scores: np.ndarray  # float32 [videos of novel classes, novel classes]
    seen: Metrics | None = None  # seen classes among themselves, counted without the novel ones
    general: Generalised | None = None  # both among all
    general_scores: np.ndarray | None = None  # float32 [N, C]


def open_test(data: SkeletonData, videos: VideoSource, split_name: str) -> VideoTest:
    """The videos of a split's test part. `48/12@xsub60` also tests the seen classes, on the rule's test part."""
    chosen, novel, every = _tested(data, split_name)
    clips, bodies = pair(videos, data)
    tested = np.isin(bodies, chosen)
    clips, bodies = clips[tested], bodies[tested]
    if not np.isin(data.labels[bodies], novel).any():
        raise BadInput(
            f"no video has the name of a test clip of split {split_name}; look at both with: "
            f"ski-edge data check {data.folder} --videos ... --split {split_name}"
        )
    return _test(data, clips, bodies, novel, every, len(chosen) - len(bodies))


def open_skeletons(data: SkeletonData, split_name: str) -> VideoTest:
    """The same of the skeletons themselves."""
    chosen, novel, every = _tested(data, split_name)
    if not np.isin(data.labels[chosen], novel).any():
        raise BadInput(f"split {split_name} leaves no test clip of a novel class in {data.folder}")
    return _test(data, chosen, chosen, novel, every, 0)


def _tested(data: SkeletonData, split_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(clips of the test part, labels that are chosen among, labels of all classes that count)."""
    labels = data.labels
    if split_name == "all":
        novel = np.unique(labels[labels >= 0])
        return np.flatnonzero(labels >= 0), novel, novel
    if not is_zero_shot(split_name):
        train, chosen = split(data, split_name)
        novel = np.unique(labels[np.concatenate([train, chosen])])
        return chosen, novel, novel
    chosen = split(data, split_name)[1]
    seen, unseen = (np.array(part, np.int64) for part in zero_shot_classes(split_name, data.index.classes))
    if not (rule := split_name.partition("@")[2]):
        return chosen, unseen, unseen
    held_out = split(data, rule)[1]
    chosen = np.union1d(chosen, held_out[np.isin(labels[held_out], seen)])
    return chosen, unseen, np.union1d(seen, unseen)


def _test(
    data: SkeletonData, clips: np.ndarray, bodies: np.ndarray, novel: np.ndarray, every: np.ndarray, lost: int
) -> VideoTest:
    return VideoTest(
        tuple(data.index.classes[int(label)] for label in every),
        np.searchsorted(every, novel),
        clips,
        np.searchsorted(every, data.labels[bodies]),
        data.column("name")[bodies],
        lost,
    )


def views_of(config: ClipConfig, views: tuple[int, int] = (1, 1), rate: int | None = None) -> Views:
    """What the model is shown of each video.

    views: (in time, crops), (4, 3) in many tables; rate: frames of the video per frame of the clip, None: the family's
    own way (FROSTER: 16; the others take one frame of each equal part).
    """
    if rate is None and config.video.pooling == "norm-then-mean":
        rate = FROSTER_RATE
    return Views(
        frames=config.video.window_frames,
        sampling="segments" if rate is None else "stride",
        rate=rate or FROSTER_RATE,
        preprocessing=config.preprocessing,
        temporal=views[0],
        crops=views[1],
    )


@torch.no_grad()
def class_texts(model: ClipModel, names: Sequence[str], prompts: Prompts | None = None) -> Tensor:
    """[C, D] as `compare` wants them: the tower's, of the names in the model's template.

    prompts: sentences that stand for some or all names; several of a class are averaged. A model that reads no text
    (converted without a token embedding) has only the embeddings of its own classes.
    """
    config = model.config
    if config.reads_text:
        device, rows = model.clip.logit_scale.device, []
        for name in names:
            sentences = list((prompts or {}).get(name, ())) or [config.text.template.replace("{}", name)]
            features = model.text_features(tokenize(sentences, config.arch).to(device))
            rows.append(mean_of_prompts(features[None]))
        return torch.cat(rows)
    if prompts is not None:
        raise BadInput(f"this {config.model} reads no text, so it has no use for prompts; leave them away")
    rows = {name: row for row, name in enumerate(config.classes)}
    if lost := [name for name in names if name not in rows]:
        known = ", ".join(config.classes[:4])
        raise BadInput(
            f"this {config.model} reads no text and keeps no embedding of {lost[0]!r} ({len(lost)} such; it has "
            f"{known}, ...); convert it again with --set base=openclip:openai, or with classes=FILE if they are its own"
        )
    return model.label_embeddings[[rows[name] for name in names]]


def run_videos(
    model: ClipModel,
    videos: VideoSource,
    test: VideoTest,
    views: Views,
    *,
    prompts: Prompts | None = None,
    workers: int = 0,
    progress: Progress = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """(logits float32 [N, V, C], embeddings float32 [N, D]).

    Logits are as the model's loss saw them: cosines times its temperature, if it was trained with one. Embeddings are
    the video's own, the mean over its views.
    """
    device = model.clip.logit_scale.device
    source = ShortVideos(videos, views.short) if isinstance(videos, VideoFiles) else videos
    rows: list[np.ndarray] = []
    embeddings: list[np.ndarray] = []
    with evaluating(model):
        text = class_texts(model, test.classes, prompts).to(device)
        scale = float(model.clip.logit_scale.exp()) if model.config.trained_logit_scale else 1.0
        count = views.temporal * views.crops
        size = max(1, _BATCH // count)
        for _, frames in view_batches(source, test.clips, views, size, workers):
            pixels = normalise(torch.from_numpy(frames).to(device).flatten(0, 1), model.config.preprocessing)
            seen, cosines = map(torch.cat, zip(*(model.compare(p, text) for p in pixels.split(_BATCH)), strict=True))
            rows.append((scale * cosines).float().cpu().numpy().reshape(-1, count, len(text)))
            embeddings.append(seen.unflatten(0, (-1, count)).mean(dim=1).float().cpu().numpy())
            progress(sum(map(len, rows)), len(test.clips))
    return np.concatenate(rows), np.concatenate(embeddings)


def measure_videos(logits: np.ndarray, test: VideoTest, policy: Sum) -> VideoScores:
    """logits [N, V, C] of `test` -> numbers. A view's softmax is over the classes that are chosen among."""
    new = test.of_novel
    scores = add_views(logits[new][:, :, test.novel], policy).astype(np.float32)
    metrics = measure(scores, test.novel_labels)
    if new.all():
        return VideoScores(metrics, scores)
    seen = np.setdiff1d(np.arange(len(test.classes)), test.novel)
    own = add_views(logits[~new][:, :, seen], policy)
    general_scores = add_views(logits, policy).astype(np.float32)
    return VideoScores(
        metrics,
        scores,
        measure(own, np.searchsorted(seen, test.labels[~new])),
        generalised(general_scores, test.labels, test.novel),
        general_scores,
    )


def sum_policy(config: ClipConfig) -> Sum:
    """How views are added: FROSTER's logits, all others' probabilities."""
    return "logits" if config.video.pooling == "norm-then-mean" else "softmax"
