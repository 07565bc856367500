"""The three ways from frames to scores: frame by frame, as a clip, and as a clip together with the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ski_edge.bundle.labels import LabelSet, l2_normalise
from ski_edge.errors import BadInput
from ski_edge.runtime.preprocess import preprocess_clip, sample_indices, sample_times
from ski_edge.runtime.session import Session

_ENCODE_BATCH = 8  # frames per graph run; more buys no speed on a CPU and costs memory
_CLIP_UPDATES = 4  # a window: each encodes a whole clip, and activities last seconds
_MAX_KEPT = 256  # preprocessed frames in a window, 0.6 MB each; bounds its memory


class FrameSession(Session):
    """Frames are encoded one by one; a video is the mean of its frames' embeddings, then normalised (ViFi-CLIP)."""

    part = "frames"

    def _check_encoder(self) -> None:
        size = self.manifest.preprocessing.crop
        self._encoder.check_shapes({"frames": (3, size, size)}, {"embedding": (self.manifest.embed_dim,)})

    def run(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """The graph as it is: frames float32 [B, 3, S, S], preprocessed -> {"embedding": [B, D]}."""
        return self._encoder.run(frames=frames)

    def encode_frames(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        spec = self.manifest.preprocessing
        parts = [
            self.run(preprocess_clip(frames[i : i + _ENCODE_BATCH], spec))["embedding"]
            for i in range(0, max(len(frames), 1), _ENCODE_BATCH)
        ]
        return np.concatenate(parts)

    def encode_video(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3] -> float32 [D], L2-normalised: the mean of the frame embeddings, then one norm."""
        return l2_normalise(self.encode_frames(frames).mean(axis=0))

    def keep(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """`encode_frames`: what a frame gives does not depend on the others, so it is computed once."""
        return self.encode_frames(frames)

    def choose(self, times: np.ndarray) -> np.ndarray:
        """All: one more embedding in a mean costs nothing."""
        return np.arange(len(times))

    def score_window(self, kept: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray | None]:
        embedding = l2_normalise(kept.mean(axis=0))
        return labels.embeddings @ embedding, embedding

    def rhythm(self, every_s: float | None) -> tuple[float, float]:
        """Every kept frame is an update; by default, `window_frames` of them fill the window exactly."""
        video = self.manifest.video
        every = _checked(video.period_s if every_s is None else every_s, 1e-3, video.window_s)
        return every, every

    def reference_outputs(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of the frames [N, D]."""
        return self.encode_frames(frames)

    def cosines(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return l2_normalise(outputs) @ labels.T


class ClipSession(Session):
    """The network sees `window_frames` frames together and gives the video's embedding (FROSTER).

    The embedding is a mean of normalised frame embeddings and is not normalised again: its cosine with a label is the
    mean of the frames' cosines.
    """

    part = "clips"

    def _check_encoder(self) -> None:
        self._encoder.check_shapes({"frames": self._clip_shape}, {"embedding": (self.manifest.embed_dim,)})

    @property
    def _clip_shape(self) -> tuple[int, ...]:
        size = self.manifest.preprocessing.crop
        return self.manifest.video.window_frames, 3, size, size

    def run(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """The graph as it is: frames float32 [N, T, 3, S, S], preprocessed -> {"embedding": [N, D]}."""
        return self._encoder.run(frames=self._checked_clips(frames))

    def _checked_clips(self, clips: np.ndarray) -> np.ndarray:
        if clips.ndim != 5 or clips.shape[1:] != self._clip_shape:
            raise BadInput(
                f"{self.manifest.model} takes clips of {self._clip_shape[0]} frames together, float32 "
                f"[N, {', '.join(map(str, self._clip_shape))}]; got {list(clips.shape)}"
            )
        return clips

    def encode_frames(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        raise BadInput(
            f"{self.manifest.model} mixes the frames of a clip, so a frame has no embedding of its own; give the whole "
            "clip to encode_video or predict"
        )

    def encode_video(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3], any T, of which `window_frames` are used as `sample_indices` says -> float32 [D], the
        mean of L2-normalised frame embeddings; its norm is at most 1."""
        return self.run(self._clip(frames)[None])["embedding"][0]

    def _clip(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        used, inverse = np.unique(sample_indices(len(frames), self._clip_shape[0]), return_inverse=True)
        return self.keep([frames[i] for i in used])[inverse]

    def keep(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Preprocessed frames [T, 3, S, S]: all that can be done before the clip is complete."""
        return preprocess_clip(frames, self.manifest.preprocessing)

    def choose(self, times: np.ndarray) -> np.ndarray:
        """`window_frames` of them, evenly in time."""
        return sample_times(times, self._clip_shape[0])

    def score_window(self, kept: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray | None]:
        embedding = self.run(kept[None])["embedding"][0]
        return labels.embeddings @ embedding, embedding

    def rhythm(self, every_s: float | None) -> tuple[float, float]:
        """An update costs a whole clip, so by default there are four in a window's time; the frames kept in between
        are as close as in training, so that the clip is a full one however seldom updates are."""
        video = self.manifest.video
        default, least = video.window_s / _CLIP_UPDATES, min(video.window_s / _MAX_KEPT, video.period_s)
        every = _checked(default if every_s is None else every_s, least, video.window_s)
        return every / max(math.ceil(every / video.period_s - 1e-6), 1), every

    def reference_outputs(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of the reference clips [2, D]."""
        return self.run(self._reference_clips(frames))["embedding"]

    def _reference_clips(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        return reference_clips(self.keep(frames), self._clip_shape[0])

    def cosines(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return outputs @ labels.T


class JointSession(ClipSession):
    """Clips and labels go in together and scores come out: what a label means depends on the video (X-CLIP)."""

    part = "logits"

    def _check_encoder(self) -> None:
        inputs = {"frames": self._clip_shape, "text": (self.manifest.embed_dim,)}
        self._encoder.check_shapes(inputs, {"logits": (None,)})

    def run(self, frames: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
        """The graph as it is: frames float32 [N, T, 3, S, S], preprocessed, and text float32 [K, D], as `encode_text`
        gives it -> {"logits": [N, K]}, cosines."""
        return self._encoder.run(frames=self._checked_clips(frames), text=text)

    def encode_video(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        raise self._no_embedding()

    def score(self, embedding: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
        raise self._no_embedding()

    def _no_embedding(self) -> BadInput:
        return BadInput(
            f"{self.manifest.model} reads every label in the light of the video, so a video has no embedding that "
            "scores could be made of; use predict, or run(frames=..., text=...)"
        )

    def score_window(self, kept: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray | None]:
        return self.run(kept[None], labels.embeddings)["logits"][0], None

    def reference_outputs(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Cosines of the reference clips with the exported labels [2, K]."""
        return self.run(self._reference_clips(frames), self.exported_labels.embeddings)["logits"]

    def cosines(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return outputs


SESSIONS = {"mean-then-norm": FrameSession, "norm-then-mean": ClipSession, "joint": JointSession}


def reference_clips(frames: np.ndarray, window_frames: int) -> np.ndarray:
    """Reference frames [R, ...] -> clips [2, window_frames, ...]: in order, and with every other frame first
    (0 2 4 6 1 3 5 7).

    Fewer or more than a clip's frames are repeated or left out by `sample_indices`. The second clip gives every frame
    other neighbours; a reversed one would not, and FROSTER cannot tell it from the first.
    """
    clip = frames[sample_indices(len(frames), window_frames)]
    return np.stack([clip, np.concatenate([clip[::2], clip[1::2]])])


def _checked(every_s: float, least: float, most: float) -> float:
    every = float(every_s)
    if not least <= every <= most:
        raise BadInput(f"every must be {least:.3g} s to the window's {most:g} s, got {every_s}")
    return every
