"""Does this bundle, on this backend and device, compute what the torch model computed? No torch needed to ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ski_edge.bundle.labels import embed_labels
from ski_edge.errors import BadInput, ParityFailed
from ski_edge.files import member
from ski_edge.runtime.parity import MAX_RELATIVE_ERROR, Parity, agreement, difference
from ski_edge.runtime.pose_session import PoseSession
from ski_edge.runtime.session import Session

REFERENCE = "reference.npz"
_NUMBERS = {"frames": "frame embeddings", "clips": "clip embeddings", "logits": "logits"}  # by `Session.part`


@dataclass(frozen=True, slots=True)
class Expected:
    """What a video bundle must give, float32: `Session.reference_outputs`, label embeddings [K, D], the score scale."""

    reference: str  # "live torch model" or "reference.npz"
    outputs: np.ndarray  # embeddings [N, D] of frames or clips, or logits [N, K] of clips
    labels: np.ndarray
    score_scale: float


@dataclass(frozen=True, slots=True)
class ExpectedPose:
    """What a pose bundle must give, float32: logits [N, K] and embeddings [N, D]."""

    reference: str
    logits: np.ndarray
    embeddings: np.ndarray


def compare(session: Session, frames: list[np.ndarray], inputs: str, expected: Expected) -> Parity:
    """Run raw frames (N times uint8 [H, W, 3] RGB) through the session, preprocessing included, and compare.

    Models that see whole clips get two of them, see `reference_clips`. Labels: both the stored embeddings
    and, where there is a text encoder, those it computes now; the worse counts.
    """
    got = session.reference_outputs(frames)
    stored = session.exported_labels
    _same_shape(_NUMBERS[session.part], got, expected.outputs, expected.reference)
    _same_shape("label embeddings", stored.embeddings, expected.labels, expected.reference)
    scale = session.manifest.score_scale
    if abs(scale - expected.score_scale) > 1e-4 * expected.score_scale:
        raise ParityFailed(f"score_scale is {scale:g} in the bundle, {expected.score_scale:g} in {expected.reference}")
    labels = difference(stored.embeddings, expected.labels)
    if session.manifest.text_encoder is not None:
        rows = embed_labels(stored.labels, session.manifest.text.template, session.encode_text)
        labels = max(labels, difference(rows, expected.labels), key=lambda d: d.relative_error)
    precision = session.manifest.precision.asked
    top1, decided = agreement(
        session.cosines(got, stored.embeddings),
        session.cosines(expected.outputs, expected.labels),
        MAX_RELATIVE_ERROR[precision],
    )
    parts = {session.part: difference(got, expected.outputs), "labels": labels}
    device = str(session.device)
    return Parity(expected.reference, inputs, len(frames), session.backend, device, precision, parts, top1, decided)


def compare_pose(session: PoseSession, clips: list[np.ndarray], inputs: str, expected: ExpectedPose) -> Parity:
    """Run skeletons in metres, [T, M, V, 3] each, through the session, preprocessing included, and compare."""
    got = session.outputs(clips)
    _same_shape("logits", got["logits"], expected.logits, expected.reference)
    _same_shape("embeddings", got["embedding"], expected.embeddings, expected.reference)
    precision = session.precision
    slack = MAX_RELATIVE_ERROR[precision] * float(np.abs(expected.logits).max())
    top1, decided = agreement(got["logits"], expected.logits, slack)
    parts = {
        "logits": difference(got["logits"], expected.logits),
        "embeddings": difference(got["embedding"], expected.embeddings),
    }
    device = str(session.device)
    return Parity(expected.reference, inputs, len(clips), session.backend, device, precision, parts, top1, decided)


def _same_shape(name: str, got: np.ndarray, expected: np.ndarray, reference: str) -> None:
    if got.shape != expected.shape:
        raise ParityFailed(f"{name} are {list(got.shape)}, {reference} has {list(expected.shape)}")


def read_reference(session: Session) -> tuple[list[np.ndarray], str, Expected]:
    """(raw frames, "real clips" or "generated frames", torch's numbers) of a video bundle's `reference.npz`."""
    output = session.manifest.encoder.outputs[0].name
    arrays = _read_npz(session, ("frames", "inputs", output, "labels", "score_scale"))
    expected = Expected(REFERENCE, arrays[output], arrays["labels"], float(arrays["score_scale"]))
    return list(arrays["frames"]), str(arrays["inputs"]), expected


def read_pose_reference(session: PoseSession) -> tuple[list[np.ndarray], str, ExpectedPose]:
    """(skeletons in metres, what they are, torch's numbers) of a pose bundle's `reference.npz`."""
    arrays = _read_npz(session, ("skeletons", "lengths", "inputs", "logits", "embedding"))
    try:
        clips = np.split(arrays["skeletons"], np.cumsum(arrays["lengths"])[:-1])
    except (ValueError, TypeError, IndexError) as error:
        raise BadInput(f"{session.folder / REFERENCE} does not fit together: {error}; export it again") from error
    return clips, str(arrays["inputs"]), ExpectedPose(REFERENCE, arrays["logits"], arrays["embedding"])


def _read_npz(session: Session | PoseSession, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    path = member(session.folder, REFERENCE)
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: np.asarray(data[name]) for name in names}
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        raise BadInput(f"{path} cannot be read as the reference: {error}; export the bundle again") from error


def verify(session: Session | PoseSession) -> Parity:
    """Compare the session with the bundle's own `reference.npz`."""
    if isinstance(session, PoseSession):
        return compare_pose(session, *read_pose_reference(session))
    return compare(session, *read_reference(session))
