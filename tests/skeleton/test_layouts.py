"""Layouts and graphs: the fact sheets' counts, and what a wrong layout file is told."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.skeleton import LAYOUTS, SkeletonInput, get_layout, read_layout
from ski_edge.skeleton.graphs import hd_graph, hd_groups, hops, hyperedges, spatial_graph, stgcn_graph

NTU, KINECT = LAYOUTS["ntu25"], LAYOUTS["kinect20"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_every_layout_is_a_symmetric_tree(layout):
    parents = layout.parents
    assert sum(parents[joint] == joint for joint in range(layout.num_joints)) == 1
    mirror = {left: right for left, right in layout.pairs} | {right: left for left, right in layout.pairs}
    for left, right in layout.pairs:
        assert layout.joints[left].replace("left", "right") == layout.joints[right]
        parent = parents[left]
        assert parents[right] == mirror.get(parent, parent)


def test_spatial_graph_of_ntu():
    graph = spatial_graph(NTU)
    assert [np.count_nonzero(part) for part in graph] == [25, 24, 24]
    columns = graph[1].sum(axis=0)
    assert columns[20] == 0
    assert (np.delete(columns, 20) == 1).all()
    assert (np.flatnonzero(graph[2].sum(axis=0) == 0) + 1).tolist() == [4, 16, 20, 22, 24]
    assert (np.flatnonzero(graph[1][20]) + 1).tolist() == [2, 3, 5, 9]  # row 21 receives from these
    assert graph[2][1, 20] == 0.25
    assert graph[2][12, 0] == 0.5


def test_spatial_graph_of_kinect():
    assert [np.count_nonzero(part) for part in spatial_graph(KINECT)] == [20, 19, 19]
    assert spatial_graph(KINECT)[1].sum(axis=0)[2] == 0


def test_stgcn_partition_is_the_degenerate_one():
    graph = stgcn_graph(NTU)
    assert [np.count_nonzero(part) for part in graph] == [25, 40, 8]
    farther = {(2, 1), (3, 4), (5, 6), (9, 10), (21, 2), (21, 3), (21, 5), (21, 9)}
    assert {(int(row) + 1, int(column) + 1) for row, column in np.argwhere(graph[2])} == farther
    np.testing.assert_allclose(graph.sum(axis=(0, 1)), 1)


@pytest.mark.parametrize(
    ("centre", "edges"), [(0, [3, 9, 15, 25, 10, 12]), (1, [2, 10, 25, 20, 16, 16]), (20, [4, 16, 16, 16, 24, 12])]
)
def test_hd_graph_of_ntu(centre, edges):
    graph = hd_graph(NTU, centre)
    assert graph.shape == (6, 3, 25, 25)
    assert np.count_nonzero(graph[:, 1], axis=(1, 2)).tolist() == edges
    assert np.count_nonzero(graph[:, 2], axis=(1, 2)).tolist() == edges
    for level, (inner, outer) in enumerate(zip(hd_groups(NTU, centre), hd_groups(NTU, centre)[1:], strict=False)):
        assert graph[level, 1][outer[0], inner[0]] == pytest.approx(1 / len(outer))
        assert graph[level, 2][inner[0], outer[0]] == pytest.approx(1 / len(inner))


def test_hd_groups_of_other_layouts_are_distances_from_the_centre():
    groups = hd_groups(KINECT, 0)
    assert groups[0] == (0,)
    assert sorted(joint for group in groups for joint in group) == list(range(20))
    with pytest.raises(BadInput, match=r"centre 20 is not a joint of kinect20 \(0..19\)"):
        hd_groups(KINECT, 20)


def test_hops_of_hyperformer():
    table = hops(NTU)
    assert np.bincount(table.ravel()).tolist() == [25, 48, 58, 60, 66, 72, 80, 72, 56, 40, 32, 16]
    row = [2, 1, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 3, 4, 5, 6, 3, 4, 5, 6, 0, 5, 5, 5, 5]
    assert table[20].tolist() == row
    assert hops(KINECT).max() == 10


def test_hyperedges():
    assert np.flatnonzero(hyperedges(NTU) == 0).tolist() == [0, 21, 23]
    assert np.flatnonzero(hyperedges(NTU) == 3).tolist() == [13, 14, 15, 17, 18, 19]
    assert set(hyperedges(LAYOUTS["coco17"])) == set(range(5))  # one per branch that leaves the nose


OWN = """
name: hand5
joints: [wrist, thumb, index, middle, ring]
bones: [[thumb, wrist], [index, wrist], [middle, wrist], [ring, wrist]]
centre: [wrist]
"""


def test_own_layout(tmp_path):
    path = tmp_path / "hand.yaml"
    path.write_text(OWN)
    layout = read_layout(path)
    assert (layout.num_joints, layout.root, layout.parents) == (5, 0, (0, 0, 0, 0, 0))
    assert get_layout(path) == layout
    spec = SkeletonInput(layout=layout)
    assert SkeletonInput.model_validate_json(spec.model_dump_json()) == spec
    assert '"layout":"ntu25"' in SkeletonInput(layout="ntu25").model_dump_json()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[ring, wrist]", "[ring, elbow]", "'elbow' is not a joint; joints are: wrist, thumb"),
        ("[ring, wrist]", "[thumb, wrist]", "bones must make a tree"),
        ("[thumb, wrist]", "[wrist, wrist]", "must be two different joints"),
        ("[index, wrist], [middle, wrist]", "[index, middle], [middle, index]", "bones make a circle at"),
        ("hand5", "ntu25", "the name 'ntu25' is taken"),
        ("ring]\n", "ring, ring]\n", "every joint needs its own name"),
        ("centre: [wrist]", "center: [wrist]", "must have the keys name, joints, bones, centre"),
        ("name: hand5", "name: [", "is not YAML line"),
    ],
)
def test_wrong_layout_is_one_clear_line(tmp_path, before, after, says):
    path = tmp_path / "hand.yaml"
    assert before in OWN
    path.write_text(OWN.replace(before, after))
    with pytest.raises(BadInput, match=says.replace("[", r"\[")) as failed:
        read_layout(path)
    assert "\n" not in str(failed.value)


def test_unknown_layout_lists_the_choices():
    with pytest.raises(BadInput, match=r"ntu25, kinect20, utd20, coco17, mediapipe33, h36m17, or a \.yaml file"):
        get_layout("ntu")
