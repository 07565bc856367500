"""SYSU 3D-HOI: `PERSON/videoNN/sklWorld.mat`, variable `SW` [20, 3, T], Kinect v1 joints, one person.

UNVERIFIED: the folder layout, the variable and its shape are what two public loaders agree on; no file of the set was
at hand, so neither units nor axes have been checked. A joint beyond 100 m (millimetres?) is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ski_edge.data.checks import checked
from ski_edge.data.mat5 import read_mat
from ski_edge.data.utd import MAX_NUMBERS
from ski_edge.errors import BadInput

_VARIABLE = "SW"
FILE = "sklWorld.mat"


def parse_path(path: Path) -> dict[str, int]:
    """`label` (0-based) from the folder of the action; the folder above names the person."""
    match = re.fullmatch(r"video(\d{1,2})", path.parent.name, re.ASCII | re.IGNORECASE)
    if not match or not 1 <= int(match[1]) <= 12:
        raise BadInput(f"{path} is not in a folder video1 to video12; the files are PERSON/video1/{FILE}")
    return {"label": int(match[1]) - 1}


def read_sysu(path: str | Path) -> np.ndarray:
    """float32 [T, 20, 3] in the `kinect20` layout."""
    array = read_mat(Path(path), _VARIABLE, MAX_NUMBERS)
    if array.ndim != 3:
        raise BadInput(f"{path}: {_VARIABLE} is {list(array.shape)}, expected [20, 3, frames]; is it a skeleton file?")
    return checked(array.transpose(2, 0, 1), 20, str(path))
