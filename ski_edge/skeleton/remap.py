"""From one layout to another: every target joint is a fixed affine combination of source joints.

So a remapping is one matrix [V_target, V_source] whose rows sum to 1: it commutes with translation, rotation and
interpolation in time, and costs one small product per frame. The proportions come from Kinect v2 recordings
(spine middle at 0.574 of the way from the base to the shoulders, neck at 0.34 from there to the head).
"""

from __future__ import annotations

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import LAYOUTS, Layout

_Rule = dict[str, float]  # source joint -> weight
_LIMBS = tuple(
    f"{side}_{part}"
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")
)


def _between(a: _Rule, b: _Rule, share: float) -> _Rule:
    """a + share * (b - a); share may lie outside 0..1."""
    rule: _Rule = {}
    for part, weight in ((a, 1 - share), (b, share)):
        for joint, value in part.items():
            rule[joint] = rule.get(joint, 0) + weight * value
    return rule


def _mean(*joints: str) -> _Rule:
    return {joint: 1 / len(joints) for joint in joints}


def _hand(side: str) -> dict[str, _Rule]:
    """Kinect v1 has no finger joints: the tip lies beyond the hand, seen from the wrist, the thumb in it."""
    wrist, hand = {f"{side}_wrist": 1.0}, {f"{side}_hand": 1.0}
    return {f"{side}_hand_tip": _between(hand, wrist, -0.65), f"{side}_thumb": hand}


def _kinect_to_ntu() -> dict[str, _Rule]:
    """MMCL Fig. 4: 20 to 25 joints by interpolation; the figure gives no numbers, these are Kinect v2's proportions."""
    shoulders, head = {"shoulder_centre": 1.0}, {"head": 1.0}
    return {
        **{joint: {joint: 1.0} for joint in _LIMBS},
        "spine_base": {"hip_centre": 1.0},
        "spine_mid": {"spine": 1.0},
        "spine_shoulder": shoulders,
        "neck": _between(shoulders, head, 0.34),
        "head": head,
        **_hand("left"),
        **_hand("right"),
    }


def _ntu_to_kinect() -> dict[str, _Rule]:
    names = {"hip_centre": "spine_base", "spine": "spine_mid", "shoulder_centre": "spine_shoulder", "head": "head"}
    return {**{joint: {joint: 1.0} for joint in _LIMBS}, **{target: {source: 1.0} for target, source in names.items()}}


def _trunk(hips: _Rule, shoulders: _Rule, head: _Rule) -> dict[str, _Rule]:
    """NTU's trunk from the middle of the hips, the middle of the shoulders and the head."""
    top = _between(hips, shoulders, 1.06)  # Kinect's shoulder centre sits about 3 cm above the line
    return {
        "spine_base": hips,
        "spine_shoulder": top,
        "spine_mid": _between(hips, top, 0.574),
        "neck": _between(top, head, 0.34),
        "head": head,
    }


def _mediapipe_to_ntu() -> dict[str, _Rule]:
    hips = _mean("left_hip", "right_hip")
    rules = _trunk(hips, _mean("left_shoulder", "right_shoulder"), _mean("left_ear", "right_ear"))
    for side in ("left", "right"):
        wrist = {f"{side}_wrist": 1.0}
        rules |= {f"{side}_{part}": {f"{side}_{part}": 1.0} for part in ("shoulder", "elbow", "wrist", "knee", "ankle")}
        rules |= {
            f"{side}_hand": _between(wrist, _mean(f"{side}_index", f"{side}_pinky"), 0.6),
            f"{side}_hand_tip": {f"{side}_index": 1.0},
            f"{side}_thumb": {f"{side}_thumb": 1.0},
            f"{side}_hip": _between(hips, {f"{side}_hip": 1.0}, 0.6),  # Kinect's hips are narrow
            f"{side}_foot": {f"{side}_foot_index": 1.0},
        }
    return rules


def _limbs_without_hands(side: str) -> dict[str, _Rule]:
    """For layouts that end at wrist and ankle: hand and tips go on along the forearm, the foot along the shin."""
    elbow, wrist = {f"{side}_elbow": 1.0}, {f"{side}_wrist": 1.0}
    knee, ankle = {f"{side}_knee": 1.0}, {f"{side}_ankle": 1.0}
    return {
        **{f"{side}_{part}": {f"{side}_{part}": 1.0} for part in ("shoulder", "elbow", "wrist", "knee", "ankle")},
        f"{side}_hand": _between(wrist, elbow, -0.25),
        f"{side}_hand_tip": _between(wrist, elbow, -0.4),
        f"{side}_thumb": _between(wrist, elbow, -0.25),
        f"{side}_foot": _between(ankle, knee, -0.15),
    }


def _coco_to_ntu() -> dict[str, _Rule]:
    hips = _mean("left_hip", "right_hip")
    rules = _trunk(hips, _mean("left_shoulder", "right_shoulder"), _mean("left_ear", "right_ear"))
    for side in ("left", "right"):
        rules |= {**_limbs_without_hands(side), f"{side}_hip": _between(hips, {f"{side}_hip": 1.0}, 0.6)}
    return rules


def _h36m_to_ntu() -> dict[str, _Rule]:
    rules = {
        "spine_base": {"pelvis": 1.0},
        "spine_mid": {"spine": 1.0},
        "spine_shoulder": {"thorax": 1.0},
        "neck": {"neck": 1.0},
        "head": {"head": 1.0},
    }
    for side in ("left", "right"):
        rules |= {**_limbs_without_hands(side), f"{side}_hip": {f"{side}_hip": 1.0}}
    return rules


def _same_names(source: Layout, target: Layout) -> dict[str, _Rule]:
    return {joint: {joint: 1.0} for joint in target.joints if joint in source.joints}


def _mediapipe_to_h36m() -> dict[str, _Rule]:
    hips, shoulders = _mean("left_hip", "right_hip"), _mean("left_shoulder", "right_shoulder")
    return {
        **_same_names(LAYOUTS["mediapipe33"], LAYOUTS["h36m17"]),
        "pelvis": hips,
        "spine": _between(hips, shoulders, 0.5),
        "thorax": shoulders,
        "neck": {"nose": 1.0},
        "head": _mean("left_ear", "right_ear"),
    }


_RULES: dict[tuple[str, str], dict[str, _Rule]] = {
    ("kinect20", "ntu25"): _kinect_to_ntu(),
    ("utd20", "ntu25"): _kinect_to_ntu(),
    ("ntu25", "kinect20"): _ntu_to_kinect(),
    ("ntu25", "utd20"): _ntu_to_kinect(),
    ("kinect20", "utd20"): _same_names(LAYOUTS["kinect20"], LAYOUTS["utd20"]),
    ("utd20", "kinect20"): _same_names(LAYOUTS["utd20"], LAYOUTS["kinect20"]),
    ("mediapipe33", "ntu25"): _mediapipe_to_ntu(),
    ("mediapipe33", "coco17"): _same_names(LAYOUTS["mediapipe33"], LAYOUTS["coco17"]),
    ("mediapipe33", "h36m17"): _mediapipe_to_h36m(),
    ("coco17", "ntu25"): _coco_to_ntu(),
    ("h36m17", "ntu25"): _h36m_to_ntu(),
}


def remap_matrix(source: Layout, target: Layout) -> np.ndarray:
    """float64 [V_target, V_source], rows sum to 1. Kinect layouts are reached through ntu25 where needed."""
    if source == target:
        return np.eye(source.num_joints)
    direct = _RULES.get((source.name, target.name))
    if direct is not None:
        return _matrix(direct, source, target)
    if (source.name, "ntu25") in _RULES and ("ntu25", target.name) in _RULES:
        middle = LAYOUTS["ntu25"]
        return remap_matrix(middle, target) @ remap_matrix(source, middle)
    known = ", ".join(f"{a} to {b}" for a, b in _RULES)
    raise BadInput(f"no rule maps {source.name} to {target.name}; there are: {known}, and what follows through ntu25")


def _matrix(rules: dict[str, _Rule], source: Layout, target: Layout) -> np.ndarray:
    matrix = np.zeros((target.num_joints, source.num_joints))
    for joint, rule in rules.items():
        for name, weight in rule.items():
            matrix[target.index(joint), source.index(name)] = weight
    return matrix


def remap(joints: np.ndarray, source: Layout, target: Layout) -> np.ndarray:
    """[..., V_source, C] -> [..., V_target, C], same dtype. An all-zero (missing) body stays all zero."""
    if joints.shape[-2] != source.num_joints:
        raise BadInput(f"{source.name} has {source.num_joints} joints, got an array of {list(joints.shape)}")
    return (remap_matrix(source, target).astype(joints.dtype) @ joints).astype(joints.dtype)


def from_mediapipe_world(landmarks: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """MediaPipe world landmarks [..., 33, 3] -> our axes (x right, y up, z away; metres), as NTU has them.

    Kinect's streams are mirrored: a person who faces the camera has the left shoulder at smaller x. A camera frame as
    it is therefore turns by pi about z. mirrored: the picture was flipped before the estimator saw it (selfie view,
    NTU's own RGB), so the estimator's left is the person's right: names change sides, x stays.
    """
    if not mirrored:
        return landmarks * np.array([-1, -1, 1], landmarks.dtype)
    return swap_sides(landmarks, LAYOUTS["mediapipe33"]) * np.array([1, -1, 1], landmarks.dtype)


def swap_sides(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """[..., V, C] with left and right joints exchanged; coordinates stay."""
    order = np.arange(layout.num_joints)
    for left, right in layout.pairs:
        order[left], order[right] = right, left
    return joints[..., order, :]
