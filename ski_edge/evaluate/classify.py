"""Logits of a skeleton classifier for whole clips, in eval mode, as the device computes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from ski_edge.skeleton import SkeletonInput, prepare
from ski_edge.skeleton.resample import FixedSeconds

_BATCH = 64
_WINDOWS = 5  # of a clip that is longer than a fixed window: from its start to its end


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
    inputs, owner = [], []
    for number, clip in enumerate(clips):
        for window in windows(clip, spec):
            inputs.append(prepare(window, spec))
            owner.append(number)
    logits = run(model, np.stack(inputs), device)
    total, count = np.zeros((len(clips), logits.shape[1]), np.float64), np.bincount(owner, minlength=len(clips))
    np.add.at(total, np.array(owner), logits)
    return (total / count[:, None]).astype(np.float32)


def windows(clip: np.ndarray, spec: SkeletonInput) -> list[np.ndarray]:
    """The clip itself, or for fixed-seconds networks up to five windows from its start to its end."""
    policy = spec.resample
    if not isinstance(policy, FixedSeconds):
        return [clip]
    span = round(policy.seconds * policy.fps)
    spare = len(clip) - span
    if spare <= 0:
        return [clip]
    starts = np.unique(np.linspace(0, spare, _WINDOWS).round().astype(int))
    return [clip[start : start + span] for start in starts]


def run(model: nn.Module, inputs: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """Network inputs float32 [N, 3, T, V, M] -> logits float32 [N, K], in batches."""
    with evaluating(model):
        parts = [
            model(torch.from_numpy(inputs[i : i + _BATCH]).to(device)).float().cpu().numpy()
            for i in range(0, len(inputs), _BATCH)
        ]
    return np.concatenate(parts)
