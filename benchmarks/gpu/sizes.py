"""What is measured: networks, sizes, and who is compared; shared by all processes of one run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

PRECISIONS = ("fp32", "fp16")
MOST_ERROR = {"fp32": 1e-3, "tf32": 0.05, "fp16": 0.1}  # of the logits' largest; what is further off is not timed


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    batch: int
    bodies: int
    frames: int = 64
    joints: int = 25
    persons: int = 2

    @property
    def name(self) -> str:
        return f"{self.model}-b{self.batch}-m{self.bodies}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def cases(dry: bool) -> list[Case]:
    """The most telling first: a run that is cut short has measured those."""
    batches = (1, 2) if dry else (1, 64, 8)
    frames = 8 if dry else 64
    sizes = [(batch, 2) for batch in batches]
    sizes.insert(1, (1, 1))
    return [Case(model, *size, frames) for size in sizes for model in ("ctrgcn", "hyperformer", "stgcn")]


def compiled(case: Case) -> tuple[str, ...]:
    """Precisions in which torch.compile is a peer: each takes a minute or two to compile."""
    if case.model == "stgcn" or case.bodies == 1:
        return ()
    return ("fp16",) if case.batch in (1, 2, 64) else ()  # four at once fill 16 cores
