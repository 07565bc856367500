"""Logits of a skeleton classifier for whole clips, in eval mode, as the device computes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ski_edge.errors import BadInput
from ski_edge.evaluate.windows import over_windows
from ski_edge.models.clip import mean_of_prompts
from ski_edge.models.pose import PoseNetwork
from ski_edge.models.registry import build, parse_config
from ski_edge.models.sentence import SentenceEncoder
from ski_edge.models.skeletonclip import SkeletonCLIP
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


@torch.no_grad()
def own_classes(model: SkeletonCLIP) -> PoseNetwork:
    """A classifier of the classes it was trained on, see `classifier_of`."""
    config = model.config
    if not config.classes:
        raise BadInput("this skeletonclip names no classes of its own; convert it again with --set classes=FILE")
    return classifier_of(model, config.classes)


@torch.no_grad()
def classifier_of(
    model: SkeletonCLIP,
    names: Sequence[str],
    template: str | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> PoseNetwork:
    """A classifier of any classes: their texts become the rows of the skeleton network's last layer.

    template: of class names, the model's own by default; prompts: sentences in its place, several are averaged.
    Logits are products with the skeleton's vector as it is; its norm and the temperature change no ranking. A model
    that reads no text knows its own classes only.
    """
    config, texts = model.config, model.label_embeddings
    if texts is None or (config.sentence_encoder and set(names) != set(config.classes)):
        read = SentenceEncoder().encode if config.sentence_encoder else model.encode_text
        rows = []
        for name in names:
            sentences = list((prompts or {}).get(name, ())) or [(template or config.text.template).replace("{}", name)]
            rows.append(F.normalize(mean_of_prompts(read(sentences)[None]), dim=-1))
        texts = torch.cat(rows).to(model.skeleton.head.weight.device)
    else:
        own = {name: row for row, name in enumerate(config.classes)}
        if lost := [name for name in names if name not in own]:
            raise BadInput(
                f"this skeletonclip reads no text and has no embedding of {lost[0]!r} ({len(lost)} such); convert it "
                "again with --set base=openclip:openai, or measure it on its own classes (--split base:...)"
            )
        texts = texts[[own[name] for name in names]]
    fields = {**config.backbone.model_dump(), "num_classes": len(texts), "classes": tuple(names)}
    network = build(parse_config(type(config.backbone), fields, "skeletonclip"))
    head = model.skeleton.head
    folded = {"head.weight": texts @ head.weight, "head.bias": texts @ head.bias}
    network.load_state_dict({**model.skeleton.state_dict(), **folded})
    return network


def classify(model: nn.Module, clips: Sequence[np.ndarray], device: torch.device | str = "cpu") -> np.ndarray:
    """Clips in metres, [T, M, V, 3] each, in the model's layout -> logits float32 [N, K].

    A network for fixed seconds sees several windows of a longer clip; their logits are averaged.
    """
    spec = model.config.skeleton
    return over_windows(lambda parts: run(model, np.stack([prepare(p, spec) for p in parts]), device), clips, spec)


def embed(model: PoseNetwork, clips: Sequence[np.ndarray], device: torch.device | str = "cpu") -> np.ndarray:
    """As `classify`, but what comes before the last layer: features float32 [N, D], averaged over windows."""
    spec = model.config.skeleton

    def features(parts: Sequence[np.ndarray]) -> np.ndarray:
        return run(model, np.stack([prepare(part, spec) for part in parts]), device, model.features)

    return over_windows(features, clips, spec)


def run(
    model: nn.Module,
    inputs: np.ndarray,
    device: torch.device | str = "cpu",
    call: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> np.ndarray:
    """Network inputs float32 [N, 3, T, V, M] -> logits float32 [N, K] (or what `call` gives), in batches."""
    call = call or model
    with evaluating(model):
        parts = [
            call(torch.from_numpy(inputs[i : i + _BATCH]).to(device)).float().cpu().numpy()
            for i in range(0, len(inputs), _BATCH)
        ]
    return np.concatenate(parts)
