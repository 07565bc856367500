"""What every reader asks of a file before it believes it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput

# A depth camera sees a few metres; a joint farther away than this is damage, not data.
FARTHEST_M = 100.0
MAX_FRAMES = 1_000_000  # nine hours


def read_bytes(path: Path, what: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes, so that a wrong file cannot fill the memory."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise BadInput(f"{what} {path} has {size} bytes, the limit is {limit}; is it the right file?")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{what} {path} cannot be read: {error.strerror or error}") from error


def checked(values: object, joints: int, where: str, farthest: float = FARTHEST_M, unit: str = "m") -> np.ndarray:
    """Anything array-like -> float32 [T, joints, 3], at least one frame, finite, within `farthest` of the origin."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadInput(f"{where}: the joints are no regular table of numbers ({error}); get the file again") from error
    if array.ndim != 3 or array.shape[1:] != (joints, 3) or array.dtype.kind not in "fiu":
        raise BadInput(
            f"{where}: the joints must be numbers [frames, {joints}, 3], got {array.dtype} {list(array.shape)}; "
            "is it a file of this data set?"
        )
    if not 0 < len(array) <= MAX_FRAMES:
        raise BadInput(f"{where}: {len(array)} frames; a clip has 1 to {MAX_FRAMES}")
    # NaN fails every comparison, so one expression finds both.
    bad = ~(np.abs(array) <= farthest)
    if bad.any():
        frame, joint, axis = (int(i) for i in np.argwhere(bad)[0])
        raise BadInput(
            f"{where}: frame {frame}, joint {joint + 1} is at {array[frame, joint, axis]} {unit}; joints must be "
            f"finite and within {farthest:g} {unit} of the origin; get the file again"
        )
    return array.astype(np.float32)


def numbers_in_name(path: Path, pattern: str, example: str) -> dict[str, int]:
    """The named numbers of a file name, or a line that says how names must look."""
    match = re.fullmatch(pattern, path.name, re.ASCII | re.IGNORECASE)
    if not match:
        raise BadInput(f"{path.name} is not a name of this data set; names look like {example}")
    return {key: int(value) for key, value in match.groupdict().items()}
