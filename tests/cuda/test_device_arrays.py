"""Clips where they are: arrays of torch and CuPy, read through DLPack on the caller's stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ski_edge.errors import BadInput
from ski_edge.runtime import device_arrays

from .conftest import HOST


def test_the_hosts_arrays_on_the_host(network, engine, clip):
    """The same path as on a device: any strides, outputs of the caller's library."""
    model = network("ctrgcn")
    net, given = engine(model, HOST), clip(model, 9)
    want = net.run(given.numpy())
    channels_last = given.permute(0, 2, 4, 3, 1).contiguous().permute(0, 4, 1, 3, 2)
    for each in (given, channels_last, torch.cat([given, given])[:2]):
        logits, features = device_arrays.run(net, each)
        np.testing.assert_array_equal(logits.numpy(), want[0])
        np.testing.assert_array_equal(features.numpy(), want[1])


def test_empty_slots_are_computed(network, engine, clip):
    model = network("ctrgcn")
    net, given = engine(model, HOST), clip(model, 9)
    given[1, ..., 1] = 0
    np.testing.assert_allclose(device_arrays.run(net, given)[0].numpy(), net.run(given.numpy())[0], rtol=1e-4)


def test_what_is_no_device_array(network, engine, clip):
    model = network("ctrgcn")
    net, given = engine(model, HOST), clip(model, 9)
    for wrong, part in (
        (given.numpy(), "array of torch or cupy, got ndarray"),
        (given.double(), "float32, got torch.float64"),
        (given[0], "got 4 axes"),
        (given[:, :2], r"\[N, 3, T, V, M\]"),
        (given[:, :, :, :20], "20 joints"),
        (given.clone().requires_grad_(), "is not lent"),
    ):
        with pytest.raises(BadInput, match=part):
            device_arrays.run(net, wrong)
    net.submit(given.numpy())
    with pytest.raises(BadInput, match="wait for them first"):
        device_arrays.run(net, given)
    net.wait()
    assert device_arrays.run(net, given[:0])[0].shape == (0, 12)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_torch_on_the_gpu(network, engine, clip, gpu, precision):
    model = network("ctrgcn")
    net, given = engine(model, gpu, precision), clip(model, 33)
    want = net.run(given.numpy())
    there = given.to("cuda:0")
    strided = there.permute(0, 2, 4, 3, 1).contiguous().permute(0, 4, 1, 3, 2)
    for each in (there, strided, torch.cat([there, there])[::2], there.expand(2, -1, -1, -1, -1)):
        want = net.run(each.cpu().numpy())
        got = device_arrays.run(net, each)
        assert all(part.device == there.device for part in got)
        for part, one in zip(got, want, strict=True):
            np.testing.assert_array_equal(part.cpu().numpy(), one)


def test_cupy_on_the_gpu(network, engine, clip, gpu):
    cupy = pytest.importorskip("cupy")
    model = network("stgcn")
    net, given = engine(model, gpu), clip(model, 21)
    want = net.run(given.numpy())[0]
    got = device_arrays.run(net, cupy.asarray(given.numpy()))[0]
    assert isinstance(got, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(got), want)
    with cupy.cuda.Stream(non_blocking=True):
        np.testing.assert_array_equal(cupy.asnumpy(device_arrays.run(net, cupy.asarray(given.numpy()))[0]), want)


def test_streams_of_the_caller(network, engine, clip, gpu):
    """Inputs are made late on a stream, and results used on it; calls on many streams do not meddle."""
    model = network("hyperformer")
    net = engine(model, gpu)
    clips = [clip(model, 24, seed=seed).to("cuda:0") for seed in range(4)]
    want = [torch.from_numpy(net.run(each.cpu().numpy())[0]).to("cuda:0") for each in clips]
    streams = [torch.cuda.Stream() for _ in clips]
    torch.cuda.synchronize()
    for _ in range(5):
        different = []
        for each, one, stream in zip(clips, want, streams, strict=True):
            with torch.cuda.stream(stream):
                late = torch.zeros_like(each)
                torch.cuda._sleep(1_000_000)
                late.copy_(each)
                different.append((device_arrays.run(net, late)[0] != one).sum())
        torch.cuda.synchronize()
        assert [int(count) for count in different] == [0, 0, 0, 0]


def test_runs_of_both_kinds_take_turns(network, engine, clip, gpu):
    """The engine's own stream waits for the caller's, and more sizes come than are kept."""
    model = network("ctrgcn")
    net, stream = engine(model, gpu, "fp16"), torch.cuda.Stream()
    want = {}
    for _ in range(2):
        for frames in range(8, 20):
            given = clip(model, frames)
            with torch.cuda.stream(stream):
                there = device_arrays.run(net, given.to("cuda:0"))[0]
            host = net.run(given.numpy())[0]
            np.testing.assert_array_equal(there.cpu().numpy(), host)
            np.testing.assert_array_equal(host, want.setdefault(frames, host))


def test_bits_are_the_same_every_time(network, engine, clip, gpu):
    for name in ("ctrgcn", "hyperformer", "stgcn"):
        model = network(name)
        net, given = engine(model, gpu, "fp16"), clip(model, 64, batch=8).numpy()
        first = net.run(given)
        for _ in range(20):
            for got, one in zip(net.run(given), first, strict=True):
                np.testing.assert_array_equal(got, one)
        again = engine(model, gpu, "fp16").run(given)
        np.testing.assert_array_equal(again[0], first[0])


def test_time_of_replays(network, engine, clip, gpu):
    model = network("ctrgcn")
    net = engine(model, gpu, "fp16")
    with pytest.raises(BadInput, match="run clips on a device first"):
        net.time_replays(3)
    want = net.run(clip(model, 16).numpy())[0]
    times = net.time_replays(20)
    assert times.shape == (20,)
    assert (times > 0).all()
    np.testing.assert_array_equal(net.run(clip(model, 16).numpy())[0], want)


def test_a_clip_of_the_host_or_another_device(network, engine, clip, gpu):
    model = network("ctrgcn")
    net, given = engine(model, gpu), clip(model, 9)
    with pytest.raises(BadInput, match="host's memory; give it to run"):
        device_arrays.run(net, given)
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU; a clip on another one is not tried")
    with pytest.raises(BadInput, match="clip is on CUDA device 1, the engine on 0"):
        device_arrays.run(net, given.to("cuda:1"))
