"""One ONNX graph on ONNX Runtime. The provider that was asked for is the one that runs, or it is an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


def parse_device(text: str) -> Device:
    """`cpu`, `cuda`, `cuda:1`, `0` (a CUDA index), or `auto`: CUDA when ONNX Runtime can run on it, else the CPU."""
    if text == "auto":
        return Device("cpu") if why_not_device(Device("cuda")) else Device("cuda")
    kind, _, index = text.partition(":")
    if text.isdigit():
        kind, index = "cuda", text
    if kind not in _PROVIDERS or (index and (kind == "cpu" or not index.isdigit())):
        raise BadInput(f"device {text!r} is not known; use auto, cpu, cuda, cuda:N or N")
    return Device(kind, int(index or 0))


def why_not_device(device: Device) -> str:
    """Empty when ONNX Runtime offers this device here, else one line that says why not."""
    try:
        ort = require("onnxruntime", "cpu", "the onnxruntime backend")
    except MissingDependency as error:
        return str(error)
    provider = _PROVIDERS[device.kind]
    if provider not in ort.get_available_providers():
        return (
            f"this onnxruntime {ort.__version__} has no {provider} "
            f"(it has {', '.join(ort.get_available_providers())}); on an NVIDIA GPU: "
            "pip uninstall onnxruntime && pip install 'ski-edge[gpu]'"
        )
    return ""


class OrtGraph:
    """An ONNX file ready to run. Inputs and outputs are numpy, by name."""

    def __init__(self, path: Path, device: Device, threads: int = 0) -> None:
        """threads: intra-op threads; 0 lets ONNX Runtime take one per physical core."""
        if reason := why_not_device(device):
            raise DeviceRefused(f"device {device} is not available: {reason}")
        ort = require("onnxruntime", "cpu", "the onnxruntime backend")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors come back as exceptions; the log would say them twice
        provider = _PROVIDERS[device.kind]
        settings = {"device_id": str(device.index)} if device.kind == "cuda" else {}
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[(provider, settings)])
        except Exception as error:  # onnxruntime raises its own classes, some private
            raise BadInput(f"{path} does not load as ONNX: {_one_line(error)}; export it again") from error
        realised = self._session.get_providers()[0]
        if realised != provider:
            raise DeviceRefused(f"asked for {provider} on {device}, ONNX Runtime started {realised}; use --device cpu")
        self.device = device
        self.input_names = [tensor.name for tensor in self._session.get_inputs()]
        self.output_names = [tensor.name for tensor in self._session.get_outputs()]

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
