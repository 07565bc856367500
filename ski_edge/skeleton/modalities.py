"""Joint, bone and motion streams of a clip. The same lines run on numpy arrays and on torch tensors."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Literal, get_args

from ski_edge.skeleton.layouts import Layout

Modality = Literal["joint", "bone", "joint_motion", "bone_motion"]
MODALITIES: tuple[str, ...] = get_args(Modality)


def namespace(array: Any) -> ModuleType:
    """numpy for arrays, torch for tensors; torch is never imported from here."""
    return sys.modules[type(array).__module__.split(".")[0]]


def bones(clip: Any, layout: Layout) -> Any:
    """[..., V, 3] -> each joint minus its parent; the root's bone is zero (CTR-GCN feeders)."""
    return clip - clip[..., list(layout.parents), :]


def motion(clip: Any) -> Any:
    """[..., T, M, V, 3] -> next frame minus this one; the last frame is zero."""
    ahead = namespace(clip).concatenate([clip[..., 1:, :, :, :], clip[..., -1:, :, :, :]], -4)
    return ahead - clip


def relative_to_root(clip: Any, layout: Layout) -> Any:
    """[..., V, 3] -> joints relative to the root, which keeps its own trajectory (Hyperformer's feeder)."""
    return _with_root(clip - clip[..., layout.root : layout.root + 1, :], clip, layout)


def to_modality(clip: Any, layout: Layout, modality: str, root_trajectory: bool = False) -> Any:
    """[..., T, M, V, 3] joints -> the stream called `modality`, same shape.

    root_trajectory: the root's joint and bone are its absolute position and all other joints are relative to it
    (Hyperformer); otherwise joints are absolute and the root's bone is zero (CTR-GCN).
    """
    if modality.startswith("bone"):
        stream = bones(clip, layout)
        if root_trajectory:
            stream = _with_root(stream, clip, layout)
    else:
        stream = relative_to_root(clip, layout) if root_trajectory else clip
    return motion(stream) if modality.endswith("motion") else stream


def _with_root(stream: Any, clip: Any, layout: Layout) -> Any:
    root = layout.root
    return namespace(clip).concatenate(
        [stream[..., :root, :], clip[..., root : root + 1, :], stream[..., root + 1 :, :]], -2
    )
