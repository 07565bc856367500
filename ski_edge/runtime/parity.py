"""How far a bundle's numbers are from torch's, and whether that is near enough. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ski_edge.bundle.labels import l2_normalise
from ski_edge.errors import ParityFailed

# float32 graphs reorder sums: a few units in the last place per layer. Measured on ViT-B/16: 3e-7 relative on CPU.
# fp16-storage rounds every weight to 11 bits once: errors of about 1e-3, measured per model and written down.
# bf16 rounds what goes into every product to 8 bits: 1e-2 on trained CTR-GCN weights (benchmarks/results).
# fp16 rounds weights and activations to 11 bits, an eighth of bf16's error.
MAX_RELATIVE_ERROR = {  # largest |difference| / largest |reference|
    "fp32": 1e-4,
    "fp16-storage": 2e-2,
    "fp16": 2e-2,
    "bf16": 5e-2,
}
MIN_COSINE = {"fp32": 0.99999, "fp16-storage": 0.999, "fp16": 0.999, "bf16": 0.998}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far `got` is from `expected`, both [N, D]."""

    max_abs_error: float
    mean_abs_error: float
    relative_error: float  # max |difference| / max |expected|
    min_cosine: float

    def within(self, precision: str) -> bool:
        # Written so that NaN fails.
        return self.relative_error <= MAX_RELATIVE_ERROR[precision] and self.min_cosine >= MIN_COSINE[precision]


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


def agreement(got: np.ndarray, expected: np.ndarray, slack: float) -> tuple[float, int]:
    """(share of equal best columns, rows that count): a best column means something only where rounding of size
    `slack` cannot change it."""
    best = np.sort(expected, axis=1)
    margin = best[:, -1] - best[:, -2] if best.shape[1] > 1 else np.full(len(best), np.inf)
    decided = margin > 2 * slack
    same = got.argmax(1) == expected.argmax(1)
    return float(same[decided].mean()) if decided.any() else 1.0, int(decided.sum())


@dataclass(frozen=True, slots=True)
class Parity:
    """The verdict of a comparison; `as_dict` is what `parity.json` and `--json` hold."""

    reference: str  # what the expected numbers are: "live torch model" or "reference.npz"
    inputs: str  # what went in: "real clips", "generated frames", "generated skeletons"
    count: int  # how many of them
    backend: str
    device: str
    precision: str
    # Video: "labels" (embeddings) and one of "frames", "clips" (embeddings), "logits"; pose: "logits", "embeddings".
    parts: dict[str, Difference]
    top1_agreement: float  # of decided inputs: those whose two best labels differ by more than the errors allow
    decided: int

    @property
    def passed(self) -> bool:
        return all(part.within(self.precision) for part in self.parts.values()) and self.top1_agreement == 1.0

    def as_dict(self) -> dict[str, object]:
        limits = {
            "relative_error": MAX_RELATIVE_ERROR[self.precision],
            "cosine": MIN_COSINE[self.precision],
            "top1_agreement": 1.0,
        }
        content = asdict(self)
        return {**content, **content.pop("parts"), "limits": limits, "passed": self.passed}

    def check(self) -> None:
        """Raise ParityFailed, naming the numbers, unless it passed."""
        if self.passed:
            return
        found = ", ".join(
            f"{n} off by {d.relative_error:.2e} (cosine {d.min_cosine:.6f})" for n, d in self.parts.items()
        )
        raise ParityFailed(
            f"parity failed against {self.reference} on {self.backend}/{self.device}: {found}, "
            f"top-1 agreement {self.top1_agreement:.3f} of {self.decided}; "
            f"allowed {MAX_RELATIVE_ERROR[self.precision]:.0e} and cosine {MIN_COSINE[self.precision]}; "
            "do not deploy it, export it again",
            self.as_dict(),
        )
