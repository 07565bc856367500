"""Metrics by hand, scores on disk, ensembles, and the commands over a real checkpoint and its bundle."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import _native
from ski_edge.errors import BadInput
from ski_edge.evaluate import measure
from ski_edge.evaluate.ensemble import combine, fit
from ski_edge.evaluate.scores import Scores, read_scores, write_scores
from ski_edge.evaluate.windows import windows
from ski_edge.models import save_model
from ski_edge.skeleton import SkeletonInput

LOGITS = np.array([[3, 1, 0], [0, 2, 1], [2, 1, 0], [0, 0, 1]], np.float32)
LABELS = np.array([0, 1, 1, 1])


def test_metrics_by_hand():
    metrics = measure(LOGITS, LABELS)
    assert metrics.top1 == 50
    assert metrics.top5 == 100
    np.testing.assert_allclose(metrics.recall, [100, 100 / 3, np.nan])
    assert metrics.mean_recall == pytest.approx((100 + 100 / 3) / 2)
    assert metrics.confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (LOGITS[0], LABELS, r"must be \[N, K\] and \[N\]"),
        (LOGITS * np.nan, LABELS, "NaN or infinity"),
        (LOGITS, LABELS + 3, "labels run from 3 to 4, the logits have 3 classes"),
        (LOGITS[:0], LABELS[:0], "N > 0"),
    ],
)
def test_wrong_scores_are_named(logits, labels, says):
    with pytest.raises(BadInput, match=says):
        measure(logits, labels)


def stream(seed, right):
    """Scores that find the clips in `right` and miss the others."""
    labels = np.arange(8) % 4
    logits = np.random.default_rng(seed).normal(0, 0.1, (8, 4)).astype(np.float32)
    for clip in range(8):
        logits[clip, labels[clip] if clip in right else (labels[clip] + 1) % 4] += 1
    return Scores(logits, labels, np.array([f"clip{i}" for i in range(8)]), ("a", "b", "c", "d"))


def test_ensemble_adds_weighted_logits():
    first, second = stream(0, {0, 1, 2}), stream(1, {3, 4})
    total = combine([first, second], (0.6, 0.4))
    np.testing.assert_allclose(total.logits, 0.6 * first.logits + 0.4 * second.logits, rtol=1e-6)
    good = stream(2, set(range(8)))
    assert fit([good, good]) == (0.1, 0.1)  # equally good: the most even
    weights = fit([good, second])
    assert measure(combine([good, second], weights).logits, good.labels).top1 == 100


def test_streams_may_have_their_clips_in_another_order():
    """Videos are read in the order of their files, skeletons in that of the prepared data."""
    first, second = stream(0, {0}), stream(1, {1})
    order = np.random.default_rng(0).permutation(len(first.names))
    moved = Scores(second.logits[order], second.labels[order], second.names[order], second.classes)
    np.testing.assert_array_equal(combine([first, moved], (1, 1)).logits, combine([first, second], (1, 1)).logits)


@pytest.mark.parametrize(
    ("other", "weights", "says"),
    [
        (lambda s: Scores(s.logits, s.labels, s.names[::-1], s.classes), (1, 1), "score file 2 has other clips"),
        (lambda s: Scores(s.logits, s.labels, s.names, ("a", "b", "c", "e")), (1, 1), "has other classes"),
        (lambda s: s, (1,), "2 streams need as many weights"),
        (lambda s: s, (0, 0), "not all zero"),
        (lambda s: s, (-1, 1), "none below zero"),
    ],
)
def test_streams_that_do_not_belong_together(other, weights, says):
    first = stream(0, {0})
    with pytest.raises(BadInput, match=says):
        combine([first, other(first)], weights)


def test_scores_on_disk(tmp_path):
    scores = stream(0, {1})
    write_scores(tmp_path / "s.npz", scores)
    again = read_scores(tmp_path / "s.npz")
    np.testing.assert_array_equal(again.logits, scores.logits)
    assert again.classes == scores.classes
    (tmp_path / "bad.npz").write_bytes((tmp_path / "s.npz").read_bytes()[:100])
    with pytest.raises(BadInput, match="holds no scores"):
        read_scores(tmp_path / "bad.npz")
    np.savez(
        tmp_path / "odd.npz", logits=scores.logits, labels=scores.labels[:3], names=scores.names, classes=["a"] * 4
    )
    with pytest.raises(BadInput, match="does not fit together"):
        read_scores(tmp_path / "odd.npz")


def test_long_clips_are_cut_into_windows():
    spec = SkeletonInput(layout="kinect20", persons=1, resample={"name": "fixed-seconds", "seconds": 1.0, "frames": 8})
    clip = np.arange(100, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 20, 3), np.float32)
    parts = windows(clip, spec)
    assert len(parts) == 5
    assert {len(part) for part in parts} == {30}
    assert (parts[0][0, 0, 0, 0], parts[-1][-1, 0, 0, 0]) == (0, 99)
    assert len(windows(clip[:20], spec)) == 1


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, waving):
    folder = tmp_path_factory.mktemp("untrained")
    skeleton = {"layout": "kinect20", "persons": 1, "resample": {"name": "crop-resize", "frames": 16}}
    model = ski_edge.create_model("ctrgcn", arch="tiny", seed=0, classes=("left", "right", "foot"), skeleton=skeleton)
    with torch.no_grad():
        model.head.weight.mul_(0.01)  # logits as large as trained ones, not in the hundreds
    save_model(model, folder / "ckpt")
    ski_edge.export_model(model, folder / "bundle", clips=waving)
    return folder


def test_checkpoint_and_bundle_agree_on_real_clips(untrained, waving, cli, tmp_path):
    results = []
    for kind in ("ckpt", "bundle"):
        code, out, err = cli(
            "evaluate", untrained / kind, "--data", waving, "--split", "odd-even", "--out", tmp_path / kind, "--json"
        )
        assert code == 0, err
        results.append(json.loads(out))
        assert {p.name for p in (tmp_path / kind).iterdir()} == {
            *("metrics.json", "per_class.csv", "confusion.csv", "confusion.png", "scores.npz"),
        }
    code, out, _ = cli(
        "evaluate", untrained / "ckpt", "--data", waving, "--split", "odd-even", "--out", tmp_path, "--tsne"
    )
    assert code == 0
    assert "embeddings.png: " in out
    assert (tmp_path / "embeddings.png").stat().st_size > 5000
    assert results[0]["top1"] == results[1]["top1"]
    a, b = (read_scores(tmp_path / kind / "scores.npz") for kind in ("ckpt", "bundle"))
    np.testing.assert_allclose(a.logits, b.logits, atol=1e-4)
    rows = list(csv.reader((tmp_path / "ckpt" / "confusion.csv").open()))
    assert rows[0][1:] == ["left", "right", "foot"]
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 45
    code, out, err = cli("ensemble", tmp_path / "ckpt", tmp_path / "bundle", "--out", tmp_path / "both")
    assert code == 0, err
    assert "weights [1.0, 1.0] (equal)" in out
    code, out, err = cli(
        *("ensemble", tmp_path / "ckpt", tmp_path / "bundle", "--out", tmp_path / "fitted", "--json"),
        *("--fit", tmp_path / "ckpt", "--fit", tmp_path / "bundle"),
    )
    assert code == 0, err
    assert json.loads(out)["weights_are"].startswith("fitted")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "nowhere", "--split", "odd-even"), "nowhere holds no prepared data"),
        (("--data", "{data}", "--split", "xsub"), "the choices are"),
    ],
)
def test_what_evaluate_is_told(untrained, waving, fails_clean, arguments, says):
    arguments = [argument.replace("{data}", str(waving)) for argument in arguments]
    fails_clean("evaluate", untrained / "ckpt", *arguments, says=says)


@pytest.mark.parametrize(
    ("backend", "precision"), [("native", "fp32"), ("onnxruntime", "fp32"), ("native", "bf16"), ("auto", "fp32")]
)
def test_a_bundle_is_measured_as_it_will_run(untrained, waving, cli, tmp_path, backend, precision):
    if reason := _native.why_not_bf16() if precision == "bf16" else _native.why_not_native():
        pytest.skip(reason)
    asked = ("--data", waving, "--split", "odd-even")
    code, out, err = cli("evaluate", untrained / "ckpt", *asked, "--out", tmp_path / "ckpt", "--json")
    assert code == 0, err
    wanted = json.loads(out)
    chosen = ("--backend", backend, "--precision", precision)
    code, out, err = cli("evaluate", untrained / "bundle", *asked, *chosen, "--out", tmp_path / "bundle", "--json")
    assert code == 0, err
    got = json.loads(out)
    assert (got["backend"], got["precision"]) == ("native" if backend == "auto" else backend, precision)
    assert {*got} - {"backend", "precision"} == {*wanted}  # one format for both
    a, b = (read_scores(tmp_path / kind / "scores.npz") for kind in ("ckpt", "bundle"))
    error = np.abs(a.logits - b.logits).max() / np.abs(a.logits).max()
    assert 1e-5 < error < 5e-2 if precision == "bf16" else error < 1e-5
    if precision == "fp32":
        assert {key: got[key] for key in ("clips", "top1", "top5", "recall")} == {
            key: wanted[key] for key in ("clips", "top1", "top5", "recall")
        }


def test_a_checkpoint_has_no_backend(untrained, waving, fails_clean):
    asked = ("evaluate", untrained / "ckpt", "--data", waving, "--split", "odd-even")
    fails_clean(*asked, "--backend", "native", says="--backend native is for skeleton bundles")
    fails_clean(*asked, "--precision", "bf16", says="measured by torch in float32")
    fails_clean("evaluate", "--table", "ski-1", "--backend", "native", says="leave out the model, --data")


def test_a_bundle_that_cannot_run_so_is_not_measured(untrained, waving, fails_clean):
    asked = ("evaluate", untrained / "bundle", "--data", waving, "--split", "odd-even")
    fails_clean(*asked, "--precision", "int8", says="precision 'int8' is not known")
    fails_clean(*asked, "--backend", "onnxruntime", "--precision", "bf16", says="use backend native", code=4)


def test_a_bundle_keeps_no_embeddings(untrained, waving, fails_clean):
    asked = ("--data", waving, "--split", "odd-even", "--tsne")
    fails_clean("evaluate", untrained / "bundle", *asked, says="keeps no embeddings; --tsne needs its checkpoint")


def test_other_classes_are_refused(waving, fails_clean, tmp_path_factory):
    folder = tmp_path_factory.mktemp("m") / "ckpt"
    save_model(ski_edge.create_model("ctrgcn", arch="tiny", seed=0, classes=("a", "b"), layout="kinect20"), folder)
    fails_clean(
        "evaluate", folder, "--data", waving, "--split", "odd-even", says="the network has no class 'foot' (3 such)"
    )
