"""How near a text tower is to its teacher, in numbers that matter for zero-shot recognition."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.models.clip import ClipModel
from ski_edge.train.text.distil import Pairs, text_features


@torch.no_grad()
def embed_pairs(model: ClipModel, pairs: Pairs, batch: int = 256) -> Tensor:
    """The tower's unit vectors [N, D]."""
    return torch.cat([F.normalize(text_features(model.clip, tokens), dim=-1) for tokens in pairs.tokens.split(batch)])


def mean_cosine(model: ClipModel, pairs: Pairs) -> float:
    """Mean over sentences of the cosine between tower and teacher."""
    return float((embed_pairs(model, pairs) * pairs.target).sum(dim=1).mean())


def agreement(model: ClipModel, labels: Pairs) -> dict[str, float]:
    """Of one label set, K > 2:

    - cosine: mean cosine with the teacher;
    - found: share of labels whose embedding is nearest to the teacher's of the same label among all K. This is
      zero-shot recognition by a video encoder that learned the teacher's space perfectly;
    - neighbour: share of labels whose nearest other label is the same one for tower and teacher;
    - rank: Spearman's correlation of the K (K - 1) / 2 likenesses between labels.
    """
    own, target = embed_pairs(model, labels), labels.target
    mine, theirs = own @ own.T, target @ target.T
    alone = torch.eye(len(own), dtype=torch.bool)
    neighbours = [likeness.masked_fill(alone, -2).argmax(dim=1) for likeness in (mine, theirs)]
    upper = torch.triu_indices(len(own), len(own), offset=1).unbind()
    return {
        "cosine": float((own * target).sum(dim=1).mean()),
        "found": float(((own @ target.T).argmax(dim=1) == torch.arange(len(own))).float().mean()),
        "neighbour": float((neighbours[0] == neighbours[1]).float().mean()),
        "rank": _spearman(mine[upper].numpy(), theirs[upper].numpy()),
    }


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two samples without ties."""
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
