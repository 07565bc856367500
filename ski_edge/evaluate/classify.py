"""Logits of a skeleton classifier for whole clips, in eval mode, as the device computes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from ski_edge.evaluate.windows import over_windows
from ski_edge.skeleton import prepare

_BATCH = 64


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients for a while; every module gets back the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def classify(model: nn.Module, clips: Sequence[np.ndarray], device: torch.device | str = "cpu") -> np.ndarray:
    """Clips in metres, [T, M, V, 3] each, in the model's layout -> logits float32 [N, K].

    A network for fixed seconds sees several windows of a longer clip; their logits are averaged.
    """
    spec = model.config.skeleton
    return over_windows(lambda parts: run(model, np.stack([prepare(p, spec) for p in parts]), device), clips, spec)


def run(model: nn.Module, inputs: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """Network inputs float32 [N, 3, T, V, M] -> logits float32 [N, K], in batches."""
    with evaluating(model):
        parts = [
            model(torch.from_numpy(inputs[i : i + _BATCH]).to(device)).float().cpu().numpy()
            for i in range(0, len(inputs), _BATCH)
        ]
    return np.concatenate(parts)
