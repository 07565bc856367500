"""The native engine against torch: every network, instruction set, layout and awkward length; bodies; bad input."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import _native
from ski_edge.errors import BadInput, DeviceRefused, PrecisionNotRealised
from ski_edge.export.pose import native_network
from ski_edge.models.checkpoint import save_model
from ski_edge.runtime import open_bundle

pytestmark = pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())

MODELS = ("ctrgcn", "ctrsgcn", "stgcn", "hyperformer")
FLOAT_ISAS = [isa for isa, reason in _native.isas().items() if not reason and not isa.endswith("bf16")]
BF16_ISAS = [isa for isa, reason in _native.isas().items() if not reason and isa.endswith("bf16")]


def trained_like(name: str, **config: object) -> torch.nn.Module:
    """Random weights with norms and gains as training leaves them, so that every term counts."""
    model = ski_edge.create_model(name, seed=0, num_classes=12, **{"arch": "tiny", **config})
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=random) if tensor.is_floating_point() else None
            if key.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif key.endswith(("running_mean", "bias")):
                tensor.add_(0.1 * noise)
            elif "norm" in key and key.endswith("weight"):
                tensor.copy_((0.2 if "spatial.norm" in key else 1) * (1 + 0.1 * noise))
            elif key.endswith("gain"):
                tensor.fill_(0.5)
            elif key.endswith(("hop_features", "group_weight")):
                tensor.copy_(0.3 * noise)
            elif name == "stgcn" and tensor.ndim in (2, 4):  # its own are so small that no input reaches the logits
                tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
    return model


@pytest.fixture
def engine(tmp_path):
    def of(network: torch.nn.Module, **options: object):
        folder = tmp_path / "checkpoint"
        save_model(network, folder)
        config, about = network.config, native_network(network)
        spec = {
            "model": config.model,
            "variant": about.variant,
            "joints": config.skeleton.layout.num_joints,
            "persons": config.skeleton.persons,
            "classes": config.num_classes,
            "skip_empty": about.skip_empty,
            "group_of": list(about.group_of),
            "hop_of": list(about.hop_of),
        }
        changes = {key: options.pop(key) for key in list(options) if key in spec}
        return _native.engine(folder / "model.safetensors", **{**spec, **changes}, **options)

    return of


@torch.no_grad()
def truth(model: torch.nn.Module, clip: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits in float64, and in float32 as torch computes them."""
    plain = model(clip).numpy()
    exact = model.double()(clip.double()).numpy()
    model.float()
    return exact, plain


def random_clip(model: torch.nn.Module, frames: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    spec = model.config.skeleton
    shape = (batch, 3, frames, spec.layout.num_joints, spec.persons)
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(got - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize("name", MODELS)
def test_equals_torch(engine, name):
    """At most twice what torch loses in float32 against float64 (or a few units of the last place)."""
    for layout, persons, frames in (("ntu25", 2, 64), ("kinect20", 1, 13), ("mediapipe33", 1, 65), ("coco17", 3, 1)):
        model = trained_like(name, skeleton={"layout": layout, "persons": persons})
        clip = random_clip(model, frames)
        exact, plain = truth(model, clip)
        assert np.ptp(exact, axis=0).max() > 1e-3 * np.abs(exact).max(), "the clips make no difference"
        for isa in FLOAT_ISAS:
            got, _ = engine(model, isa=isa, threads=2).run(clip.numpy())
            assert error(got, exact) <= max(2 * error(plain, exact), 3e-6), (layout, frames, isa)


@pytest.mark.parametrize(("name", "variant"), [("ctrgcn", "pyskl"), ("stgcn", "continual")])
def test_variants_equal_torch(engine, name, variant):
    model = trained_like(name, layout="ntu25", variant=variant)
    clip = random_clip(model, 30)
    exact, plain = truth(model, clip)
    got, _ = engine(model).run(clip.numpy())
    assert error(got, exact) <= max(2 * error(plain, exact), 2e-6)


@pytest.mark.parametrize("name", MODELS)
def test_features_and_threads(engine, name):
    """Features are torch's, and the number of threads changes nothing, not even a bit."""
    model = trained_like(name, layout="ntu25")
    clip = random_clip(model, 24, batch=3)
    with torch.no_grad():
        plain = model.features(clip).numpy()
        exact = model.double().features(clip.double()).numpy()
    model.float()
    runs = [engine(model, threads=threads).run(clip.numpy()) for threads in (1, 2, 3)]
    assert error(runs[0][1], exact) <= max(2 * error(plain, exact), 3e-6)
    for logits, features in runs[1:]:
        np.testing.assert_array_equal(logits, runs[0][0])
        np.testing.assert_array_equal(features, runs[0][1])


@pytest.mark.parametrize("name", MODELS)
def test_profile_tells_the_time_of_each_step(engine, name):
    model = trained_like(name, layout="ntu25")
    network, clip = engine(model, threads=2), random_clip(model, 24, batch=3).numpy()
    before = network.run(clip)[0]
    start = time.perf_counter()
    seconds = network.profile(clip)
    wall = time.perf_counter() - start
    assert len(seconds) == 2 + 2 * 10  # input norm, two parts of each block, pooling
    assert min(seconds) > 0
    assert sum(seconds) <= wall
    np.testing.assert_array_equal(network.run(clip)[0], before)


@pytest.mark.skipif(not BF16_ISAS, reason="this CPU multiplies no bfloat16")
@pytest.mark.parametrize("name", ["ctrsgcn", "stgcn", "hyperformer"])
def test_bfloat16_is_near(engine, name):
    """Networks without a chaotic part lose what three digits lose; CTR-GCN is judged on trained weights below."""
    for layout, frames in (("ntu25", 64), ("mediapipe33", 17), ("coco17", 1)):
        model = trained_like(name, skeleton={"layout": layout, "persons": 1})
        clip = random_clip(model, frames)
        exact, _ = truth(model, clip)
        got, _ = engine(model, isa=BF16_ISAS[0]).run(clip.numpy())
        assert 1e-6 < error(got, exact) < 1e-2, (layout, frames)


@pytest.mark.skipif(not BF16_ISAS, reason="this CPU multiplies no bfloat16")
def test_bfloat16_on_trained_weights():
    """The shipped CTR-GCN on its reference skeletons: the same activities, scores within 0.02."""
    from ski_edge.runtime.verify import read_pose_reference

    wide, half = (open_bundle("utd27", "native", precision=precision) for precision in ("fp32", "bf16"))
    clips, _, _ = read_pose_reference(wide)
    scores = [session.score(session.classify(clips)) for session in (wide, half)]
    assert np.array_equal(*(each.argmax(1) for each in scores))
    assert 0 < np.abs(scores[0] - scores[1]).max() <= 0.02


def test_an_empty_body_is_a_constant(engine):
    """Zeros in a slot: the same numbers with and without computing it, in any mixture of clips."""
    model = trained_like("ctrgcn", layout="ntu25")
    assert native_network(model).skip_empty
    clip = random_clip(model, 20, batch=5).numpy()
    clip[1, ..., 1] = 0
    clip[3, ..., 1] = 0
    clip[4, ..., 0] = 0
    clip[2] = 0
    skipping, computing = engine(model).run(clip), engine(model, skip_empty=False).run(clip)
    for got, want in zip(skipping, computing, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


def test_any_strides(engine):
    """Views of other arrays, read-only ones too, give the numbers of a plain copy, without being copied."""
    model = trained_like("ctrgcn", layout="ntu25")
    clip = random_clip(model, 22, batch=4).numpy()
    run = engine(model).run
    want = run(clip)[0]
    channels_last = np.ascontiguousarray(clip.transpose(0, 2, 4, 3, 1)).transpose(0, 4, 1, 3, 2)
    channels_last.flags.writeable = False
    np.testing.assert_array_equal(run(channels_last)[0], want)
    wide = np.zeros((8, 3, 44, 25, 2), np.float32)
    wide[::2, :, ::2] = clip
    np.testing.assert_array_equal(run(wide[::2, :, ::2])[0], want)
    np.testing.assert_array_equal(run(clip[::-1])[0], want[::-1])


def test_batches_and_lengths_do_not_meddle(engine):
    model = trained_like("hyperformer", layout="ntu25")
    run = engine(model).run
    clip = random_clip(model, 40, batch=5).numpy()
    together = run(clip)[0]
    for frames in (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17):  # more lengths than the engine keeps plans for
        run(clip[:1, :, :frames])
    for i in range(5):
        np.testing.assert_array_equal(run(clip[i : i + 1])[0][0], together[i])


def test_no_clips(engine):
    logits, features = engine(trained_like("ctrgcn", layout="ntu25")).run(np.zeros((0, 3, 8, 25, 2), np.float32))
    assert logits.shape == (0, 12)
    assert features.shape == (0, 64)


def test_one_engine_serves_many_threads(engine):
    model = trained_like("ctrgcn", layout="ntu25")
    shared = engine(model, threads=2)
    clips = [random_clip(model, 16, batch=1, seed=seed).numpy() for seed in range(4)]
    want = [shared.run(clip)[0] for clip in clips]
    wrong = []

    def work(number: int) -> None:
        for _ in range(5):
            if not np.array_equal(shared.run(clips[number])[0], want[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((1, 3, 8, 20, 2), "25"),
        ((1, 3, 8, 25, 1), "persons"),
        ((1, 2, 8, 25, 2), r"\[N, 3, T, V, M\]"),
        ((8, 25), "axes"),
    ],
)
def test_wrong_clips_are_named(engine, shape, part):
    with pytest.raises(BadInput, match=part):
        engine(trained_like("ctrgcn", layout="ntu25")).run(np.zeros(shape, np.float32))


def test_numbers_that_are_none_are_refused(engine):
    """A ReLU would make zeros of them, and a confident answer."""
    clip = np.zeros((2, 3, 8, 25, 2), np.float32)
    for value in (np.nan, np.inf):
        clip[1, 2, 7, 24, 1] = value
        with pytest.raises(BadInput, match="body 1 of clip 1 holds NaN or infinity"):
            engine(trained_like("ctrgcn", layout="ntu25")).run(clip)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"variant": "other"}, "variant must be original or pyskl"),
        ({"classes": 13}, "head.weight"),
        ({"joints": 20}, "adjacency"),
        ({"persons": 3}, "input_norm"),
        ({"model": "hdgcn"}, "nearest neighbours"),
        ({"model": "resnet"}, "no network called resnet"),
        ({"threads": -1}, "threads must be 0"),
        ({"isa": "mmx"}, "'mmx' is not known"),
    ],
)
def test_what_does_not_fit_is_named(engine, change, part):
    with pytest.raises(BadInput, match=part):
        engine(trained_like("ctrgcn", layout="ntu25"), **change)


def test_auto_takes_the_native_engine():
    assert open_bundle("utd27").backend == "native"
    assert open_bundle("utd27", "onnxruntime").backend == "onnxruntime"
    with pytest.raises(DeviceRefused, match="video networks run on onnxruntime"):
        open_bundle("ski-vificlip", "native")
    with pytest.raises(PrecisionNotRealised, match="bf16"):
        open_bundle("utd27", "onnxruntime", precision="bf16")


def test_bfloat16_is_never_taken_by_accident(monkeypatch):
    """The environment may name an instruction set, not a precision."""
    if BF16_ISAS:
        monkeypatch.setenv("SKI_EDGE_ISA", BF16_ISAS[0])
        with pytest.raises(BadInput, match="must be asked for as a precision"):
            open_bundle("utd27", "native")
    monkeypatch.setenv("SKI_EDGE_ISA", "scalar")
    assert open_bundle("utd27", "native").backend == "native"


def test_a_fork_is_refused(tmp_path):
    """A child has none of the threads: it says so instead of waiting for them for ever."""
    code = """
import os, sys
import numpy as np
from ski_edge.runtime import open_bundle
session = open_bundle("utd27", "native", threads=2)
clip = np.zeros((1, 3, 32, 20, 1), np.float32)
session.run(skeleton=clip)
child = os.fork()
if child == 0:
    try:
        session.run(skeleton=clip)
    except ValueError as error:
        os._exit(7 if "fork" in str(error) else 8)
    os._exit(9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 7


def test_sessions_take_exactly_their_tensors():
    session = open_bundle("utd27", "native")
    clip = np.zeros((1, 3, 32, 20, 1), np.float32)
    with pytest.raises(BadInput, match=r"takes \['skeleton'\], got \['persons', 'skeleton'\]"):
        session._network.run(skeleton=clip, persons=np.array(1))
