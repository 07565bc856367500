"""Does this bundle, on this backend and device, compute what the torch model computed? No torch needed to ask."""

from __future__ import annotations

import zipfile
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
    labels: Difference | None  # the text encoder's label embeddings; None when the bundle has none
    top1_agreement: float  # of decided frames: those whose two best labels differ by more than the errors allow
    decided_frames: int

    @property
    def passed(self) -> bool:
        return self.frames.passed and (self.labels is None or self.labels.passed) and self.top1_agreement == 1.0

    def as_dict(self) -> dict[str, object]:
        limits = {"relative_error": MAX_RELATIVE_ERROR, "cosine": MIN_COSINE, "top1_agreement": 1.0}
        return {**asdict(self), "limits": limits, "passed": self.passed}

    def check(self) -> None:
        """Raise ParityFailed, naming the worst number, unless it passed."""
        if self.passed:
            return
        parts = [f"frame embeddings off by {self.frames.relative_error:.2e} (cosine {self.frames.min_cosine:.6f})"]
        if self.labels is not None:
            parts.append(f"label embeddings by {self.labels.relative_error:.2e}")
        parts.append(f"top-1 agreement {self.top1_agreement:.3f} of {self.decided_frames}")
        raise ParityFailed(
            f"parity failed against {self.reference} on {self.backend}/{self.device}: {', '.join(parts)}; "
            f"allowed {MAX_RELATIVE_ERROR:.0e} and cosine {MIN_COSINE}"
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


def compare(session: Session, frames: list[np.ndarray], expected: np.ndarray, reference: str, inputs: str) -> Parity:
    """Run raw frames through the session, preprocessing included, and compare with `expected` embeddings [N, D].

    frames: N times uint8 [H, W, 3] RGB. Labels are compared with the bundle's `labels.npy`, which torch computed.
    """
    got = session.encode_frames(frames)
    if got.shape != expected.shape:
        raise ParityFailed(f"the graph gives embeddings {list(got.shape)}, {reference} has {list(expected.shape)}")
    exported = session.labels.current
    labels = None
    if session.manifest.text_encoder is not None:
        rows = embed_labels(exported.labels, session.manifest.text.template, session.encode_text)
        labels = difference(rows, exported.embeddings)
    got_logits, want_logits = (l2_normalise(x) @ exported.embeddings.T for x in (got, expected))
    # A top-1 label is only meaningful where rounding of this size cannot change it.
    best = np.sort(want_logits, axis=1)
    margin = best[:, -1] - best[:, -2] if best.shape[1] > 1 else np.full(len(best), np.inf)
    decided = margin > 2 * MAX_RELATIVE_ERROR
    same = got_logits.argmax(1) == want_logits.argmax(1)
    return Parity(
        reference=reference,
        inputs=inputs,
        num_frames=len(frames),
        backend=session.backend,
        device=str(session.device),
        frames=difference(got, expected),
        labels=labels,
        top1_agreement=float(same[decided].mean()) if decided.any() else 1.0,
        decided_frames=int(decided.sum()),
    )


def read_reference(session: Session) -> tuple[list[np.ndarray], np.ndarray, str]:
    """(raw frames, torch's embeddings [N, D], "real clips" or "generated frames") of the bundle."""
    path = member(session.folder, REFERENCE)
    try:
        with np.load(path, allow_pickle=False) as data:
            return list(data["frames"]), data["embedding"], str(data["inputs"])
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} cannot be read as the reference: {error}; export the bundle again") from error


def verify(session: Session) -> Parity:
    """Compare the session with the bundle's own `reference.npz`."""
    frames, expected, inputs = read_reference(session)
    return compare(session, frames, expected, "reference.npz", inputs)
