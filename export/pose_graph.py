"""A skeleton network, restated for tracing: norms folded, an empty second body left out.

The trunk sees bodies as samples of their own, and an all-zero body always gives the same feature (for one T). So, for
checkpoints trained with zeros in slot 2, that feature is stored for the manifest's T, and a batch in which everybody
is alone costs half: the graph takes `persons`, and adds the stored feature for every slot it leaves out. At other T it
ignores `persons` and computes all slots.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ski_edge.export.fold import affine, folded
from ski_edge.models.pose import PoseNetwork


class PoseGraph(nn.Module):
    """bodies [N, 3, T, V, B], B of the M slots -> logits [N, K], embedding [N, D]."""

    def __init__(self, model: PoseNetwork) -> None:
        super().__init__()
        twin = folded(model)
        spec = model.config.skeleton
        joints = spec.layout.num_joints
        scale, shift = affine(twin.input_norm)  # per (slot, joint, coordinate), or shared by the slots (ST-GCN)
        slots = scale.numel() // (joints * 3)
        for name, tensor in (("scale", scale), ("shift", shift)):
            table = tensor.detach().view(slots, joints, 3).permute(0, 2, 1)[:, :, None]  # [slots, 3, 1, V]
            self.register_buffer(name, table.expand(spec.persons, -1, -1, -1).contiguous())
        self.trunk, self.head, self.persons = twin.trunk, twin.head, spec.persons
        self.register_buffer("empty", None)
        if leaves_out_empty(model):
            with torch.no_grad():
                silence = torch.zeros(1, 3, spec.resample.frames, joints, 1)
                per_slot = [self._bodies(silence, slot)[0] for slot in range(spec.persons)]
            # [M]: feature of the empty slots B..M-1, summed
            nothing = torch.zeros_like(per_slot[0])
            self.empty = torch.stack([sum(per_slot[b:], nothing) for b in range(1, spec.persons + 1)])
        self.eval()

    def forward(self, bodies: Tensor) -> tuple[Tensor, Tensor]:
        count = bodies.shape[4]
        total = self._bodies(bodies, 0)
        if self.empty is not None:
            total = total + self.empty[count - 1]
        embedding = total / self.persons
        return self.head(embedding), embedding

    def _bodies(self, bodies: Tensor, first: int) -> Tensor:
        """[N, 3, T, V, B] in slots first.. -> features summed over B: [N, D]."""
        count = bodies.shape[4]
        x = bodies.permute(0, 4, 1, 2, 3)
        x = x * self.scale[first : first + count] + self.shift[first : first + count]
        return self.trunk(x.flatten(0, 1)).mean(dim=(2, 3)).unflatten(0, (-1, count)).sum(dim=1)


def leaves_out_empty(model: PoseNetwork) -> bool:
    """Whether the graph takes `persons`: more than one slot, and empty slots hold zeros."""
    spec = model.config.skeleton
    return spec.persons > 1 and spec.second_body == "zeros" and spec.scale != "box"  # a box moves zeros, too


def add_persons_input(path: Path, frames: int, persons: int) -> None:
    """Put the choice of slots in front of an exported graph: inputs skeleton [N, 3, T, V, M] and persons int64 []."""
    model = onnx.load(path)
    graph = model.graph
    old = graph.input[0]
    for node in graph.node:
        node.input[:] = ["bodies" if name == old.name else name for name in node.input]
    shape = [d.dim_param or d.dim_value for d in old.type.tensor_type.shape.dim]
    skeleton = helper.make_tensor_value_info("skeleton", TensorProto.FLOAT, [*shape[:4], persons])
    chosen = helper.make_tensor_value_info("persons", TensorProto.INT64, [])
    constants = {"stored_frames": frames, "all_slots": persons, "one_slot": 1}
    lists = {"from_zero": [0], "slot_axis": [4], "as_list": [1]}
    for name, value in {**constants, **lists}.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    nodes = [
        helper.make_node("Shape", ["skeleton"], ["frames_list"], start=2, end=3),
        helper.make_node("Squeeze", ["frames_list"], ["frames"]),
        helper.make_node("Equal", ["frames", "stored_frames"], ["is_stored"]),
        helper.make_node("Max", ["persons", "one_slot"], ["at_least_one"]),
        helper.make_node("Where", ["is_stored", "at_least_one", "all_slots"], ["slots"]),
        helper.make_node("Reshape", ["slots", "as_list"], ["slots_list"]),
        helper.make_node("Slice", ["skeleton", "from_zero", "slots_list", "slot_axis"], ["bodies"]),
    ]
    rest = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *rest])
    graph.input.extend([skeleton, chosen])
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
