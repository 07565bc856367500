"""Joint layouts: which joints a skeleton has, what hangs on what, what mirrors what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.files import parse_yaml, read_text

MAX_JOINTS = 256


class Layout(Contract):
    """A skeleton's joints. Indices are 0-based everywhere in this package."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$")
    joints: tuple[str, ...] = Field(min_length=2, max_length=MAX_JOINTS)
    bones: tuple[tuple[int, int], ...]  # (child, parent); a tree: every joint but one is a child once
    centre: tuple[int, ...] = Field(min_length=1)  # a clip is centred on the mean of these
    pairs: tuple[tuple[int, int], ...] = ()  # (left, right), anatomical
    hyperedges: tuple[int, ...] = ()  # group of each joint (Hyperformer); empty: one group per limb, see graphs
    hop_bones: tuple[tuple[int, int], ...] = ()  # where Hyperformer's distances use other bones; empty: `bones`

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint that is nobody's child."""
        return (set(range(self.num_joints)) - {child for child, _ in self.bones}).pop()

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of each joint; the root is its own, so that its bone is zero."""
        table = dict(self.bones)
        return tuple(table.get(joint, joint) for joint in range(self.num_joints))

    def index(self, joint: str) -> int:
        """Index of a joint by name."""
        if joint not in self.joints:
            raise BadInput(f"layout {self.name} has no joint {joint!r}; it has: {', '.join(self.joints)}")
        return self.joints.index(joint)

    @model_validator(mode="after")
    def _is_a_skeleton(self) -> Layout:
        count = len(self.joints)
        if len(set(self.joints)) != count:
            raise ValueError("every joint needs its own name")
        for field in ("bones", "pairs", "hop_bones"):
            for pair in getattr(self, field):
                if not all(0 <= joint < count for joint in pair) or pair[0] == pair[1]:
                    raise ValueError(f"{field}: {pair} must be two different joints of 0..{count - 1}")
        if not all(0 <= joint < count for joint in self.centre):
            raise ValueError(f"centre: {self.centre} must be joints of 0..{count - 1}")
        children = [child for child, _ in self.bones]
        if len(set(children)) != len(children) or len(children) != count - 1:
            raise ValueError(f"bones must make a tree: {count - 1} (child, parent) pairs, each child once")
        parent = dict(self.bones)
        for joint in children:
            seen = {joint}
            while joint in parent:
                joint = parent[joint]
                if joint in seen:
                    raise ValueError(f"bones make a circle at {self.joints[joint]!r}; they must make a tree")
                seen.add(joint)
        flat = [joint for pair in self.pairs for joint in pair]
        if len(set(flat)) != len(flat):
            raise ValueError("pairs: a joint may be in one (left, right) pair only")
        if self.hyperedges and (len(self.hyperedges) != count or not _is_range(self.hyperedges)):
            raise ValueError(f"hyperedges must give each of {count} joints a group, groups counted 0, 1, 2, ...")
        return self


def _is_range(groups: tuple[int, ...]) -> bool:
    return set(groups) == set(range(max(groups) + 1))


def _one_based(*pairs: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """The literature counts joints from 1."""
    return tuple((a - 1, b - 1) for a, b in pairs)


def _sided(names: str) -> tuple[str, ...]:
    return tuple(names.replace("L ", "left_").replace("R ", "right_").replace(", ", ",").replace(" ", "_").split(","))


_TRUNK_AND_LIMBS = (
    *((6, 5), (7, 6), (8, 7), (10, 9), (11, 10), (12, 11)),
    *((13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19)),
)
_NTU_BONES = ((1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (9, 21), *_TRUNK_AND_LIMBS)
_LIMB_PAIRS = ((5, 9), (6, 10), (7, 11), (8, 12), (13, 17), (14, 18), (15, 19), (16, 20))
_KINECT_JOINTS = (
    "hip centre, spine, shoulder centre, head, L shoulder, L elbow, L wrist, L hand, R shoulder, R elbow, R wrist, "
    "R hand, L hip, L knee, L ankle, L foot, R hip, R knee, R ankle, R foot"
)

# Kinect v2; bones as in CTR-GCN (the hand tip hangs on the thumb), Hyperformer's distances hang both on the hand
NTU25 = Layout(
    name="ntu25",
    joints=_sided(
        "spine base, spine mid, neck, head, L shoulder, L elbow, L wrist, L hand, R shoulder, R elbow, R wrist, "
        "R hand, L hip, L knee, L ankle, L foot, R hip, R knee, R ankle, R foot, spine shoulder, L hand tip, L thumb, "
        "R hand tip, R thumb"
    ),
    bones=_one_based(*_NTU_BONES, (22, 23), (23, 8), (24, 25), (25, 12)),
    centre=(1,),
    pairs=_one_based(*_LIMB_PAIRS, (22, 24), (23, 25)),
    hyperedges=(0, 4, 2, 2, 2, 2, 1, 1, 2, 2, 1, 1, 2, 3, 3, 3, 2, 3, 3, 3, 1, 0, 1, 0, 1),
    hop_bones=_one_based(*_NTU_BONES, (22, 8), (23, 8), (24, 12), (25, 12)),
)
# Kinect v1 in the order of its SDK: NW-UCLA, SYSU
KINECT20 = Layout(
    name="kinect20",
    joints=_sided(_KINECT_JOINTS),
    bones=_one_based((1, 2), (2, 3), (4, 3), (5, 3), (9, 3), *_TRUNK_AND_LIMBS),
    centre=(1,),
    pairs=_one_based(*_LIMB_PAIRS),
    hyperedges=(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2),
)
# Kinect v1 in the order of UTD-MHAD's files: the trunk runs from the head down
UTD20 = Layout(
    name="utd20",
    joints=_sided("head, shoulder centre, spine, hip centre, " + _KINECT_JOINTS.split("head, ")[1]),
    bones=_one_based((4, 3), (3, 2), (1, 2), (5, 2), (9, 2))
    + tuple(
        (3 if child == 0 else child, 3 if parent == 0 else parent) for child, parent in _one_based(*_TRUNK_AND_LIMBS)
    ),
    centre=(2,),
    pairs=_one_based(*_LIMB_PAIRS),
    hyperedges=(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2),
)
_FACE = "nose, L eye, R eye, L ear, R ear, "
COCO17 = Layout(
    name="coco17",
    joints=_sided(
        _FACE
        + "L shoulder, R shoulder, L elbow, R elbow, L wrist, R wrist, L hip, R hip, L knee, R knee, L ankle, R ankle"
    ),
    bones=(
        *((1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8)),
        *((11, 5), (12, 6), (13, 11), (14, 12), (15, 13), (16, 14)),
    ),
    centre=(11, 12),
    pairs=tuple((left, left + 1) for left in range(1, 17, 2)),
)
MEDIAPIPE33 = Layout(
    name="mediapipe33",
    joints=_sided(
        "nose, L eye inner, L eye, L eye outer, R eye inner, R eye, R eye outer, L ear, R ear, L mouth, R mouth, "
        "L shoulder, R shoulder, L elbow, R elbow, L wrist, R wrist, L pinky, R pinky, L index, R index, L thumb, "
        "R thumb, L hip, R hip, L knee, R knee, L ankle, R ankle, L heel, R heel, L foot index, R foot index"
    ),
    bones=(
        *((1, 0), (2, 1), (3, 2), (7, 3), (4, 0), (5, 4), (6, 5), (8, 6), (9, 0), (10, 0), (11, 0), (12, 0)),
        *((13, 11), (15, 13), (17, 15), (19, 15), (21, 15), (14, 12), (16, 14), (18, 16), (20, 16), (22, 16)),
        *((23, 11), (25, 23), (27, 25), (29, 27), (31, 27), (24, 12), (26, 24), (28, 26), (30, 28), (32, 28)),
    ),
    centre=(23, 24),
    pairs=((1, 4), (2, 5), (3, 6), *((left, left + 1) for left in range(7, 33, 2))),
)
H36M17 = Layout(
    name="h36m17",
    joints=_sided(
        "pelvis, R hip, R knee, R ankle, L hip, L knee, L ankle, spine, thorax, neck, head, L shoulder, L elbow, "
        "L wrist, R shoulder, R elbow, R wrist"
    ),
    bones=(
        *((0, 7), (1, 0), (2, 1), (3, 2), (4, 0), (5, 4), (6, 5), (7, 8), (9, 8), (10, 9)),
        *((11, 8), (12, 11), (13, 12), (14, 8), (15, 14), (16, 15)),
    ),
    centre=(7,),
    pairs=((4, 1), (5, 2), (6, 3), (11, 14), (12, 15), (13, 16)),
)

LAYOUTS = {layout.name: layout for layout in (NTU25, KINECT20, UTD20, COCO17, MEDIAPIPE33, H36M17)}


def get_layout(layout: str | Path | Layout) -> Layout:
    """A layout by name, or from a YAML file of the user's (see `read_layout`)."""
    if isinstance(layout, Layout):
        return layout
    if str(layout) in LAYOUTS:
        return LAYOUTS[str(layout)]
    if str(layout).endswith((".yaml", ".yml")):
        return read_layout(Path(layout))
    raise BadInput(f"layout {str(layout)!r} is not known; the choices are: {', '.join(LAYOUTS)}, or a .yaml file")


def read_layout(path: Path) -> Layout:
    """A user's own layout. Joints are named, everything else refers to the names:

    name: hand5
    joints: [wrist, thumb, index, middle, ring]
    bones: [[thumb, wrist], [index, wrist], [middle, wrist], [ring, wrist]]   # child, parent
    centre: [wrist]
    pairs: []                                                                 # optional: left, right
    """
    raw = parse_yaml(read_text(path, "layout"), f"layout {path}")
    known = {"name", "joints", "bones", "centre", "pairs", "hyperedges"}
    if not isinstance(raw, dict) or not {"name", "joints", "bones", "centre"} <= raw.keys() <= known:
        raise BadInput(f"layout {path} must have the keys name, joints, bones, centre (and may have pairs, hyperedges)")
    joints = raw["joints"]
    if not isinstance(joints, list) or not all(isinstance(joint, str) for joint in joints):
        raise BadInput(f"layout {path}: joints must be a list of names")
    if raw["name"] in LAYOUTS:
        raise BadInput(f"layout {path}: the name {raw['name']!r} is taken by a built-in layout; choose another")

    def resolve(value: object) -> object:
        if isinstance(value, list):
            return tuple(resolve(item) for item in value)
        if not isinstance(value, str) or value not in joints:
            raise BadInput(f"layout {path}: {value!r} is not a joint; joints are: {', '.join(joints)}")
        return joints.index(value)

    fields = {key: resolve(raw[key]) for key in ("bones", "centre", "pairs") if raw.get(key) is not None}
    fields["hyperedges"] = tuple(raw.get("hyperedges") or ())
    try:
        return Layout.model_validate({"name": raw["name"], "joints": tuple(joints), **fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "layout"
        raise BadInput(f"layout {path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def _from_name(value: Any) -> Any:
    if isinstance(value, str):
        if value not in LAYOUTS:
            raise ValueError(f"layout {value!r} is not built in; the choices are: {', '.join(LAYOUTS)}")
        return LAYOUTS[value]
    return value


def _to_name(layout: Layout) -> str | dict[str, Any]:
    return layout.name if LAYOUTS.get(layout.name) == layout else layout.model_dump(mode="json")


# In configs and manifests: the name of a built-in layout, or the whole of a user's.
LayoutField = Annotated[Layout, BeforeValidator(_from_name), PlainSerializer(_to_name)]
