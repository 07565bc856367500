"""Zero-shot numbers by hand, the seen-unseen curve against plain argmax, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.evaluate.zero_shot import add_views, fit_constant, fuse, generalised, zero_shot

UNSEEN = (1, 3)
SCORES = np.array(
    [  # seen 0 and 2, unseen 1 and 3
        [0.9, 0.2, 0.1, 0.1],  # of 0: right
        [0.4, 0.6, 0.5, 0.1],  # of 2: said to be 1
        [0.7, 0.5, 0.1, 0.2],  # of 1: said to be 0, right among unseen
        [0.1, 0.3, 0.2, 0.8],  # of 3: right
        [0.1, 0.9, 0.2, 0.3],  # of 3: said to be 1
    ]
)
LABELS = np.array([0, 2, 1, 3, 3])


def clips(seed: int = 0, count: int = 200, classes: int = 9) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Scores that prefer seen classes, labels, unseen classes."""
    rng = np.random.default_rng(seed)
    unseen = (1, 4, 7)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    scores = rng.normal(0, 1, (count, classes))
    scores[np.arange(count), labels] += 1.5
    scores[:, [k for k in range(classes) if k not in unseen]] += 1
    return np.rint(8 * scores) / 8, labels, unseen  # with exact ties


def by_argmax(scores, labels, unseen, constant, mean):
    """Seen and unseen accuracy, said in the plainest way; a seen class comes first where scores are equal."""
    seen = [k for k in range(scores.shape[1]) if k not in unseen]
    columns = [*seen, *unseen]
    lowered = scores[:, columns] - np.array([constant] * len(seen) + [0] * len(unseen))
    said = np.array(columns)[lowered.argmax(axis=1)]
    result = []
    for group in (seen, unseen):
        right = [(said[labels == k] == k) for k in group if (labels == k).any()]
        result.append(100 * (np.mean([r.mean() for r in right]) if mean == "classes" else np.concatenate(right).mean()))
    return result


def test_zero_shot_by_hand():
    result = zero_shot(SCORES[2:], LABELS[2:], UNSEEN)
    assert (result.clips, result.classes, result.top5) == (3, 2, 100)
    assert result.top1 == pytest.approx(100 * 2 / 3)
    assert result.mean_class == pytest.approx((100 + 50) / 2)


def test_scores_of_seen_classes_do_not_matter_in_zero_shot():
    scores, labels, unseen = clips()
    of_unseen = np.isin(labels, unseen)
    low = np.where(np.isin(np.arange(9), unseen), scores, -99)
    assert zero_shot(scores[of_unseen], labels[of_unseen], unseen) == zero_shot(
        low[of_unseen], labels[of_unseen], unseen
    )


def test_top5_needs_more_than_five_classes_to_say_anything():
    scores, labels, _ = clips()
    assert zero_shot(scores, labels, range(9)).top5 < 100
    chosen = labels < 5
    assert zero_shot(scores[chosen], labels[chosen], range(5)).top5 == 100


def test_generalised_by_hand():
    result = generalised(SCORES, LABELS, UNSEEN)
    assert (result.seen, result.unseen) == (50, 25)
    assert result.harmonic == pytest.approx(2 * 50 * 25 / 75)
    by_clip = generalised(SCORES, LABELS, UNSEEN, mean="clips")
    assert (by_clip.seen, by_clip.unseen) == (50, pytest.approx(100 / 3))
    lowered = generalised(SCORES, LABELS, UNSEEN, constant=0.3)
    assert (lowered.seen, lowered.unseen) == (50, 75)
    # Margins 0.7, -0.1, 0.2, -0.6, -0.7 (of 0, 2, 1, 3, 3): seen 100 until -0.1, then 50, then 0; unseen 0, 25, 75
    assert result.ausuc == pytest.approx(0.25 * 1 + 0.5 * 0.5)


@pytest.mark.parametrize("mean", ["classes", "clips"])
@pytest.mark.parametrize("seed", range(3))
def test_curve_is_what_argmax_gives(seed, mean):
    scores, labels, unseen = clips(seed)
    result = generalised(scores, labels, unseen, mean=mean)
    assert len(result.curve) > 20
    for constant in (-99, -1.03, 0, 0.52, 1.17, 99):
        got = generalised(scores, labels, unseen, constant, mean)
        assert [got.seen, got.unseen] == pytest.approx(by_argmax(scores, labels, unseen, constant, mean)), constant
    only_seen, only_unseen = result.curve[0], result.curve[-1]
    assert only_seen[2] == 0
    assert only_unseen[1] == pytest.approx(0)
    of_unseen = np.isin(labels, unseen)
    among = zero_shot(scores[of_unseen], labels[of_unseen], unseen)
    assert only_unseen[2] == pytest.approx(among.mean_class if mean == "classes" else among.top1)
    assert (np.diff(result.curve[:, 1]) <= 1e-9).all()
    assert (np.diff(result.curve[:, 2]) >= -1e-9).all()
    assert (np.diff(result.curve[:, 0]) > 0).all()


def test_area_does_not_change_with_a_bias_and_1_is_perfect():
    scores, labels, unseen = clips()
    shifted = scores + np.where(np.isin(np.arange(9), unseen), 0, 2)
    area = generalised(scores, labels, unseen).ausuc
    assert 0.1 < area < 1
    assert generalised(shifted, labels, unseen).ausuc == pytest.approx(area)
    perfect = np.eye(9)[labels] + np.where(np.isin(np.arange(9), unseen), 0, 3.0)
    assert generalised(perfect, labels, unseen).ausuc == pytest.approx(1)
    assert generalised(perfect, labels, unseen).harmonic == 0


@pytest.mark.parametrize("seed", range(4))
def test_fitted_constant_is_the_best_there_is(seed):
    scores, labels, unseen = clips(seed)
    constant = fit_constant(scores, labels, unseen)
    best = generalised(scores, labels, unseen, constant).harmonic
    grid = [generalised(scores, labels, unseen, value).harmonic for value in np.arange(-6, 8, 0.025)]
    assert best == pytest.approx(max(grid))
    assert best > generalised(scores, labels, unseen).harmonic
    nearby = [generalised(scores, labels, unseen, constant + step).harmonic for step in (-0.05, 0.05)]
    assert nearby == pytest.approx([best, best])  # not at an edge
    # it follows the bias
    shifted = scores + np.where(np.isin(np.arange(9), unseen), 0, 2)
    assert generalised(shifted, labels, unseen, fit_constant(shifted, labels, unseen)).harmonic == pytest.approx(best)


def test_no_constant_where_none_is_needed():
    scores, labels, unseen = np.eye(9), np.arange(9), (1, 4)
    assert fit_constant(scores, labels, unseen) == 0
    assert generalised(scores, labels, unseen).harmonic == pytest.approx(100)


def test_views():
    # Two weak views for class 1, one strong one for class 0: softmax bounds the strong one's say, a sum does not.
    logits = np.array([[[50.0, 0], [0, 3], [0, 3]]])
    assert add_views(logits, "logits").argmax() == 0
    assert add_views(logits, "softmax").argmax() == 1
    one = np.random.default_rng(0).normal(0, 300, (5, 1, 4)).astype(np.float32)
    np.testing.assert_array_equal(add_views(one, "logits"), one[:, 0])
    np.testing.assert_allclose(add_views(one, "softmax").sum(axis=1), 1)
    np.testing.assert_array_equal(add_views(one, "softmax").argmax(axis=1), one[:, 0].argmax(axis=1))


def test_fusion():
    video, skeleton = np.array([[0.3, 0.2]]), np.array([[1.0, 5.0]])
    np.testing.assert_allclose(fuse(video, skeleton), [[1.3, 5.2]])
    np.testing.assert_array_equal(fuse(video, skeleton, weight=0), video)
    soft = fuse(video, skeleton, "softmax", weight=0.5)
    np.testing.assert_allclose(soft.sum(), 1.5)
    assert soft[0, 1] - soft[0, 0] < 0.5  # a share, however large the skeleton's logits are


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: zero_shot(SCORES, LABELS, UNSEEN), "clip 0 is of class 0, which is no unseen class"),
        (lambda: zero_shot(SCORES[0], LABELS[:1], UNSEEN), r"scores must be numbers \[N, C\]"),
        (lambda: zero_shot(SCORES[:0], LABELS[:0], UNSEEN), "none of these 0"),
        (lambda: zero_shot(SCORES[2:], LABELS[2:], (1, 3, 3)), "different whole numbers"),
        (lambda: zero_shot(SCORES[2:], LABELS[2:], (1, 4)), "unseen classes run from 1 to 4, the scores have 4"),
        (lambda: zero_shot(SCORES[2:], LABELS[2:], ()), "different whole numbers"),
        (lambda: zero_shot(SCORES[2:], LABELS[2:] + 3, UNSEEN), "labels run from 4 to 6"),
        (lambda: zero_shot(SCORES[2:], LABELS[2:] * 1.0, UNSEEN), "labels must be 3 whole numbers"),
        (lambda: generalised(SCORES * np.nan, LABELS, UNSEEN), "NaN or infinity"),
        (lambda: generalised(SCORES[2:], LABELS[2:], UNSEEN), "clips of both"),
        (lambda: generalised(SCORES[:2], LABELS[:2], UNSEEN), "clips of both"),
        (lambda: generalised(SCORES, LABELS, range(4)), "seen and unseen classes"),
        (lambda: generalised(SCORES, LABELS, UNSEEN, mean="class"), "mean must be one of clips, classes"),
        (lambda: generalised(SCORES, LABELS, UNSEEN, constant=np.inf), "finite"),
        (lambda: add_views(SCORES, "softmax"), r"\[N, views, K\]"),
        (lambda: add_views(SCORES[None], "mean"), "softmax, logits, got 'mean'"),
        (lambda: fuse(SCORES, SCORES[1:]), "must be alike"),
        (lambda: fuse(SCORES, SCORES, weight=-1), "from 0 up"),
    ],
)
def test_what_is_refused(call, says):
    with pytest.raises(BadInput, match=says):
        call()
