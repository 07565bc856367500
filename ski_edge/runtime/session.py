"""What every video-text bundle does on the device: labels, text, scores, and the prediction of a clip. No torch.

How frames become scores differs by network; `video_sessions` has one class for each way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ski_edge.bundle.labels import LabelBank, LabelSet, read_labels
from ski_edge.bundle.manifest import VideoManifest
from ski_edge.bundle.tokenizer import ClipTokenizer
from ski_edge.errors import BadInput
from ski_edge.files import member
from ski_edge.runtime.ort import Device, OrtGraph
from ski_edge.runtime.preprocess import sample_times


@dataclass(frozen=True, slots=True)
class Prediction:
    """Labels of a clip, best first. scores: float32, softmax over all labels; logits: cosines in [-1, 1]."""

    labels: list[str]
    scores: np.ndarray
    logits: np.ndarray

    @property
    def label(self) -> str:
        return self.labels[0]


class Session(ABC):
    """A video-text bundle; opened by `open_bundle`, which picks the class by the manifest's `video.pooling`.

    A window of video is a series of *kept* frames: what `keep` makes of raw ones and `score_window` reads.
    """

    task = "video-text"
    part: str  # what `verify` calls the numbers of `reference_outputs`

    def __init__(self, folder: Path, manifest: VideoManifest, device: Device, threads: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.device = device
        self.backend = "onnxruntime"
        self.precision = manifest.precision.asked
        self._threads = threads
        self._encoder = OrtGraph(folder / manifest.encoder.file, device, threads)
        self.backend_version = self._encoder.version
        self._check_encoder()
        self._text_encoder: tuple[ClipTokenizer, OrtGraph] | None = None
        self.labels = self._read_label_bank()
        self.exported_labels = self.labels.current  # what `verify` compares, whatever the bank becomes

    @abstractmethod
    def _check_encoder(self) -> None:
        """Raise BadInput unless the graph has the tensors of its kind."""

    @abstractmethod
    def keep(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """T times uint8 [H, W, 3] RGB -> float32 [T, ...]: what a window keeps of each frame."""

    @abstractmethod
    def choose(self, times: np.ndarray) -> np.ndarray:
        """Of the frames that a window keeps, at ascending seconds [n]: which ones `score_window` wants, in order."""

    @abstractmethod
    def score_window(self, kept: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray | None]:
        """Kept frames [T, ...] -> (cosines [K], the video's embedding [D] or None where it has none of its own)."""

    @abstractmethod
    def rhythm(self, every_s: float | None) -> tuple[float, float]:
        """(seconds between the frames a stream keeps, seconds between its updates); None: what suits the window."""

    @abstractmethod
    def encode_frames(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] RGB -> float32 [T, D], before any normalisation; BadInput where frames are mixed."""

    @abstractmethod
    def encode_video(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] RGB -> float32 [D], what `score` takes."""

    @abstractmethod
    def reference_outputs(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Raw frames of `reference.npz` -> [N, D] or [N, K]: what `verify` compares."""

    @abstractmethod
    def cosines(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`reference_outputs` and label embeddings [K, D] -> [N, K]."""

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

    def encode_text(self, prompts: list[str]) -> np.ndarray:
        """K prompts, used as they are -> float32 [K, D], as the labels are: L2-normalised, or raw where the video
        rewrites them (`video.raw_text`)."""
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

    def predict(self, frames: Sequence[np.ndarray] | np.ndarray, timestamps: np.ndarray | None = None) -> Prediction:
        """Labels and scores of one clip.

        frames: uint8 [T, H, W, 3] RGB, any T; `window_frames` of them are used: evenly spaced in time when
        `timestamps` (seconds, [T], ascending) are given, else evenly spaced in number. Fewer are repeated.
        """
        if len(frames) == 0:
            raise BadInput("frames must hold at least one frame, got none")
        times = np.arange(len(frames)) if timestamps is None else np.asarray(timestamps, np.float64)
        if times.shape != (len(frames),) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise BadInput(f"timestamps must be {len(frames)} ascending seconds, got {list(times.shape)}")
        used, inverse = np.unique(sample_times(times, self.manifest.video.window_frames), return_inverse=True)
        labels = self.labels.current
        logits, _ = self.score_window(self.keep([frames[i] for i in used])[inverse], labels)
        scores, order = self.softmax(logits), np.argsort(-logits)
        return Prediction([labels.names[i] for i in order], scores[order], logits[order])

    def score(self, embedding: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        """Video embedding [D], from `encode_video` -> (cosines [K], softmax(score_scale * cosines) [K])."""
        logits = labels.embeddings @ embedding
        return logits, self.softmax(logits)

    def softmax(self, logits: np.ndarray) -> np.ndarray:
        """Cosines [K] -> scores [K]: softmax(score_scale * cosines)."""
        shifted = np.exp(self.manifest.score_scale * (logits - logits.max()))
        return shifted / shifted.sum()
