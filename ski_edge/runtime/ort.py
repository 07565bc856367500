"""One ONNX graph on ONNX Runtime. The provider that was asked for is the one that runs, or it is an error."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.errors import BadInput, DeviceRefused, MissingDependency, require

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Device:
    """kind: cpu or cuda; index: which CUDA device."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


def parse_device(text: str | int) -> Device:
    """`cpu`, `cuda`, `cuda:1`, `0` (a CUDA index), or `auto`: CUDA when ONNX Runtime can run on it, else the CPU."""
    if text == "auto":
        return Device("cpu") if why_not_device(Device("cuda")) else Device("cuda")
    match = re.fullmatch(r"(?P<kind>cpu|cuda)|(?:cuda:)?(?P<index>[0-9]{1,3})", str(text))
    if match is None:
        raise BadInput(f"device {text!r} is not known; use auto, cpu, cuda, cuda:N or N")
    return Device(match["kind"] or "cuda", int(match["index"] or 0))


# The smallest graph there is (y = Identity(x), float32 [1]), to see whether a provider really starts.
_PROBE = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a"
    "08080112040a02080142040a001011"
)


@functools.cache
def why_not_device(device: Device) -> str:
    """Empty when ONNX Runtime runs on this device here, else one line that says why not."""
    try:
        ort = require("onnxruntime", "cpu", "the onnxruntime backend")
    except MissingDependency as error:
        return str(error)
    provider = _PROVIDERS[device.kind]
    available = ort.get_available_providers()
    if provider not in available:
        return (
            f"this onnxruntime {ort.__version__} has no {provider} (it has {', '.join(available)}); on an NVIDIA GPU: "
            "pip uninstall onnxruntime && pip install 'ski-edge[gpu]'"
        )
    if device.kind == "cpu":
        return ""
    try:
        realised = _start(ort, _PROBE, device, threads=1).get_providers()[0]
    except Exception as error:  # onnxruntime raises its own classes, some private
        return f"{provider} does not start: {_one_line(error)}"
    return "" if realised == provider else f"{provider} does not start here; ONNX Runtime would fall back to {realised}"


def _start(ort: Any, model: str | bytes, device: Device, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors come back as exceptions; the log would say them twice
    settings = {"device_id": str(device.index)} if device.kind == "cuda" else {}
    return ort.InferenceSession(model, options, providers=[(_PROVIDERS[device.kind], settings)])


class OrtGraph:
    """An ONNX file ready to run. Inputs and outputs are numpy, by name."""

    def __init__(self, path: Path, device: Device, threads: int = 0) -> None:
        """threads: intra-op threads; 0 lets ONNX Runtime take one per physical core."""
        if reason := why_not_device(device):
            raise DeviceRefused(f"device {device} is not available: {reason}")
        ort = require("onnxruntime", "cpu", "the onnxruntime backend")
        provider = _PROVIDERS[device.kind]
        try:
            self._session = _start(ort, str(path), device, threads)
        except Exception as error:  # onnxruntime raises its own classes, some private
            raise BadInput(f"{path} does not load as ONNX: {_one_line(error)}; export it again") from error
        realised = self._session.get_providers()[0]
        if realised != provider:
            raise DeviceRefused(f"asked for {provider} on {device}, ONNX Runtime started {realised}; use --device cpu")
        self._path = path
        self.device = device
        self.version = str(ort.__version__)
        self.input_names = [tensor.name for tensor in self._session.get_inputs()]
        self.output_names = [tensor.name for tensor in self._session.get_outputs()]

    def check_shapes(
        self, inputs: dict[str, tuple[int | None, ...]], outputs: dict[str, tuple[int | None, ...]]
    ) -> None:
        """The graph takes and gives what the manifest says; shapes without the batch axis, None: any size."""
        for wanted, tensors in ((inputs, self._session.get_inputs()), (outputs, self._session.get_outputs())):
            found = {tensor.name: tensor.shape[1:] for tensor in tensors}
            fits = found.keys() == wanted.keys() and all(
                len(shape) == len(found[name]) and all(a in (None, b) for a, b in zip(shape, found[name], strict=True))
                for name, shape in wanted.items()
            )
            if not fits:
                raise BadInput(f"{self._path} has tensors {found}, the manifest says {wanted}; export the bundle again")

    def run(self, **tensors: np.ndarray) -> dict[str, np.ndarray]:
        """Run the graph; takes and gives exactly its tensors, by name."""
        if set(tensors) != set(self.input_names):
            raise BadInput(f"the graph takes {self.input_names}, got {sorted(tensors)}")
        try:
            outputs = self._session.run(self.output_names, tensors)
        except Exception as error:  # shape and dtype complaints of the runtime
            shapes = {name: f"{x.dtype} {list(x.shape)}" for name, x in tensors.items()}
            raise BadInput(f"the graph refused {shapes}: {_one_line(error)}") from error
        return dict(zip(self.output_names, outputs, strict=True))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
