"""Comparison with the live torch model, and the raw frames it is made on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ski_edge.bundle.labels import Label, embed_labels
from ski_edge.errors import BadInput, require
from ski_edge.models.clip import ClipModel
from ski_edge.runtime import Session
from ski_edge.runtime.preprocess import preprocess_clip
from ski_edge.runtime.verify import Expected, Parity, compare
from ski_edge.runtime.video_sessions import reference_clips
from ski_edge.testing.clips import moving_shapes

NUM_FRAMES = 8
_KEEP_SHORT = 288  # pixels; larger frames are shrunk before they become reference inputs, to keep bundles small
VIDEO_SUFFIXES = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"}


def reference_frames(clips: str | Path | None) -> tuple[list[np.ndarray], str]:
    """(raw frames, what they are): from real clips when a folder is given, else generated."""
    if clips is None:
        return list(moving_shapes(NUM_FRAMES * 4, seed=0)[::4]), "generated frames"
    return read_clip_frames(clips, NUM_FRAMES), "real clips"


def read_clip_frames(clips: str | Path, count: int) -> list[np.ndarray]:
    """`count` raw frames, spread over the videos below a folder (or of one file), all of one size."""
    cv2 = require("cv2", "video", "reading clips")
    root = Path(clips)
    paths = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise BadInput(f"--clips {root}: no video found (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    frames: list[np.ndarray] = []
    for i in range(count):
        path = paths[i * len(paths) // count]
        capture = cv2.VideoCapture(str(path))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        same = [k for k in range(count) if paths[k * len(paths) // count] == path]
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(total * (same.index(i) + 0.5) / len(same)))
        ok, frame = capture.read()
        capture.release()
        if not ok:
            raise BadInput(f"--clips: no frame of {path} can be decoded; remove it")
        frames.append(_shrink(frame[:, :, ::-1], cv2))
    height, width = frames[0].shape[:2]
    return [
        np.ascontiguousarray(cv2.resize(f, (width, height)) if f.shape[:2] != (height, width) else f) for f in frames
    ]


def _shrink(frame: np.ndarray, cv2: object) -> np.ndarray:
    scale = _KEEP_SHORT / min(frame.shape[:2])
    if scale >= 1:
        return frame
    return cv2.resize(np.ascontiguousarray(frame), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


@torch.no_grad()
def torch_outputs(model: ClipModel, frames: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """float32: raw frames through the manifest's preprocessing and the live model's own forward.

    Embeddings of the frames [N, D]; of models that mix frames, embeddings [2, D] of the clips that `reference_clips`
    makes of them, or their cosines with label embeddings [K, D]: [2, K].
    """
    video, tensors = model.config.video, preprocess_clip(frames, model.config.preprocessing)
    if video.mode == "frame":
        return model.encode_frames(torch.from_numpy(tensors)).numpy()
    clips = torch.from_numpy(reference_clips(tensors, video.window_frames))
    if video.raw_text:
        return model.compare(clips, torch.from_numpy(labels))[1].numpy()
    return model.encode_video(clips).numpy()


@torch.no_grad()
def torch_labels(model: ClipModel, labels: Iterable[Label]) -> np.ndarray:
    """float32 [K, D]: what the live model makes of labels, L2-normalised, or raw where the video rewrites them; its
    fixed ones where it cannot read text."""
    if model.label_embeddings is not None:
        return model.label_embeddings.numpy()
    encode = model.text_features if model.config.video.raw_text else model.encode_text
    return embed_labels(labels, model.config.text.template, lambda prompts: encode(prompts).numpy())


def expected_live(model: ClipModel, frames: list[np.ndarray], labels: Iterable[Label]) -> Expected:
    """What the live model gives for raw frames (N times uint8 [H, W, 3]) and labels."""
    rows = torch_labels(model, labels)
    return Expected("live torch model", torch_outputs(model, frames, rows), rows, model.score_scale)


def compare_video(session: Session, model: ClipModel, frames: list[np.ndarray], inputs: str) -> Parity:
    """Compare an open bundle with the live model: image tower, text tower and score scale."""
    wanted, got = session.manifest.video, model.config.video
    if wanted.mode == "clip" and wanted.window_frames != got.window_frames:
        raise BadInput(f"the bundle takes clips of {wanted.window_frames} frames, these weights {got.window_frames}")
    return compare(session, frames, inputs, expected_live(model, frames, session.exported_labels.labels))
