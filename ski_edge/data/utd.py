"""UTD-MHAD: `aA_sS_tT_skeleton.mat`, 20 Kinect v1 joints in metres in an order of its own, one person."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ski_edge.data.checks import checked, numbers_in_name
from ski_edge.data.mat5 import read_mat
from ski_edge.errors import BadInput

NAME = r"a(?P<action>\d{1,2})_s(?P<subject>\d)_t(?P<trial>\d)_skeleton\.mat"
_VARIABLE = "d_skel"
MAX_NUMBERS = 60 * 100_000  # an hour at 30 frames per second


def parse_name(path: Path) -> dict[str, int]:
    """`action`, `subject`, `trial` and `label` (0-based)."""
    ids = numbers_in_name(path, NAME, "a1_s1_t1_skeleton.mat")
    if not 1 <= ids["action"] <= 27:
        raise BadInput(f"{path.name}: there is no action {ids['action']}; UTD-MHAD has 1 to 27")
    return {**ids, "label": ids["action"] - 1}


def read_utd(path: str | Path) -> np.ndarray:
    """float32 [T, 20, 3] in the `utd20` layout, metres; the left shoulder has the smaller x, as in NTU's files."""
    array = read_mat(Path(path), _VARIABLE, MAX_NUMBERS)
    if array.ndim != 3:
        raise BadInput(f"{path}: {_VARIABLE} is {list(array.shape)}, expected [20, 3, frames]; is it a skeleton file?")
    return checked(array.transpose(2, 0, 1), 20, str(path))
