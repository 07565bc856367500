"""Toyota Smarthome 2D poses: `Action_pNN_rNN_vNN_cNN_Alphapose2d.npz`, 17 COCO keypoints in pixels, one person."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ski_edge.data.checks import MAX_FRAMES, checked
from ski_edge.data.names import SMARTHOME
from ski_edge.data.npz import damage_named, members
from ski_edge.data.pixels import from_pixels
from ski_edge.errors import BadInput

_NAME = r"(?P<action>[A-Za-z.]+)_p(?P<subject>\d{2})_r(?P<part>\d{2})_v(?P<video>\d{2})_c(?P<camera>\d{2})(_\w+)?\.npz"
_KEY = "kpts"
_WIDEST_PX = 100_000.0


def parse_name(path: Path) -> dict[str, int]:
    """`subject`, `part`, `video`, `camera` and `label` (0-based, in the order of `names.SMARTHOME`)."""
    match = re.fullmatch(_NAME, path.name, re.ASCII)
    if not match:
        raise BadInput(
            f"{path.name} is not a name of this data set; names look like WatchTV_p02_r03_v05_c05_Alphapose2d.npz"
        )
    ids = match.groupdict()
    if ids["action"] not in SMARTHOME:
        raise BadInput(f"{path.name}: there is no action {ids['action']!r}; the actions are: {', '.join(SMARTHOME)}")
    numbers = {key: int(ids[key]) for key in ("subject", "part", "video", "camera")}
    return {**numbers, "label": SMARTHOME.index(ids["action"])}


def read_smarthome(path: str | Path) -> np.ndarray:
    """float32 [T, 17, 3] in the `coco17` layout, scaled to an adult's torso (see `pixels`), z = 0."""
    path = Path(path)
    with damage_named(path):
        found = members(path)
        if _KEY not in found:
            raise BadInput(
                f"{path} has no array {_KEY!r} (it has: {', '.join(found) or 'none'}); is it a 2D pose file?"
            )
        member = found[_KEY]
        if len(member.shape) != 3 or member.shape[1:] != (17, 2) or member.dtype.kind != "f":
            raise BadInput(f"{path}: {_KEY} is {member.dtype} {list(member.shape)}, expected floats [frames, 17, 2]")
        pixels = member.read(MAX_FRAMES * 34)
    flat = np.concatenate([pixels, np.zeros((*pixels.shape[:2], 1), pixels.dtype)], axis=2)
    pixels = checked(flat, 17, str(path), _WIDEST_PX, "px")[:, None, :, :2]
    return from_pixels(pixels, str(path))[:, 0]
