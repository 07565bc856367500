"""What a skeleton network expects of its input, and the road from joints in metres to its input tensor.

`SkeletonInput` sits in a checkpoint's config and in a bundle's manifest; `prepare` obeys it on the device, the
training pipeline obeys it through the same pieces: `arrange` (once per clip), `box`, `take`, `to_modality`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout, LayoutField
from ski_edge.skeleton.modalities import Modality, namespace, to_modality
from ski_edge.skeleton.resample import CropResize, FixedSeconds, Resample, check_times, neighbours, take
from ski_edge.skeleton.rotations import rotation_onto

_LONGEST = 1_000_000  # frames; nine hours


class SkeletonInput(Contract):
    """Everything between joints in metres [T, M, V, 3] and a network's [N, 3, T, V, M]."""

    layout: LayoutField
    persons: int = Field(2, ge=1, le=16)  # body slots of the network
    # What slot 2 holds when one person is there: NTU-60 weights were trained with zeros, NTU-120's with a copy.
    second_body: Literal["zeros", "copy"] = "zeros"
    # first-frame: body 1's centre joint where it is first seen (NTU, NW-UCLA); each-frame: position is forgotten (live)
    centre: Literal["none", "first-frame", "each-frame"] = "first-frame"
    # upright: spine along +z, shoulders along +x, as pyskl's PreNormalize3D (frame 1 of body 1)
    align: Literal["none", "upright"] = "none"
    # box: each axis to [-1, 1] over the clip (NW-UCLA feeder); bone: mean bone length 1 (people and sensors differ)
    scale: Literal["none", "box", "bone"] = "none"
    resample: Resample = CropResize()
    modality: Modality = "joint"
    root_trajectory: bool = False  # Hyperformer's streams: joints relative to the root, the root absolute


def prepare(sequence: np.ndarray, spec: SkeletonInput, timestamps: np.ndarray | None = None) -> np.ndarray:
    """Joints in metres, float [T, M, V, 3], a missing body all zeros -> float32 [3, T', V, M'] for the network.

    timestamps: seconds [T]; used by fixed-seconds windows, which end at the last frame. Without them such a window is
    the middle of the clip at the spec's own fps.
    """
    arranged = arrange(sequence, spec)
    policy = spec.resample
    if isinstance(policy, FixedSeconds) and timestamps is not None:
        # Leading and trailing empty frames may have been cut, so times are matched to what is left.
        start, stop = _span(np.asarray(sequence))
        positions = policy.positions_at(check_times(timestamps, len(sequence))[start:stop])
    else:
        positions = policy.positions(len(arranged))
    frames = take(box(arranged, spec), *neighbours(positions, len(arranged)))
    stream = to_modality(frames, spec.layout, spec.modality, spec.root_trajectory)
    return np.ascontiguousarray(stream.transpose(3, 0, 2, 1), dtype=np.float32)


def arrange(sequence: np.ndarray, spec: SkeletonInput) -> np.ndarray:
    """Check, centre, align, scale by bone, fill the body slots: [T, M, V, 3] -> float32 [T', M', V, 3].

    Deterministic, so training does it once per clip. Frames before the first and after the last one with anybody in
    it are cut.
    """
    clip = check_sequence(sequence, spec.layout)
    start, stop = _span(clip)
    clip = clip[start:stop, : spec.persons]
    present = (clip != 0).any(axis=(2, 3))  # [T, M]
    if not present[:, 0].any():
        raise BadInput("body 1 is empty in the whole clip; put the person who is there first")
    if spec.centre != "none":
        clip = np.where(present[:, :, None, None], clip - _origin(clip, present[:, 0], spec), 0)
    if spec.align == "upright":
        clip = clip @ _upright(clip[present[:, 0].argmax(), 0], spec.layout).T
    if spec.scale == "bone":
        clip = clip / _mean_bone(clip[present[:, 0], 0], spec.layout)
    return _fill_slots(clip, present, spec).astype(np.float32)


def box(clip: Any, spec: SkeletonInput) -> Any:
    """[..., T, M, V, 3] -> each axis to [-1, 1] over the whole clip where the spec says so. numpy or torch.

    In training it follows the rotation, so it is apart from `arrange`. Clips of a batch must be padded with frames of
    their own, which change no minimum.
    """
    if spec.scale != "box":
        return clip
    xp = namespace(clip)
    low, high = xp.amin(clip, (-4, -3, -2)), xp.amax(clip, (-4, -3, -2))
    low, high = low[..., None, None, None, :], high[..., None, None, None, :]
    return (clip - low) / xp.maximum(high - low, 0 * high + 1e-6) * 2 - 1


def check_sequence(sequence: np.ndarray, layout: Layout) -> np.ndarray:
    """float64 [T, M, V, 3], finite, somebody in it; or a line that says what is wrong."""
    try:
        clip = np.asarray(sequence)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors elsewhere or with gradients
        raise BadInput(f"a skeleton must be an array [T, M, {layout.num_joints}, 3]: {error}") from error
    if clip.ndim != 4 or clip.shape[2:] != (layout.num_joints, 3) or 0 in clip.shape:
        raise BadInput(f"a skeleton must be [T, M, {layout.num_joints}, 3] ({layout.name}), got {list(clip.shape)}")
    if clip.dtype.kind not in "fiu":
        raise BadInput(f"a skeleton must hold numbers, got {clip.dtype}")
    if len(clip) > _LONGEST:
        raise BadInput(f"a skeleton of {len(clip)} frames is longer than {_LONGEST}; cut it into clips")
    clip = clip.astype(np.float64)
    if not np.isfinite(clip).all():
        frame = int(np.argwhere(~np.isfinite(clip))[0][0])
        raise BadInput(f"frame {frame} of the skeleton holds NaN or infinity; give a missing body zeros")
    if not clip.any():
        raise BadInput("the skeleton is empty: all joints of all frames are zero")
    return clip


def _span(clip: np.ndarray) -> tuple[int, int]:
    seen = np.flatnonzero((clip != 0).any(axis=(1, 2, 3)))
    return int(seen[0]), int(seen[-1]) + 1


def _origin(clip: np.ndarray, first_present: np.ndarray, spec: SkeletonInput) -> np.ndarray:
    """[1 or T, 1, 1, 3]: what is subtracted. Where body 1 is missing, each-frame keeps its last known centre."""
    centre = clip[:, 0, list(spec.layout.centre)].mean(axis=1)
    seen = np.flatnonzero(first_present)
    if spec.centre == "first-frame":
        return centre[seen[:1], None, None]
    last = seen[np.maximum(np.searchsorted(seen, np.arange(len(clip)), side="right") - 1, 0)]
    return centre[last, None, None]


def _upright(body: np.ndarray, layout: Layout) -> np.ndarray:
    """[3, 3]: spine to +z, then left-to-right shoulder to +x (pyskl names the axes by joint index: 0-1 and 8-4)."""
    low, high = (body[layout.index(name)] for name in ("spine_base", "spine_mid"))
    first = rotation_onto(high - low, np.array([0.0, 0.0, 1.0]))
    across = first @ (body[layout.index("right_shoulder")] - body[layout.index("left_shoulder")])
    return rotation_onto(across, np.array([1.0, 0.0, 0.0])) @ first


def _mean_bone(body: np.ndarray, layout: Layout) -> float:
    """Metres: mean length of all bones over all frames [T, V, 3] of body 1."""
    child, parent = zip(*layout.bones, strict=True)
    length = float(np.linalg.norm(body[:, list(child)] - body[:, list(parent)], axis=-1).mean())
    if length < 1e-9:
        raise BadInput("all joints of body 1 lie in one point, so its size is unknown")
    return length


def _fill_slots(clip: np.ndarray, present: np.ndarray, spec: SkeletonInput) -> np.ndarray:
    filled = np.zeros((len(clip), spec.persons, *clip.shape[2:]))
    filled[:, : clip.shape[1]] = clip
    if spec.second_body == "copy" and not present[:, 1:].any():
        filled[:, 1:] = filled[:, :1]
    return filled
