"""Generated skeletons: reproducible, of human size, moving smoothly, and in no way an action. numpy only."""

from __future__ import annotations

import numpy as np

from ski_edge.skeleton import Layout

_BONE_M = (0.08, 0.35)  # shortest and longest generated bone


def moving_skeleton(layout: Layout, frames: int, persons: int = 1, seed: int = 0) -> np.ndarray:
    """float32 [T, M, V, 3], metres: bones of fixed length that swing about resting directions; 30 frames a second."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 30
    clip = np.zeros((frames, persons, layout.num_joints, 3))
    for person in range(persons):
        start = np.array([person - 0.5, 0.2, 3.0]) + rng.normal(0, 0.2, 3)
        clip[:, person, layout.root] = start + 0.1 * np.sin(time * rng.uniform(0.5, 2, 3) + rng.uniform(0, 6, 3))
        placed, parents = {layout.root}, layout.parents
        while len(placed) < layout.num_joints:
            for joint in range(layout.num_joints):
                if joint in placed or parents[joint] not in placed:
                    continue
                direction = rng.normal(0, 1, 3) + 0.6 * np.sin(time * rng.uniform(0.5, 4, 3) + rng.uniform(0, 6, 3))
                direction /= np.linalg.norm(direction, axis=1, keepdims=True)
                clip[:, person, joint] = clip[:, person, parents[joint]] + rng.uniform(*_BONE_M) * direction
                placed.add(joint)
    return clip.astype(np.float32)
