"""Northwestern-UCLA: `aAA_sSS_eEE_vVV.json`, 20 Kinect v1 joints in metres, one person."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ski_edge.data.checks import checked, numbers_in_name
from ski_edge.errors import BadInput
from ski_edge.files import read_json

NAME = r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<repetition>\d\d)_v(?P<camera>\d\d)\.json"
ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # the ids in the names; labels count them 1..10
_MAX_BYTES = 1 << 26


def parse_name(path: Path) -> dict[str, int]:
    """`action` (as in the name), `subject`, `repetition`, `camera` and `label` (0-based)."""
    ids = numbers_in_name(path, NAME, "a01_s03_e02_v01.json")
    if ids["action"] not in ACTIONS:
        raise BadInput(f"{path.name}: there is no action {ids['action']}; the actions are {ACTIONS}")
    return {**ids, "label": ACTIONS.index(ids["action"])}


def read_ucla(path: str | Path) -> np.ndarray:
    """float32 [T, 20, 3] in the `kinect20` layout, metres, x right, y up, z away from the camera."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > _MAX_BYTES:
        raise BadInput(f"skeleton {path} has more than {_MAX_BYTES} bytes; is it the right file?")
    content = read_json(path, "skeleton")
    if not isinstance(content, dict) or "skeletons" not in content:
        raise BadInput(f"{path}: no key `skeletons`; is it a file of NW-UCLA's all_sqe folder?")
    label = content.get("label")
    if label is not None and (not isinstance(label, int) or label != parse_name(path)["label"] + 1):
        raise BadInput(
            f"{path}: its label is {label!r}, its name says {parse_name(path)['label'] + 1}; which is wrong?"
        )
    return checked(content["skeletons"], 20, str(path))
