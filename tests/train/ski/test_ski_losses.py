"""Losses against their formulas, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ski_edge.train.ski.losses import (
    DISTILLATION,
    Similarities,
    cosine_distance,
    feature_distance,
    grouped_cross_entropy,
    info_nce,
    soft_cross_entropy,
    top1,
)


@pytest.fixture
def pair():
    """Similarities of 5 clips with 4 classes, doubles, with gradients."""
    generator = torch.Generator().manual_seed(0)
    video, skeleton = (
        (2 * torch.rand((5, 4), generator=generator, dtype=torch.float64) - 1).requires_grad_() for _ in range(2)
    )
    return Similarities(video, skeleton, 12.0, 7.0)


def test_mse_is_equation_3(pair):
    """Sum over clips and classes of (F_LV - F_LS)^2, over their number; no temperature."""
    by_hand = sum(
        (float(pair.video[n, k].detach()) - float(pair.skeleton[n, k].detach())) ** 2
        for n in range(5)
        for k in range(4)
    )
    assert float(DISTILLATION["mse"](pair).detach()) == pytest.approx(by_hand / 20, rel=1e-12)


def test_kl_is_the_students_distance_from_the_teacher(pair):
    teacher = (7.0 * pair.skeleton).softmax(dim=1).detach()
    student = (12.0 * pair.video).softmax(dim=1).detach()
    wanted = (teacher * (teacher / student).log()).sum(dim=1).mean()
    assert float(DISTILLATION["kl"](pair).detach()) == pytest.approx(float(wanted), rel=1e-12)
    same = Similarities(pair.video, pair.video * 12 / 7, 12.0, 7.0)
    assert float(DISTILLATION["kl"](same).detach()) == pytest.approx(0, abs=1e-12)


def test_contrastive_is_infonce_of_centred_rows(pair):
    video, skeleton = (x.detach() - x.detach().mean(dim=1, keepdim=True) for x in (pair.video, pair.skeleton))
    total = 0.0
    for rows, others in ((video, skeleton), (skeleton, video)):
        for n in range(5):
            scores = torch.stack([torch.cosine_similarity(rows[n], other, dim=0) / 0.07 for other in others])
            total -= float(scores.log_softmax(dim=0)[n])
    assert float(DISTILLATION["contrastive"](pair).detach()) == pytest.approx(total / 10, rel=1e-9)


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_both_sides_learn_and_a_detached_one_does_not(pair, name):
    DISTILLATION[name](pair).backward()
    assert pair.video.grad.abs().sum() > 0
    assert pair.skeleton.grad.abs().sum() > 0
    before = pair.video.grad.clone()
    pair.video.grad = pair.skeleton.grad = None
    frozen = Similarities(pair.video, pair.skeleton.detach(), pair.video_scale, pair.skeleton_scale)
    DISTILLATION[name](frozen).backward()
    assert pair.skeleton.grad is None
    torch.testing.assert_close(pair.video.grad, before)


def test_mse_pulls_both_sides_together(pair):
    DISTILLATION["mse"](pair).backward()
    away = (pair.video - pair.skeleton).detach()
    torch.testing.assert_close(pair.video.grad, 2 * away / 20)
    torch.testing.assert_close(pair.skeleton.grad, -2 * away / 20)


def test_soft_cross_entropy_is_torchs():
    logits, target = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64).softmax(dim=1)
    torch.testing.assert_close(soft_cross_entropy(logits, target), F.cross_entropy(logits, target))


def test_groups_are_judged_one_by_one():
    logits = torch.randn(6, 5, dtype=torch.float64)
    first, second = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 1, 0, 0, 1])
    target = torch.cat([F.one_hot(first, 3), F.one_hot(second, 2)], dim=1).double()
    wanted = (F.cross_entropy(logits[:, :3], first) + F.cross_entropy(logits[:, 3:], second)) / 2
    torch.testing.assert_close(grouped_cross_entropy(logits, target, (3, 2)), wanted)
    hits = (logits[:, :3].argmax(1) == first).double().mean() + (logits[:, 3:].argmax(1) == second).double().mean()
    assert top1(logits, torch.stack([first, second], dim=1), (3, 2)) == pytest.approx(50 * float(hits))


def test_info_nce_is_smallest_where_pairs_agree():
    rows = torch.eye(4, dtype=torch.float64)
    assert float(info_nce(rows, rows, 100.0)) == pytest.approx(0, abs=1e-9)
    assert float(info_nce(rows, rows.roll(1, dims=0), 100.0)) == pytest.approx(100)


def test_distances_of_embeddings_forget_their_length():
    first, second = torch.randn(3, 8, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    cosine = F.cosine_similarity(first, second, dim=1)
    torch.testing.assert_close(feature_distance(5 * first, 0.1 * second), ((2 - 2 * cosine) / 8).mean())
    torch.testing.assert_close(cosine_distance(5 * first, 0.1 * second), (1 - cosine).mean())
