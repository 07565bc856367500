"""The CUDA engine against torch: every network, precision, layout and awkward length; bodies; bad input.

What a precision may lose: four times what rounding alone loses (weights and every module's output rounded, all else
float64: `conftest.rounded`), the larger of logits and features. Two roundings of the same numbers differ by chance,
and an error is the largest of a few dozen random sums, so ratios from 0.3 to 3 are chance. fp32: twice what torch loses
in float32, or 3e-6: tensor cores cut off what a sum cannot hold, where the CPU rounds.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ski_edge import _native
from ski_edge.errors import BadInput

from .conftest import HOST, error, plain, rounded, truth

# Kernels of the other two are in test_variants_equal_torch, and in ctest (cuda_kernels).
MODELS = tuple(
    pytest.param(name, marks=pytest.mark.slow) if name in {"ctrsgcn", "stgcn"} else name
    for name in ("ctrgcn", "ctrsgcn", "stgcn", "hyperformer")
)
PRECISIONS = ("fp32", "fp16", pytest.param("bf16", marks=pytest.mark.slow))  # on the host a kernel takes a second
FLOOR = {"fp32": 3e-6, "fp16": 2**-10, "bf16": 2**-7}  # units of the last place: one where there are 11 or 8 bits


def allowed(model, clip, exact, precision: str) -> float:
    peers = plain(model, clip) if precision == "fp32" else rounded(model, clip, precision)
    factor = 2 if precision == "fp32" else 4
    return max(FLOOR[precision], *(factor * error(peer, one) for peer, one in zip(peers, exact, strict=True)))


def check(engine, model, clip, device, precision):
    exact = truth(model, clip)
    if len(clip) > 1:
        assert np.ptp(exact[0], axis=0).max() > 1e-2 * np.abs(exact[0]).max(), "the clips make no difference"
    assert np.abs(exact[1]).max() < 1e3, "no activations of order one"
    got = engine(model, device, precision).run(clip.numpy())
    most = allowed(model, clip, exact, precision)
    for one, want in zip(got, exact, strict=True):
        assert error(one, want) <= most, (precision, clip.shape)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_equals_torch(network, engine, clip, device, name, precision):
    cases = [("ntu25", 1, 65, 1), ("ntu25", 2, 7, 2), ("coco17", 1, 1, 2), ("mediapipe33", 1, 63, 1)]
    for layout, persons, frames, batch in cases:
        model = network(name, layout, persons)
        check(engine, model, clip(model, frames, batch), device, precision)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_long_clips(network, engine, clip, device, name):
    model = network(name, "coco17", 1)
    check(engine, model, clip(model, 130, batch=1), device, "fp16")


@pytest.mark.parametrize(("name", "variant"), [("ctrgcn", "pyskl"), ("stgcn", "continual")])
def test_variants_equal_torch(network, engine, clip, device, name, variant):
    model = network(name, variant=variant)
    check(engine, model, clip(model, 16), device, "fp32")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_empty_body_is_a_constant(network, engine, clip, device, precision):
    """Zeros in a slot: the same numbers with and without computing it, in any mixture of clips."""
    model = network("ctrgcn")
    given = clip(model, 9, batch=5).numpy()
    given[1, ..., 1] = 0
    given[3, ..., 1] = 0
    given[4, ..., 0] = 0
    given[2] = 0
    skipping = engine(model, device, precision).run(given)
    computing = engine(model, device, precision, {"skip_empty": False}).run(given)
    for got, want in zip(skipping, computing, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())
    given[:] = 0
    np.testing.assert_allclose(engine(model, device, precision).run(given)[0], np.tile(skipping[0][2], (5, 1)))


def test_any_strides(network, engine, clip, device):
    """Views of other arrays, read-only ones too, give the numbers of a plain copy."""
    model = network("ctrgcn")
    given = clip(model, 10, batch=4).numpy()
    run = engine(model, device).run
    want = run(given)[0]
    channels_last = np.ascontiguousarray(given.transpose(0, 2, 4, 3, 1)).transpose(0, 4, 1, 3, 2)
    channels_last.flags.writeable = False
    np.testing.assert_array_equal(run(channels_last)[0], want)
    wide = np.zeros((8, 3, 20, 25, 2), np.float32)
    wide[::2, :, ::2] = given
    np.testing.assert_array_equal(run(wide[::2, :, ::2])[0], want)
    np.testing.assert_array_equal(run(given[::-1])[0], want[::-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctrgcn", "hyperformer"])
def test_sizes_do_not_meddle(network, engine, clip, device, name):
    """More sizes than are kept; a clip's numbers do not depend on its company, nor on what ran before."""
    model = network(name)
    run = engine(model, device, "fp16").run
    given = clip(model, 12).numpy()
    alone = [run(given[i : i + 1])[0][0] for i in range(2)]
    for frames in range(1, 11):
        run(given[:1, :, :frames])
    together = run(given)[0]
    np.testing.assert_array_equal(run(given)[0], together)
    for i in range(2):
        np.testing.assert_allclose(together[i], alone[i], rtol=0, atol=2e-3 * np.abs(together).max())


def test_submit_and_wait(network, engine, clip, device):
    model = network("stgcn")
    net, given = engine(model, device), clip(model, 9, batch=3).numpy()
    want = net.run(given)
    with pytest.raises(BadInput, match="no clips were submitted"):
        net.wait()
    changed = given.copy()
    net.submit(changed)
    changed[:] = 0
    with pytest.raises(BadInput, match="submitted before"):
        net.submit(given)
    for got, one in zip(net.wait(), want, strict=True):
        np.testing.assert_array_equal(got, one)
    assert net.bytes > 0
    assert (net.classes, net.feature_dim) == (12, want[1].shape[1])


def test_one_engine_serves_many_threads(network, engine, clip, device):
    model = network("ctrgcn")
    shared = engine(model, device)
    clips = [clip(model, 8, batch=1, seed=seed).numpy() for seed in range(3)]
    want = [shared.run(each)[0] for each in clips]
    wrong = []

    def work(number: int) -> None:
        for _ in range(3):
            if not np.array_equal(shared.run(clips[number])[0], want[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_clips(network, engine, device):
    logits, features = engine(network("ctrgcn"), device).run(np.zeros((0, 3, 8, 25, 2), np.float32))
    assert logits.shape == (0, 12)
    assert features.shape == (0, 64)


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((1, 3, 8, 20, 2), "25"),
        ((1, 3, 8, 25, 1), "persons"),
        ((1, 2, 8, 25, 2), r"\[N, 3, T, V, M\]"),
        ((8, 25), "axes"),
    ],
)
def test_wrong_clips_are_named(network, engine, device, shape, part):
    with pytest.raises(BadInput, match=part):
        engine(network("ctrgcn"), device).run(np.zeros(shape, np.float32))


def test_numbers_that_are_none_are_refused(network, engine, device):
    given = np.zeros((2, 3, 8, 25, 2), np.float32)
    for value in (np.nan, np.inf):
        given[1, 2, 7, 24, 1] = value
        with pytest.raises(BadInput, match="body 1 of clip 1 holds NaN or infinity"):
            engine(network("ctrgcn"), device).run(given)


def test_overflow_is_named(network, engine, clip, device):
    model = network("ctrgcn")
    with pytest.raises(BadInput, match="overflow"):
        engine(model, device, "fp16").run(1e6 * clip(model, 8).numpy())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"variant": "other"}, "variant must be original or pyskl"),
        ({"classes": 13}, "head.weight"),
        ({"joints": 20}, "adjacency"),
        ({"persons": 3}, "input_norm"),
        ({"model": "hdgcn"}, "nearest neighbours"),
    ],
)
def test_what_does_not_fit_is_named(network, engine, device, change, part):
    with pytest.raises(BadInput, match=part):
        engine(network("ctrgcn"), device, changes=change)


def test_other_precisions_are_named(network, engine, device):
    with pytest.raises(BadInput, match="precision must be fp32, fp16 or bf16, got 'int8'"):
        engine(network("ctrgcn"), device, "int8")


def test_a_device_that_is_not_there(network, engine):
    with pytest.raises(BadInput, match=_native.why_not_cuda_engine() or "there is no CUDA device 99; give 0"):
        engine(network("ctrgcn"), 99)


def test_time_replays_needs_a_device(network, engine, clip):
    net = engine(network("ctrgcn"), HOST)
    net.run(clip(network("ctrgcn"), 8).numpy())
    with pytest.raises(BadInput, match="on a device"):
        net.time_replays(3)


def test_code_for_other_devices_is_named():
    assert _native.why_not_code(90, "80") == ""
    assert "for 80, none of which runs on compute capability 7.5" in _native.why_not_code(75, "80")
