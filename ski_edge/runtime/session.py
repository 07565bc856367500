"""A video-text bundle, open and ready: frames and text in, embeddings, scores and labels out. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.bundle.labels import LabelBank, LabelSet, l2_normalise, read_labels
from ski_edge.bundle.manifest import VideoManifest
from ski_edge.bundle.tokenizer import ClipTokenizer
from ski_edge.errors import BadInput
from ski_edge.files import member
from ski_edge.runtime.ort import Device, OrtGraph
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices

_ENCODE_BATCH = 8  # frames per graph run; more buys no speed on a CPU and costs memory


@dataclass(frozen=True, slots=True)
class Prediction:
    """Labels of a clip, best first. scores: float32, softmax over all labels; logits: cosines in [-1, 1]."""

    labels: list[str]
    scores: np.ndarray
    logits: np.ndarray

    @property
    def label(self) -> str:
        return self.labels[0]


class Session:
    """A video-text bundle; opened by `open_bundle`."""

    task = "video-text"

    def __init__(self, folder: Path, manifest: VideoManifest, device: Device, threads: int) -> None:
        if manifest.video.mode != "frame":
            raise BadInput(f"{manifest.model} takes whole clips; this version runs models that encode frame by frame")
        self.folder = folder
        self.manifest = manifest
        self.device = device
        self.backend = "onnxruntime"
        self._threads = threads
        self._frame_encoder = OrtGraph(folder / manifest.frame_encoder.file, device, threads)
        size = manifest.preprocessing.crop
        self._frame_encoder.check_shapes({"frames": (3, size, size)}, {"embedding": (manifest.embed_dim,)})
        self._text_encoder: tuple[ClipTokenizer, OrtGraph] | None = None
        self.labels = self._read_label_bank()
        self.exported_labels = self.labels.current  # what `verify` compares, whatever the bank becomes

    def _read_label_bank(self) -> LabelBank:
        labels = read_labels(str(member(self.folder, "labels.json")))
        path = member(self.folder, "labels.npy")
        try:
            embeddings = np.load(path, allow_pickle=False)
        except Exception as error:  # numpy's reader raises nearly anything on a damaged file
            raise BadInput(f"{path} is not an array file: {error}; export the bundle again") from error
        if (
            not isinstance(embeddings, np.ndarray)
            or embeddings.dtype != np.float32
            or not np.isfinite(embeddings).all()
        ):
            raise BadInput(f"{path} must hold finite float32 numbers; export the bundle again")
        if embeddings.shape != (len(labels), self.manifest.embed_dim):
            wanted = [len(labels), self.manifest.embed_dim]
            raise BadInput(
                f"{path} is {list(embeddings.shape)}, labels.json and the manifest say {wanted}; export it again"
            )
        encode = self.encode_text if self.manifest.text_encoder else None
        return LabelBank(labels, embeddings, self.manifest.text.template, encode)

    def run(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """The frame encoder as it is: frames float32 [B, 3, S, S], preprocessed -> {"embedding": [B, D]}."""
        return self._frame_encoder.run(frames=frames)

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] RGB (or a list of frames) -> float32 [T, D], before any normalisation."""
        spec = self.manifest.preprocessing
        parts = [
            self.run(preprocess_clip(frames[i : i + _ENCODE_BATCH], spec))["embedding"]
            for i in range(0, max(len(frames), 1), _ENCODE_BATCH)
        ]
        return np.concatenate(parts)

    def encode_video(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] -> float32 [D], L2-normalised: the mean of the frame embeddings, then one norm."""
        return l2_normalise(self.encode_frames(frames).mean(axis=0))

    def encode_text(self, prompts: list[str]) -> np.ndarray:
        """K prompts, used as they are -> float32 [K, D], L2-normalised."""
        if self.manifest.text_encoder is None:
            raise BadInput("this bundle has no text encoder; its labels are fixed")
        if not prompts:
            return np.zeros((0, self.manifest.embed_dim), np.float32)
        if self._text_encoder is None:  # loaded on first use: most runs never change a label
            tokenizer = ClipTokenizer(member(self.folder, "tokenizer.json"), self.manifest.text.context_length)
            graph = OrtGraph(self.folder / self.manifest.text_encoder.file, self.device, self._threads)
            graph.check_shapes({"tokens": (None,)}, {"text_embedding": (self.manifest.embed_dim,)})
            self._text_encoder = tokenizer, graph
        tokenizer, graph = self._text_encoder
        return graph.run(tokens=tokenizer.encode(prompts))["text_embedding"]

    def predict(self, frames: np.ndarray, timestamps: np.ndarray | None = None) -> Prediction:
        """Labels and scores of one clip.

        frames: uint8 [T, H, W, 3] RGB, any T; `window_frames` of them are used: evenly spaced in time when
        `timestamps` (seconds, [T], ascending) are given, else evenly spaced in number.
        """
        window = self.manifest.video.window_frames
        indices = sample_indices(len(frames), window)
        if timestamps is not None:
            times = np.asarray(timestamps, np.float64)
            if times.shape != (len(frames),) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
                raise BadInput(f"timestamps must be {len(frames)} ascending seconds, got {list(times.shape)}")
            wanted = times[0] + (np.arange(window) + 0.5) / window * (times[-1] - times[0])
            indices = np.abs(times[None, :] - wanted[:, None]).argmin(axis=1)
        used, inverse = np.unique(indices, return_inverse=True)
        embeddings = self.encode_frames([frames[i] for i in used])[inverse]
        labels = self.labels.current
        logits, scores = self.score(l2_normalise(embeddings.mean(axis=0)), labels)
        order = np.argsort(-logits)
        return Prediction([labels.names[i] for i in order], scores[order], logits[order])

    def score(self, embedding: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        """Video embedding [D], L2-normalised -> (cosines [K], softmax(score_scale * cosines) [K])."""
        logits = labels.embeddings @ embedding
        shifted = np.exp(self.manifest.score_scale * (logits - logits.max()))
        return logits, shifted / shifted.sum()
