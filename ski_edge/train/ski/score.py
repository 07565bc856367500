"""What a trained pair says about clips it never saw, of classes it saw and of classes it did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ski_edge.data.clips import load_clips
from ski_edge.data.rendered.captions import GROUPS
from ski_edge.evaluate.classify import evaluating
from ski_edge.evaluate.metrics import measure
from ski_edge.evaluate.zero_shot import fuse, generalised, zero_shot
from ski_edge.models.pixels import normalise
from ski_edge.skeleton import prepare
from ski_edge.train.ski.networks import class_texts, device_of
from ski_edge.train.ski.pair import Pair, SavedTeacher
from ski_edge.train.ski.world import World
from ski_edge.train.video_batches import views

_BATCH = 32


@dataclass(frozen=True)
class Scored:
    """Similarities of some clips with all classes."""

    labels: np.ndarray  # int64 [N]
    video: np.ndarray | None  # float32 [N, K]
    skeleton: np.ndarray | None  # float32 [N, K]


def score(pair: Pair, world: World, part: np.ndarray) -> Scored:
    """Similarities of the pairs `part` (indices into the world's) with all classes, one view, in eval mode."""
    texts = class_texts(pair, world.classes)
    device = device_of(pair)
    with evaluating(pair):
        video = _video(pair, world, world.video[part], texts[0], device) if pair.student is not None else None
        skeleton = _skeleton(pair, world, world.skeleton[part], texts[1], device)
    return Scored(world.labels[part], video, skeleton)


def report(scored: dict[str, Scored], world: World) -> dict[str, Any]:
    """Top-1 in per cent: unseen classes among themselves (zero-shot), and among all (generalised) with seen ones.

    Heads: video, skeleton, and both (the plain sum of similarities, as the official code adds them). `zsl_top1` and
    `seen_top1` are means over clips, generalised numbers means over classes, as in `ski-edge evaluate`.
    """
    out: dict[str, Any] = {}
    every = np.union1d(world.seen, world.unseen)  # the data may have more classes: those of no split stay out
    for head in ("video", "skeleton", "both"):
        unseen = _head(scored["unseen"], head)
        if unseen is None:
            continue
        labels, seen_labels = scored["unseen"].labels, scored["seen"].labels
        own = zero_shot(unseen, labels, world.unseen)
        row = {"zsl_top1": own.top1, "zsl_mean_class": own.mean_class}
        if len(seen_labels):
            seen = _head(scored["seen"], head)
            both = np.searchsorted(every, np.concatenate([labels, seen_labels]))
            new = np.searchsorted(every, world.unseen)
            among_all = generalised(np.concatenate([unseen, seen])[:, every], both, new)
            own = zero_shot(seen, seen_labels, world.seen)
            row |= {"seen_top1": own.top1, "seen_mean_class": own.mean_class}
            row |= {"gzsl_unseen": among_all.unseen, "gzsl_seen": among_all.seen, "gzsl_harmonic": among_all.harmonic}
        else:
            row["gzsl_unseen"] = measure(unseen[:, every], np.searchsorted(every, labels)).mean_recall
        out[head] = row
    return out


def report_phrases(scored: Scored, world: World) -> dict[str, float]:
    """Top-1 in per cent of each group of phrases, on frames held out."""
    ends = np.cumsum(world.groups)
    out = {}
    for column, (group, size) in enumerate(zip(GROUPS, world.groups, strict=True)):
        logits = scored.video[:, ends[column] - size : ends[column]]
        out[group] = measure(logits, scored.labels[:, column]).top1
    return out


def _head(scored: Scored, head: str) -> np.ndarray | None:
    if head == "both":
        missing = scored.video is None or scored.skeleton is None
        return None if missing else fuse(scored.video, scored.skeleton)
    return getattr(scored, head)


def _video(pair: Pair, world: World, clips: np.ndarray, text: torch.Tensor, device: torch.device) -> np.ndarray:
    text, rows = text.to(device), []
    recipe = pair.recipe.video
    if not len(clips):
        return np.zeros((0, len(text)), np.float32)
    for batch in views(world.videos, clips, recipe, batch_size=_BATCH, device=device):
        pixels = normalise(batch.frames[:, 0], recipe.preprocessing)
        rows.append(pair.student.compare(pixels, text)[1].float().cpu().numpy())
    return np.concatenate(rows)


def _skeleton(
    pair: Pair, world: World, clips: np.ndarray, text: torch.Tensor | None, device: torch.device
) -> np.ndarray | None:
    if text is None or pair.teacher is None or isinstance(pair.teacher, SavedTeacher):
        return None
    spec, rows = pair.teacher.config.backbone.skeleton, []
    text = torch.nn.functional.normalize(text.to(device), dim=-1)
    for start in range(0, len(clips), _BATCH):
        some = load_clips(world.skeletons, clips[start : start + _BATCH], spec)
        batch = np.stack([prepare(clip, spec) for clip in some])
        embedding = pair.teacher.encode_skeleton(torch.from_numpy(batch).to(device))
        rows.append((embedding @ text.T).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, len(text)), np.float32)
