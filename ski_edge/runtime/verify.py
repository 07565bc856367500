"""Does this bundle, on this backend and device, compute what the torch model computed? No torch needed to ask."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ski_edge.bundle.labels import embed_labels, l2_normalise
from ski_edge.errors import BadInput, ParityFailed
from ski_edge.files import member
from ski_edge.runtime.session import Session

REFERENCE = "reference.npz"
# float32 graphs reorder sums: a few units in the last place per layer. Measured on ViT-B/16: 3e-7 relative on CPU.
MAX_RELATIVE_ERROR = 1e-4  # largest |difference| / largest |reference|
MIN_COSINE = 0.99999


@dataclass(frozen=True, slots=True)
class Difference:
    """How far `got` is from `expected`, both [N, D]."""

    max_abs_error: float
    mean_abs_error: float
    relative_error: float  # max |difference| / max |expected|
    min_cosine: float

    @property
    def passed(self) -> bool:
        # Written so that NaN fails.
        return self.relative_error <= MAX_RELATIVE_ERROR and self.min_cosine >= MIN_COSINE


@dataclass(frozen=True, slots=True)
class Parity:
    """The verdict of `compare`; `as_dict` is what `parity.json` and `--json` hold."""

    reference: str  # what the expected numbers are: "live torch model" or "reference.npz"
    inputs: str  # "real clips" or "generated frames"
    num_frames: int
    backend: str
    device: str
    frames: Difference
    labels: Difference  # label embeddings: stored ones and the text encoder's, the worse of both
    top1_agreement: float  # of decided frames: those whose two best labels differ by more than the errors allow
    decided_frames: int

    @property
    def passed(self) -> bool:
        return self.frames.passed and self.labels.passed and self.top1_agreement == 1.0

    def as_dict(self) -> dict[str, object]:
        limits = {"relative_error": MAX_RELATIVE_ERROR, "cosine": MIN_COSINE, "top1_agreement": 1.0}
        return {**asdict(self), "limits": limits, "passed": self.passed}

    def check(self) -> None:
        """Raise ParityFailed, naming the worst number, unless it passed."""
        if self.passed:
            return
        raise ParityFailed(
            f"parity failed against {self.reference} on {self.backend}/{self.device}: "
            f"frame embeddings off by {self.frames.relative_error:.2e} (cosine {self.frames.min_cosine:.6f}), "
            f"label embeddings by {self.labels.relative_error:.2e} (cosine {self.labels.min_cosine:.6f}), "
            f"top-1 agreement {self.top1_agreement:.3f} of {self.decided_frames}; "
            f"allowed {MAX_RELATIVE_ERROR:.0e} and cosine {MIN_COSINE}; do not deploy it, export it again",
            self.as_dict(),
        )


def difference(got: np.ndarray, expected: np.ndarray) -> Difference:
    """Compare two float arrays [N, D]."""
    error = np.abs(got.astype(np.float64) - expected)
    cosine = (l2_normalise(got.astype(np.float64)) * l2_normalise(expected.astype(np.float64))).sum(-1)
    return Difference(
        max_abs_error=float(error.max()),
        mean_abs_error=float(error.mean()),
        relative_error=float(error.max() / max(np.abs(expected).max(), 1e-12)),
        min_cosine=float(cosine.min()),
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What a bundle must give, float32: frame embeddings [N, D], label embeddings [K, D], the score scale."""

    reference: str  # "live torch model" or "reference.npz"
    frames: np.ndarray
    labels: np.ndarray
    score_scale: float


def compare(session: Session, frames: list[np.ndarray], inputs: str, expected: Expected) -> Parity:
    """Run raw frames (N times uint8 [H, W, 3] RGB) through the session, preprocessing included, and compare.

    Labels: both the stored embeddings and, where there is a text encoder, those it computes now; the worse counts.
    """
    got = session.encode_frames(frames)
    stored = session.exported_labels
    for name, ours, theirs in (("frame", got, expected.frames), ("label", stored.embeddings, expected.labels)):
        if ours.shape != theirs.shape:
            raise ParityFailed(
                f"{name} embeddings are {list(ours.shape)}, {expected.reference} has {list(theirs.shape)}"
            )
    scale = session.manifest.score_scale
    if abs(scale - expected.score_scale) > 1e-4 * expected.score_scale:
        raise ParityFailed(f"score_scale is {scale:g} in the bundle, {expected.score_scale:g} in {expected.reference}")
    labels = difference(stored.embeddings, expected.labels)
    if session.manifest.text_encoder is not None:
        rows = embed_labels(stored.labels, session.manifest.text.template, session.encode_text)
        labels = max(labels, difference(rows, expected.labels), key=lambda d: d.relative_error)
    got_logits = l2_normalise(got) @ stored.embeddings.T
    want_logits = l2_normalise(expected.frames) @ expected.labels.T
    # A top-1 label is only meaningful where rounding of this size cannot change it.
    best = np.sort(want_logits, axis=1)
    margin = best[:, -1] - best[:, -2] if best.shape[1] > 1 else np.full(len(best), np.inf)
    decided = margin > 2 * MAX_RELATIVE_ERROR
    same = got_logits.argmax(1) == want_logits.argmax(1)
    return Parity(
        reference=expected.reference,
        inputs=inputs,
        num_frames=len(frames),
        backend=session.backend,
        device=str(session.device),
        frames=difference(got, expected.frames),
        labels=labels,
        top1_agreement=float(same[decided].mean()) if decided.any() else 1.0,
        decided_frames=int(decided.sum()),
    )


def read_reference(session: Session) -> tuple[list[np.ndarray], str, Expected]:
    """(raw frames, "real clips" or "generated frames", torch's numbers) of the bundle's `reference.npz`."""
    path = member(session.folder, REFERENCE)
    try:
        with np.load(path, allow_pickle=False) as data:
            frames, inputs = list(data["frames"]), str(data["inputs"])
            rows, labels = (np.asarray(data[name], np.float32) for name in ("embedding", "labels"))
            return frames, inputs, Expected(REFERENCE, rows, labels, float(data["score_scale"]))
    except Exception as error:  # numpy's reader raises nearly anything on a damaged file
        raise BadInput(f"{path} cannot be read as the reference: {error}; export the bundle again") from error


def verify(session: Session) -> Parity:
    """Compare the session with the bundle's own `reference.npz`."""
    return compare(session, *read_reference(session))
