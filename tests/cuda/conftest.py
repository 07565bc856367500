"""Networks, engines and clips for the CUDA tests; on the host machine everywhere, on device 0 where there is one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import ski_edge
from ski_edge import _native
from ski_edge.export.pose import native_network
from ski_edge.models.checkpoint import save_model
from ski_edge.testing.weights import settled

HOST = -1
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pytest_collection_modifyitems(items):
    """A build without CUDA code skips all of them, visibly."""
    reason = _native.why_not_native() or ("" if _native.build_info()["cuda_archs"] else _native.why_not_cuda_engine())
    for item in items:
        if reason and item.path.parent.name == "cuda":
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(
    params=[
        pytest.param(HOST, id="host"),
        pytest.param(
            0,
            id="gpu",
            marks=pytest.mark.skipif(bool(_native.why_not_cuda_engine()), reason=_native.why_not_cuda_engine()),
        ),
    ]
)
def device(request) -> int:
    return request.param


@pytest.fixture
def gpu() -> int:
    if reason := _native.why_not_cuda_engine():
        pytest.skip(reason)
    return 0


@pytest.fixture(scope="session")
def network():
    """A tiny network with settled weights, each made once; treat it as read-only."""
    made = {}

    def of(name: str, layout: str = "ntu25", persons: int = 2, **config: object) -> torch.nn.Module:
        key = (name, layout, persons, *config.items())
        if key not in made:
            config.setdefault("arch", "tiny")
            skeleton = {"layout": layout, "persons": persons}
            made[key] = settled(ski_edge.create_model(name, seed=0, num_classes=12, skeleton=skeleton, **config))
        return made[key]

    return of


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """network, device, precision -> `_C.CudaEngine`."""
    saved = {}

    def of(model: torch.nn.Module, device: int, precision: str = "fp32", changes: dict[str, object] | None = None):
        if id(model) not in saved:
            folder = tmp_path_factory.mktemp("weights")
            save_model(model, folder / "checkpoint")
            saved[id(model)] = (model, folder / "checkpoint" / "model.safetensors")
        config, about = model.config, native_network(model)
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
        return _native.cuda_engine(
            saved[id(model)][1], device=device, precision=precision, **{**spec, **(changes or {})}
        )

    return of


@pytest.fixture
def clip():
    def of(model: torch.nn.Module, frames: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
        spec = model.config.skeleton
        shape = (batch, 3, frames, spec.layout.num_joints, spec.persons)
        sizes = torch.linspace(0.3, 0.9, batch).view(-1, 1, 1, 1, 1)  # or means over time would make clips alike
        return sizes * torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return of


@torch.no_grad()
def rounded(model: torch.nn.Module, clip: torch.Tensor, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features where only rounding is wrong: weights and the output of every module have the precision, but
    are computed with in float64."""
    dtype = DTYPES[precision]
    work = copy.deepcopy(model).double()
    for name, tensor in work.state_dict().items():
        if tensor.is_floating_point() and "running" not in name:  # graphs, too; norms are folded in full precision
            tensor.copy_(tensor.to(dtype))

    def shorten(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.to(dtype).double()

    for module in work.trunk.modules():
        module.register_forward_hook(shorten)
    return work(clip.double()).numpy(), work.features(clip.double()).numpy()


@torch.no_grad()
def truth(model: torch.nn.Module, clip: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features in float64."""
    work = copy.deepcopy(model).double()
    return work(clip.double()).numpy(), work.features(clip.double()).numpy()


@torch.no_grad()
def plain(model: torch.nn.Module, clip: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features as torch computes them in float32."""
    return model(clip).numpy(), model.features(clip).numpy()


def error(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(got - exact).max() / np.abs(exact).max())
