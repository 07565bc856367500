"""Graphs over joints, exactly as the original systems build them. All float64; networks cast.

A link (i, j) sets A[j, i] = 1: columns are sources, rows destinations. `normalised` divides each column by its sum.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout

# Ordered joint groups of HD-GCN for NTU-25 by centre of mass, 1-based as printed there (get_hierarchical_graph).
_HD_GROUPS = {
    1: ((1,), (2, 13, 17), (14, 18, 21), (3, 5, 9, 15, 19), (4, 6, 10, 16, 20), (7, 11), (8, 12, 22, 23, 24, 25)),
    2: ((2,), (1, 21), (13, 17, 3, 5, 9), (14, 18, 4, 6, 10), (15, 19, 7, 11), (16, 20, 8, 12), (22, 23, 24, 25)),
    21: ((21,), (2, 3, 5, 9), (4, 6, 10, 1), (7, 11, 13, 17), (8, 12, 14, 18), (22, 23, 24, 25, 15, 19), (16, 20)),
}


def _links(pairs: Iterable[tuple[int, int]], joints: int) -> np.ndarray:
    adjacency = np.zeros((joints, joints))
    for source, destination in pairs:
        adjacency[destination, source] = 1
    return adjacency


def _normalised(adjacency: np.ndarray) -> np.ndarray:
    total = adjacency.sum(axis=0)
    return adjacency / np.where(total > 0, total, 1)


def spatial_graph(layout: Layout) -> np.ndarray:
    """[3, V, V]: self, inward (child to parent), outward; columns of the last two sum to 1 or 0 (CTR-GCN)."""
    count = layout.num_joints
    inward = _links(layout.bones, count)
    outward = _links(((parent, child) for child, parent in layout.bones), count)
    return np.stack([np.eye(count), _normalised(inward), _normalised(outward)])


def stgcn_graph(layout: Layout) -> np.ndarray:
    """[3, V, V]: ST-GCN's spatial partition as its code computes it, which is not as its paper draws it.

    Distances are known up to one hop only, so every joint that is not beside the root counts as equally far from
    it: 25/40/8 nonzeros on NTU-25 instead of 25/24/24. Trained weights expect exactly this.
    """
    count, root = layout.num_joints, layout.root
    near = _links([*layout.bones, *((parent, child) for child, parent in layout.bones)], count)
    distance = np.where(near > 0, 1.0, np.inf)
    np.fill_diagonal(distance, 0)
    weights = _normalised((distance <= 1).astype(float))
    from_root = distance[:, root]
    same_or_closer = from_root[:, None] >= from_root[None, :]  # [j, i]: j is as far from the root as i, or farther
    neighbours = weights * (distance == 1)
    return np.stack([weights * np.eye(count), neighbours * same_or_closer, neighbours * ~same_or_closer])


def hd_groups(layout: Layout, centre: int) -> tuple[tuple[int, ...], ...]:
    """Ordered joint groups of the hierarchy around joint `centre` (0-based).

    NTU-25 has HD-GCN's own for its three centres (0, 1 and 20); elsewhere the groups are the joints at equal
    distance from the centre along the bones, which is what HD-GCN's tables approximate.
    """
    if layout.name == "ntu25" and centre + 1 in _HD_GROUPS:
        return tuple(tuple(joint - 1 for joint in group) for group in _HD_GROUPS[centre + 1])
    if not 0 <= centre < layout.num_joints:
        raise BadInput(f"centre {centre} is not a joint of {layout.name} (0..{layout.num_joints - 1})")
    distance = _hops(layout.bones, layout.num_joints)[centre]
    return tuple(tuple(np.flatnonzero(distance == hop).tolist()) for hop in range(int(distance.max()) + 1))


def hd_graph(layout: Layout, centre: int) -> np.ndarray:
    """[L, 3, V, V]: per pair of neighbouring groups self links, links outward (complete bipartite), links inward."""
    groups, count = hd_groups(layout, centre), layout.num_joints
    layers = []
    for inner, outer in itertools.pairwise(groups):
        forward = [(a, b) for a in inner for b in outer]
        backward = [(b, a) for a, b in forward]
        self_links = _links(((joint, joint) for joint in (*inner, *outer)), count)
        layers.append(np.stack([self_links, _normalised(_links(forward, count)), _normalised(_links(backward, count))]))
    return np.stack(layers)


def hops(layout: Layout) -> np.ndarray:
    """int64 [V, V]: bones on the way from joint to joint (Hyperformer's relative positions)."""
    return _hops(layout.hop_bones or layout.bones, layout.num_joints)


def _hops(bones: tuple[tuple[int, int], ...], count: int) -> np.ndarray:
    beside: list[list[int]] = [[] for _ in range(count)]
    for child, parent in bones:
        beside[child].append(parent)
        beside[parent].append(child)
    table = np.full((count, count), -1, np.int64)
    for start in range(count):
        table[start, start] = 0
        queue = deque([start])
        while queue:
            joint = queue.popleft()
            for other in beside[joint]:
                if table[start, other] < 0:
                    table[start, other] = table[start, joint] + 1
                    queue.append(other)
    return table


def hyperedges(layout: Layout) -> np.ndarray:
    """int64 [V]: group of each joint. Layouts without groups of their own get one per branch that leaves the root."""
    if layout.hyperedges:
        return np.array(layout.hyperedges)
    parents, groups = layout.parents, {layout.root: 0}

    def branch(joint: int) -> int:
        while parents[joint] != layout.root:
            joint = parents[joint]
        return joint

    for joint in range(layout.num_joints):
        if joint != layout.root:
            groups.setdefault(branch(joint), len(groups))
    return np.array([0 if j == layout.root else groups[branch(j)] for j in range(layout.num_joints)])
