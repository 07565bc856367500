"""Official skeleton networks become ours: tensors renamed and joined, sizes read from them, preprocessing written down.

What the tensors cannot tell is taken from the settings, or assumed and listed in the config's notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.models.checkpoint import load_state, state_of
from ski_edge.models.convert_rules import Rule
from ski_edge.models.hyperformer import UCLA_BONE_HYPEREDGES
from ski_edge.models.hyperformer import WIDTH as HYPERFORMER_WIDTH
from ski_edge.models.pose import BASE_WIDTH
from ski_edge.models.pose_families import PoseFamily
from ski_edge.models.registry import build, entry, parse_config
from ski_edge.models.tensors import RawCheckpoint
from ski_edge.skeleton import Layout, get_layout

if TYPE_CHECKING:
    from ski_edge.models.convert import ConvertSettings

_LAYOUT_OF = {25: "ntu25", 20: "kinect20"}


class _Part(NamedTuple):
    """An official tensor on its way into one of ours."""

    name: str
    tensor: Tensor
    axis: int | None


def convert_pose(
    raw: RawCheckpoint, family: PoseFamily, settings: ConvertSettings, weights: str, where: str
) -> nn.Module:
    """The model of a checkpoint known to be of `family`; weights: its provenance. Raises BadInput in one line."""
    notes = [f"read as {family.title}", *raw.notes]
    parts = _gather(raw.tensors, family, notes, where)
    state = _joined(parts, where)
    fields = _config_fields(state, family, settings, notes, where)
    fields |= {"weights": weights, "licence": settings.licence or family.licence}
    fields["notes"] = (*notes, *family.remarks)
    model = build(parse_config(entry(family.model).config_class, fields, where))
    wanted = state_of(model)
    if family.graph_is_optional:
        state = {"trunk.adjacency": wanted["trunk.adjacency"], **state}
    _check_shapes(state, wanted, parts, f"{family.model} {fields['arch']}", where)
    load_state(model, state, where)
    return model


def rename_tensors(tensors: dict[str, Tensor], family: PoseFamily) -> dict[str, Tensor]:
    """Official tensors under our names, in their own precision; shapes are not compared with any network."""
    return _joined(_gather(tensors, family, [], family.title), family.title)


def _gather(
    tensors: dict[str, Tensor], family: PoseFamily, notes: list[str], where: str
) -> dict[str, dict[int, _Part]]:
    """Our name -> its parts by place. What is saved under two names counts as in torch's loader: the last one stays."""
    parts: dict[str, dict[int, _Part]] = {}
    dropped: dict[str, int] = {}
    for name, tensor in tensors.items():
        try:
            found = family.target(name)
        except KeyError:
            raise BadInput(f"{where}: tensor {name} does not belong to {family.title}; try --from auto") from None
        if found is None:
            group = name.split(".")[0]
            dropped[group] = dropped.get(group, 0) + 1
        elif not name.endswith("num_batches_tracked"):
            target, place, rule = found
            parts.setdefault(target, {})[place] = _Part(name, _changed(name, tensor, rule, where), rule.axis)
    notes += [f"dropped {group}: {count} tensors" for group, count in sorted(dropped.items())]
    return parts


def _changed(name: str, tensor: Tensor, rule: Rule, where: str) -> Tensor:
    try:
        return rule.change(tensor) if rule.change else tensor
    except (RuntimeError, IndexError) as error:
        raise BadInput(
            f"{where}: {name} is {tensor.dtype} {list(tensor.shape)}, not a tensor of {rule.target}"
        ) from error


def _joined(parts: dict[str, dict[int, _Part]], where: str) -> dict[str, Tensor]:
    return {name: _join(name, found, where) for name, found in parts.items()}


def _join(target: str, parts: dict[int, _Part], where: str) -> Tensor:
    """Parts side by side; none may be missing and their shapes must fit."""
    ordered = [parts[place] for place in sorted(parts)]
    names, tensors, axes = zip(*ordered, strict=True)
    if sorted(parts) != list(range(len(parts))):
        raise BadInput(f"{where}: {target} needs more than {', '.join(names[:6])}; the checkpoint is incomplete")
    axis = axes[0]
    if axis is not None and len(tensors) == 1:
        return tensors[0]
    try:
        return torch.stack(tensors) if axis is None else torch.cat(tensors, dim=axis)
    except (RuntimeError, IndexError) as error:
        shapes = ", ".join(f"{part.name} {list(part.tensor.shape)}" for part in ordered[:6])
        raise BadInput(f"{where}: these tensors do not fit together: {shapes}") from error


def _config_fields(
    state: dict[str, Tensor], family: PoseFamily, settings: ConvertSettings, notes: list[str], where: str
) -> dict[str, Any]:
    """Sizes read from the tensors, preprocessing from the family, the rest from the settings or assumed."""
    classes = _shape(state, "head.weight", 2, where)[0]
    joints = _shape(state, *family.joint_axis, where)[-1]
    layout = _layout(joints, settings.layout, where)
    try:
        spec = family.preprocessing(joints, classes)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None
    if "persons" not in spec:
        channels = _shape(state, "input_norm.weight", 1, where)[0]
        if channels % (3 * joints):
            raise BadInput(f"{where}: data_bn has {channels} channels, no multiple of 3 x {joints} joints")
        spec["persons"] = channels // (3 * joints)
    if settings.body2 is not None:
        spec["second_body"] = settings.body2
    elif spec["persons"] > 1 and "second_body" in spec:
        notes.append(f"body 2 assumed: {spec['second_body']}, as in arrays of {classes} classes; else --set body2=...")
    if settings.modality is None:
        notes.append("modality assumed: joint; else --set modality=bone, joint_motion or bone_motion")
    skeleton = {**spec, "layout": layout, "modality": settings.modality or "joint"}
    fields = {"model": family.model, "num_classes": classes, "classes": settings.classes or (), "skeleton": skeleton}
    if family.model == "hyperformer" and layout.name == "kinect20" and skeleton["modality"].startswith("bone"):
        fields["hyperedges"] = UCLA_BONE_HYPEREDGES
    fields |= _temporal(family, settings, notes)
    return fields | dict(family.fields) | _widths(state, family, where) | _centre(family, settings, notes)


def _layout(joints: int, name: str | None, where: str) -> Layout:
    if name is None and joints not in _LAYOUT_OF:
        raise BadInput(f"{where}: a network of {joints} joints; say what they are with --set layout=NAME or FILE.yaml")
    layout = get_layout(name or _LAYOUT_OF[joints])
    if layout.num_joints != joints:
        raise BadInput(f"{where} has {joints} joints, layout {layout.name} has {layout.num_joints}; set another layout")
    return layout


def _widths(state: dict[str, Tensor], family: PoseFamily, where: str) -> dict[str, Any]:
    """The arch of these widths, and ST-GCN's last one where it is unusual."""
    feature = state["head.weight"].shape[1]
    if family.model == "hyperformer":
        table, width = HYPERFORMER_WIDTH, feature
    else:
        table, width = BASE_WIDTH, _shape(state, family.width_of, 1, where)[0]
    arch = next((name for name, known in table.items() if known == width), None)
    if arch is None:
        known = ", ".join(f"{value} ({name})" for name, value in table.items())
        raise BadInput(f"{where}: a {family.title} of width {width}; the widths that are known are: {known}")
    widened = family.model == "stgcn" and feature != 4 * width
    return {"arch": arch, "final_width": feature} if widened else {"arch": arch}


def _centre(family: PoseFamily, settings: ConvertSettings, notes: list[str]) -> dict[str, Any]:
    """HD-GCN's field; nobody else has one."""
    if family.model != "hdgcn":
        if settings.centre is not None:
            raise BadInput(f"--set centre={settings.centre} is for HD-GCN; {family.title} has no hierarchy of joints")
        return {}
    if settings.centre is None:
        notes.append("hierarchy assumed to start from joint 0 (its CoM 1); else --set centre=1 (CoM 2) or 20 (CoM 21)")
    return {"centre": settings.centre or 0}


def _temporal(family: PoseFamily, settings: ConvertSettings, notes: list[str]) -> dict[str, Any]:
    """ST-GCN's field; nobody else has one."""
    if settings.temporal is not None and family.model != "stgcn":
        raise BadInput(f"--set temporal={settings.temporal} is for ST-GCN; {family.title} has no form without padding")
    if settings.temporal is None and family.either_temporal:
        notes.append("time assumed padded and strided; else --set temporal=unpadded (the starred ones: CoST-GCN*)")
    return {} if settings.temporal is None else {"temporal": settings.temporal}


def _shape(state: dict[str, Tensor], name: str, axes: int, where: str) -> torch.Size:
    if name not in state or state[name].ndim != axes or 0 in state[name].shape:
        got = list(state[name].shape) if name in state else "missing"
        raise BadInput(f"{where}: what becomes {name} is {got}, expected {axes} axes; the network's size is unknown")
    return state[name].shape


def _check_shapes(
    state: dict[str, Tensor],
    wanted: dict[str, Tensor],
    parts: dict[str, dict[int, _Part]],
    kind: str,
    where: str,
) -> None:
    """As `load_state` does, but in the official names, which are the ones people know."""
    for name, tensor in state.items():
        if name in wanted and wanted[name].shape != tensor.shape:
            sources = [part.name for part in parts[name].values()]
            listed = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
            raise BadInput(f"{where}: {listed} give {list(tensor.shape)}, {kind} needs {list(wanted[name].shape)}")
