"""The official skeleton networks that can be converted: names, what they were fed, what users should know.

A checkpoint does not say what its network was fed; that follows from its family and the number of joints and classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ski_edge.errors import BadInput
from ski_edge.models import convert_rules as rules
from ski_edge.models.convert_rules import Rule
from ski_edge.skeleton.resample import CropResize, EvenSample, UniformSample, ZeroPad

_NTU120 = 120  # classes; its arrays, as CTR-GCN's scripts make them, repeat the only body in slot 2


@dataclass(frozen=True, slots=True)
class PoseFamily:
    """One kind of checkpoint."""

    model: str
    title: str
    rules: tuple[Rule, ...]
    needs: tuple[str, ...]  # official names without which it is not this family
    licence: str
    preprocessing: Callable[[int, int], dict[str, Any]]  # joints, classes -> fields of SkeletonInput
    first_block: int = 1  # how the original counts
    drops: str | None = None  # pattern of names that only training needs
    clean: tuple[tuple[str, str], ...] = ()  # (pattern, replacement) applied to names before anything else
    fields: tuple[tuple[str, Any], ...] = ()  # of the model's config
    either_temporal: bool = False  # the same names with padding and strides, and without
    graph_is_optional: bool = False  # some versions do not save it; the layout's own stands in
    remarks: tuple[str, ...] = ()  # what users of these weights should know

    @property
    def joint_axis(self) -> tuple[str, int]:
        """(our tensor whose last axis are the joints, its number of axes)."""
        part = {"hyperformer": "bias", "stgcn": "importance"}.get(self.model, "adjacency")
        return f"{self._first_spatial}.{part}", 4 if self.model == "hdgcn" else 3

    @property
    def width_of(self) -> str:
        """Our tensor whose length is the width of the first block."""
        return f"{self._first_spatial}.norm.weight"

    @property
    def _first_spatial(self) -> str:
        return "trunk.blocks.0.spatial" if self.model == "stgcn" else "trunk.0.spatial"

    def target(self, name: str) -> tuple[str, int, Rule] | None:
        """(our name, place in the join, rule), None to drop the tensor; KeyError = not of this family."""
        name = self.cleaned(name)
        if self.drops and re.match(self.drops, name):
            return None
        for rule in self.rules:
            if found := rule.match(name, self.first_block):
                return *found, rule
        raise KeyError(name)

    def cleaned(self, name: str) -> str:
        for pattern, replacement in self.clean:
            name = re.sub(pattern, replacement, name)
        return name

    def fits(self, name: str) -> bool:
        try:
            self.target(name)
        except KeyError:
            return False
        return True

    def missing(self, tensors: dict[str, Tensor]) -> list[str]:
        names = {self.cleaned(name) for name in tensors}
        return [name for name in self.needs if name not in names]


def _ctr_input(joints: int, classes: int) -> dict[str, Any]:
    """CTR-GCN's feeders, which HD-GCN, MMCL and Hyperformer share: NTU with 25 joints, NW-UCLA with 20."""
    if joints == 20:
        return {"centre": "first-frame", "scale": "box", "resample": EvenSample(frames=52)}
    second = "copy" if classes == _NTU120 else "zeros"
    return {"centre": "first-frame", "resample": CropResize(frames=64), "second_body": second}


def _hyperformer_input(joints: int, classes: int) -> dict[str, Any]:
    return {**_ctr_input(joints, classes), "root_trajectory": True}


def _refuse_pixels(joints: int) -> None:
    """COCO and OpenPose joints, in families that also train on them."""
    if joints in (17, 18):
        raise BadInput(f"a network of {joints} joints reads image positions and scores; only those of metres convert")


def _stgcn_input(joints: int, classes: int) -> dict[str, Any]:
    _refuse_pixels(joints)
    return {"centre": "none", "resample": ZeroPad(frames=300), "persons": 2}


def _crossclr_input(joints: int, classes: int) -> dict[str, Any]:
    return {"centre": "each-frame", "resample": CropResize(frames=50, keep=1.0), "persons": 2}


def _pyskl_input(joints: int, classes: int) -> dict[str, Any]:
    _refuse_pixels(joints)
    return {"centre": "first-frame", "align": "upright", "resample": UniformSample(frames=100)}


def _cost_input(joints: int, classes: int) -> dict[str, Any]:
    _refuse_pixels(joints)
    return {"centre": "first-frame", "align": "upright", "resample": ZeroPad(frames=300)}


_UNKNOWN_LICENCE = "unknown: no licence is known for these weights; ask their authors, or set it with --set licence=..."
_TWO_BODIES = "2 bodies assumed, zeros where one person is there: input statistics are shared by all bodies"
_MMCL_TRAINING = r"(inception_v3|FAM_Aligh|mlp)\.|(PosMatrix|NegMatrix)$"

POSE_FAMILIES = {
    "ctrgcn": PoseFamily(
        "ctrgcn",
        "CTR-GCN",
        rules.CTRGCN,
        ("l1.gcn1.convs.0.conv1.weight", "l10.gcn1.PA", "fc.weight"),
        _UNKNOWN_LICENCE,
        _ctr_input,
    ),
    "mmcl": PoseFamily(
        "ctrgcn",
        "MMCL-Action (training checkpoint, reduced to its CTR-GCN backbone)",
        rules.CTRGCN,
        ("l1.gcn1.convs.0.conv1.weight", "l10.gcn1.PA", "fc.weight", "PosMatrix"),
        _UNKNOWN_LICENCE,
        _ctr_input,
        drops=_MMCL_TRAINING,
    ),
    "ctrsgcn": PoseFamily(
        "ctrsgcn",
        "CTRS-GCN (baseline of CTR-GCN)",
        rules.CTRSGCN,
        ("l1.gcn1.conv_d.0.weight", "l1.tcn1.conv.weight", "fc.weight"),
        _UNKNOWN_LICENCE,
        _ctr_input,
    ),
    "hdgcn": PoseFamily(
        "hdgcn",
        "HD-GCN",
        rules.HDGCN,
        ("l1.gcn1.conv_down.0.0.weight", "l2.gcn1.aha.aggregate.weight", "fc.weight"),
        "MIT",
        _ctr_input,
    ),
    "stgcn": PoseFamily(
        "stgcn",
        "ST-GCN (yysijie)",
        rules.STGCN,
        ("A", "st_gcn_networks.0.gcn.conv.weight", "fcn.weight"),
        _UNKNOWN_LICENCE,
        _stgcn_input,
        first_block=0,
        fields=(("variant", "original"),),
        remarks=(_TWO_BODIES,),
    ),
    "crossclr": PoseFamily(
        "stgcn",
        "ST-GCN (CrosSCLR and its relatives, with a linear head)",
        rules.CROSSCLR_STGCN,
        ("A", "st_gcn_networks.0.gcn.conv.weight", "fc.weight"),
        _UNKNOWN_LICENCE,
        _crossclr_input,
        first_block=0,
        clean=((r"^encoder_q\.", ""),),
        fields=(("variant", "original"),),
        remarks=(
            _TWO_BODIES,
            "CrosSCLR centres each body on its own joint 21 and turns its shoulders to the image in every frame; here "
            "both bodies are centred on body 1 and not turned, so published accuracy is not to be expected",
        ),
    ),
    "hyperformer": PoseFamily(
        "hyperformer",
        "Hyperformer",
        rules.HYPERFORMER,
        ("l1.vit1.attn.rpe", "l1.vit1.skip_proj.weight", "fc.weight"),
        "Apache-2.0",
        _hyperformer_input,
    ),
    "pyskl-ctrgcn": PoseFamily(
        "ctrgcn",
        "CTR-GCN (pyskl)",
        rules.PYSKL_CTRGCN,
        ("backbone.net.0.gcn1.convs.0.conv1.weight", "backbone.net.9.gcn1.A", "cls_head.fc_cls.weight"),
        "Apache-2.0",
        _pyskl_input,
        first_block=0,
        drops=r"backbone\.A$",
        fields=(("variant", "pyskl"),),
        remarks=("pyskl averages ten draws of frames and takes motion before it samples; here one draw, motion after",),
    ),
    "costgcn": PoseFamily(
        "stgcn",
        "ST-GCN and CoST-GCN (continual-skeletons)",
        rules.COSTGCN,
        ("layers.layer1.gcn.graph_attn", "layers.layer10.tcn.t_conv.weight", "fc.weight"),
        "Apache-2.0",
        _cost_input,
        # Continual names: a residual block is a pair (residual, body) inside a sequence.
        clean=((r"^(layers\.layer\d+)\.0\.[01]\.", r"\1."),),
        fields=(("variant", "continual"),),
        either_temporal=True,
        graph_is_optional=True,
        remarks=("continual-skeletons repeats a clip up to 300 frames; here zeros follow it",),
    ),
}
