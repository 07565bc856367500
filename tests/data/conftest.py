"""Hand-made NTU recordings."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def skeleton_text():
    """frames: per frame a list of (id, joints [25, 3]) -> the text of a .skeleton file."""

    def write(frames: list[list[tuple[int, np.ndarray]]], newline: str = "\n") -> str:
        lines = [str(len(frames))]
        for bodies in frames:
            lines.append(str(len(bodies)))
            for body, joints in bodies:
                lines += [f"{body} 0 1 1 1 1 0 0.01 -0.25 2", str(len(joints))]
                lines += [f"{x:.7g} {y:.7g} {z:.7g} 250.5 200.5 900.5 500.5 0.1 0.2 0.9 0.1 2" for x, y, z in joints]
        return newline.join(lines) + newline

    return write
