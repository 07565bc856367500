"""Lightning Fabric as the training loops use it: one process, or those that torchrun started on one node or several.

Sharding is FSDP2's (torch.distributed.fsdp.fully_shard): weights, gradients and AdamW's moments are divided among the
processes, and gathered for each block (`shardable` of the network) and for all that is outside of blocks when needed.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ski_edge.errors import BadInput, require

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# While the first process draws clips, measures or waits for another run's stage, the others wait in a collective
_PATIENCE = timedelta(days=2)


def open_fabric(precision: str, shard: bool = False) -> Any:
    """A launched Fabric for precision fp32, bf16 or fp16; ranks and sizes come from torchrun's variables."""
    lightning = require("lightning", "train", "training")
    from lightning.fabric.strategies import DDPStrategy, ModelParallelStrategy

    if precision == "fp16" and not torch.cuda.is_available():
        raise BadInput("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    if shard and world == 1:
        raise BadInput("optim.shard divides a network among processes; start several: torchrun --nproc-per-node N ...")
    strategy: Any = "auto"
    if shard:
        strategy = ModelParallelStrategy(_shard, data_parallel_size=world, tensor_parallel_size=1, timeout=_PATIENCE)
    elif world > 1:
        strategy = DDPStrategy(timeout=_PATIENCE)
    layout = {"devices": local, "num_nodes": world // local, "strategy": strategy}
    fabric = lightning.Fabric(accelerator="auto", precision=_PRECISION[precision], **layout)
    fabric.launch()
    return fabric


def part() -> None:
    """Processes that ran together end together: one that goes early takes its ends of open connections away."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    """fully_shard takes no single numbers (temperatures); they stay whole, `share_loose` averages their gradients."""
    module.to(mesh.device_type)
    for block in module.shardable():
        fully_shard(block, mesh=mesh["data_parallel"])
    return fully_shard(module, mesh=mesh["data_parallel"], ignored_params=set(_loose(module)))


def share_loose(module: nn.Module, processes: int) -> None:
    """Average the gradients of parameters that are not sharded, as DDP does with all."""
    for parameter in _loose(module):
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= processes


def clip_sharded(module: nn.Module, max_norm: float) -> None:
    """torch's clip_grad_norm_ for a network with sharded and whole parameters; one norm over all."""
    parameters = [p for p in module.parameters() if p.grad is not None]
    parts = [[p for p in parameters if isinstance(p, DTensor) is sharded] for sharded in (True, False)]
    norms = [gathered(get_total_norm([p.grad for p in part])).float().cpu() for part in parts if part]
    norm = torch.stack(norms).norm()
    for part in parts:
        clip_grads_with_norm_(part, max_norm, norm.to(parameters[0].grad.device))


def gathered(value: Any) -> Any:
    """Sharded tensors made whole, on the CPU, all through dicts and lists. All processes must call it together."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {key: gathered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [gathered(item) for item in value]
    return value


def scattered(whole: Tensor, like: Tensor) -> Tensor:
    """The inverse for one tensor: sharded as `like` is, if that is sharded and of the same shape."""
    if isinstance(like, DTensor) and whole.shape == like.shape:
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
    return whole


def scattered_optimiser(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's gathered state, sharded as its parameters are."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    moments = {
        index: {name: scattered(tensor, parameters[index]) for name, tensor in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": moments}


def _loose(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.ndim == 0]
