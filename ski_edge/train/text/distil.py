"""A small text tower learns the sentence encoder's embeddings.

Loss: 1 - cosine with the teacher's embedding, plus the mean square difference of the two similarity matrices of a batch
(as in Park et al., "Relational Knowledge Distillation", CVPR 2019): the first places a sentence, the second keeps the
differences between near sentences, which are what tells labels apart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ski_edge.contracts import Contract
from ski_edge.models.clip import ClipModel, tokenize

_WARM_UP = 0.05  # share of the steps
_SORTED_OVER = 32  # batches whose sentences are sorted by length together


class DistilConfig(Contract):
    """How a text tower is trained."""

    epochs: int = Field(12, gt=0)  # more bring little: the last four gave 0.006 of training cosine
    batch_size: int = Field(256, gt=1)
    lr: float = Field(2e-3, gt=0, le=1)  # AdamW's peak; cosine to zero after a short warm-up
    weight_decay: float = Field(0.01, ge=0)
    relations: float = Field(4.0, ge=0)  # weight of the similarity matrices beside the cosine
    seed: int = 0


@dataclass(frozen=True)
class Pairs:
    """Sentences as tokens int64 [N, L] and the teacher's unit vectors float32 [N, D]."""

    tokens: Tensor
    target: Tensor

    @classmethod
    def of(cls, sentences: list[str], target: np.ndarray, arch: str) -> Pairs:
        return cls(tokenize(sentences, arch), torch.from_numpy(target))


def text_features(clip: nn.Module, tokens: Tensor) -> Tensor:
    """tokens int64 [K, L], L at most the context -> [K, D], not normalised: `encode_text` without its padding.

    Exact, because the tower is causal and read at the end token; three times faster, because labels are short.
    """
    length = tokens.shape[1]
    x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), tokens.argmax(dim=1)] @ clip.text_projection


def text_parameters(clip: nn.Module) -> dict[str, nn.Parameter]:
    """The text tower's parameters by name: all of CLIP's but the vision tower and the logit scale."""
    return {name: p for name, p in clip.named_parameters() if not name.startswith("visual.") and name != "logit_scale"}


def distil(model: ClipModel, train: Pairs, config: DistilConfig, report: Callable[[dict[str, float]], None]) -> None:
    """Train the text tower in place; report takes a row per epoch: epoch, loss, cosine (both of training), seconds."""
    clip = model.clip
    parameters = text_parameters(clip)
    decayed = [p for p in parameters.values() if p.ndim > 1]
    plain = [p for p in parameters.values() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.lr,
        betas=(0.9, 0.98),
    )
    steps = config.epochs * math.ceil(len(train.tokens) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    clip.train()
    for epoch in range(config.epochs):
        began, sums, count = time.monotonic(), torch.zeros(2), 0
        for rows in _batches(train.tokens, config.batch_size, config.seed + epoch):
            target = train.target[rows]
            own = F.normalize(text_features(clip, _cut(train.tokens[rows])), dim=-1)
            cosine = (own * target).sum(dim=-1).mean()
            loss = 1 - cosine + config.relations * (own @ own.T - target @ target.T).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimiser.step()
            schedule.step()
            sums += torch.stack([loss.detach(), cosine.detach()])
            count += 1
        loss, cosine = (sums / count).tolist()
        report({"epoch": epoch + 1, "loss": loss, "cosine": cosine, "seconds": time.monotonic() - began})
    model.eval()


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate."""
    warm = max(1, int(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _batches(tokens: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Row numbers of an epoch's batches: shuffled, alike lengths together, every row once."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(tokens), generator=generator)
    lengths = (tokens != 0).sum(dim=1)
    groups = [group[lengths[group].argsort(stable=True)] for group in order.split(_SORTED_OVER * size)]
    batches = [batch for group in groups for batch in group.split(size)]
    return (batches[i] for i in torch.randperm(len(batches), generator=generator))


def _cut(tokens: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return tokens[:, : int((tokens != 0).sum(dim=1).max())]
