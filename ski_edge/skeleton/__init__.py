"""Skeletons: joint layouts, graphs, modalities, remapping, and what a network expects of its input. numpy only."""

from ski_edge.skeleton.inputs import SkeletonInput, arrange, box, prepare
from ski_edge.skeleton.layouts import LAYOUTS, Layout, get_layout, read_layout
from ski_edge.skeleton.modalities import MODALITIES, to_modality
from ski_edge.skeleton.remap import from_mediapipe_world, remap, remap_matrix, swap_sides

__all__ = [
    "LAYOUTS",
    "MODALITIES",
    "Layout",
    "SkeletonInput",
    "arrange",
    "box",
    "from_mediapipe_world",
    "get_layout",
    "prepare",
    "read_layout",
    "remap",
    "remap_matrix",
    "swap_sides",
    "to_modality",
]
