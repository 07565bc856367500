"""What SKI training makes small. Similarities [N, K] are of N clips with K class texts, before any temperature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from ski_edge.models.clip import exact, products


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """logits [N, K], target probabilities [N, K] -> mean over N (timm's SoftTargetCrossEntropy)."""
    return -(target * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def grouped_cross_entropy(logits: Tensor, target: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Columns belong to groups of these sizes, of each of which one is true: the mean of the groups' losses."""
    pieces = zip(logits.split(groups, dim=1), target.split(groups, dim=1), strict=True)
    return torch.stack([soft_cross_entropy(*piece) for piece in pieces]).mean()


def top1(logits: Tensor, labels: Tensor, groups: tuple[int, ...]) -> float:
    """Per cent of labels int64 [N, groups] that are their group's best; the mean over groups."""
    best = torch.stack([piece.argmax(dim=1) for piece in logits.split(groups, dim=1)], dim=1)
    return 100 * float((best == labels).float().mean())


@dataclass(frozen=True, slots=True)
class Similarities:
    """What both sides say about the same clips and classes."""

    video: Tensor  # [N, K], cosines
    skeleton: Tensor  # [N, K], cosines or raw products
    video_scale: Tensor | float  # what makes logits of them
    skeleton_scale: Tensor | float


def distil_mse(pair: Similarities) -> Tensor:
    """Skeleton-CLIP distillation, the paper's eq. 3: mean squared difference of the two similarity matrices."""
    return F.mse_loss(pair.video, pair.skeleton)


def distil_kl(pair: Similarities) -> Tensor:
    """KL divergence of the video's class distribution from the skeleton's (Hinton et al.), mean over clips."""
    teacher = F.log_softmax(pair.skeleton_scale * pair.skeleton, dim=-1)
    student = F.log_softmax(pair.video_scale * pair.video, dim=-1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


def distil_contrastive(pair: Similarities, temperature: float = 0.07) -> Tensor:
    """Rows of the two matrices as a pair's two views: InfoNCE over the batch, both ways.

    The paper's Table 5 names a contrastive variant and gives no formula; this is our reading. Rows are centred first:
    what all classes share says nothing about a clip.
    """
    return info_nce(_centred(pair.video), _centred(pair.skeleton), 1 / temperature)


DISTILLATION = {"mse": distil_mse, "kl": distil_kl, "contrastive": distil_contrastive}


def info_nce(first: Tensor, second: Tensor, scale: Tensor | float) -> Tensor:
    """Rows [N, D] of the same index belong together: cross-entropy of their cosines times `scale`, both ways.

    N counts the clips of all processes: each compares all of them, so that several processes are one.
    """
    first, second = _of_all(first), _of_all(second)
    logits = scale * products(F.normalize(exact(first), dim=-1), second)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Feature distillation without projection: mean squared difference of two normalised embeddings [N, D]."""
    return F.mse_loss(F.normalize(student, dim=-1), F.normalize(teacher, dim=-1))


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """1 - cosine, mean over rows [..., D] (FROSTER's residual feature distillation)."""
    return (1 - F.cosine_similarity(first, second, dim=-1)).mean()


def _of_all(rows: Tensor) -> Tensor:
    """Rows of all processes, with gradients: each process's own get the sum of all processes' (DDP takes the mean)."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    return torch.cat(all_gather(rows.contiguous()))


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)
