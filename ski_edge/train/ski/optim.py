"""AdamW groups, the learning rate of a step, and means of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.train.fabric import scattered
from ski_edge.train.ski.recipe import Optim


def parameter_groups(model: nn.Module, optim: Optim) -> list[dict[str, object]]:
    """Groups by (factor of lr, weight decay). A factor of 0 freezes; the longest prefix that fits counts.

    Vectors and single numbers (norms, biases, temperature) do not decay unless `decay_vectors`.
    """
    factors = sorted(optim.lr_factors.items(), key=lambda item: -len(item[0]))
    used: set[str] = set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        fitting = [(prefix, factor) for prefix, factor in factors if name.startswith(prefix)]
        used.update(prefix for prefix, _ in fitting)
        factor = fitting[0][1] if fitting else 1.0
        if factor == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        decay = optim.weight_decay if parameter.ndim > 1 or optim.decay_vectors else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    if unused := sorted(set(optim.lr_factors) - used):
        raise BadInput(f"optim.lr_factors: no parameter begins with {unused[0]!r}")
    if not groups:
        raise BadInput("nothing is left to train: every parameter is frozen")
    return [{"params": params, "factor": f, "weight_decay": d} for (f, d), params in sorted(groups.items())]


def lr_at(optim: Optim, step: int, steps_per_epoch: int) -> float:
    """Learning rate of an optimiser step, counted from 0: linear warm-up, else a cosine over the whole run (timm's)."""
    total, warmup = optim.epochs * steps_per_epoch, optim.warmup_epochs * steps_per_epoch
    if step < warmup:
        return optim.lr * (optim.warmup_start + (1 - optim.warmup_start) * step / warmup)
    low = optim.lr_min * optim.lr
    return low + (optim.lr - low) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


class Average:
    """A running mean of weights: of epochs (each counts alike) or exponential over steps.

    BatchNorm's statistics are averaged as weights are; whole numbers (its counters) are copied.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        """decay: of the exponential mean; None: the plain mean of what is added."""
        self.decay, self.count = decay, 0
        self.tensors = {name: torch.zeros_like(t) for name, t in _weights(model)}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        self.count += 1
        share = 1 / self.count
        if self.decay is not None and self.count > 1:
            share = 1 - self.decay
        for name, tensor in _weights(model):
            mean = self.tensors[name]
            if tensor.is_floating_point():
                mean.lerp_(tensor.to(mean), share)
            else:
                mean.copy_(tensor)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Put the mean into a model."""
        if self.count:
            for name, tensor in _weights(model):
                tensor.copy_(self.tensors[name])

    def state_dict(self) -> dict[str, object]:
        return {"count": self.count, "tensors": self.tensors}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.count = state["count"]
        for name, tensor in state["tensors"].items():
            self.tensors[name].copy_(scattered(tensor, self.tensors[name]))


def _weights(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return model.state_dict().items()
