"""A skeleton network on the project's own CUDA kernels: no ONNX Runtime, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ski_edge import _native
from ski_edge.bundle.manifest import SkeletonManifest
from ski_edge.errors import DeviceRefused
from ski_edge.files import member
from ski_edge.runtime import device_arrays
from ski_edge.runtime.native import EngineGraph, network_spec, why_not_network, why_not_windows
from ski_edge.runtime.ort import Device


def why_not_cuda(manifest: object, device: Device) -> str:
    """Empty when our CUDA kernels run this bundle on this device, else one line that says why not."""
    if reason := why_not_network(manifest):
        return reason
    if device.kind != "cuda":
        return f"backend cuda runs on a CUDA device, not on {device}; use device cuda, or backend native"
    return _native.why_not_cuda_engine(device.index) or why_not_windows(manifest)


class CudaGraph(EngineGraph):
    """On one CUDA device. The first clips of a size take longer: a CUDA graph is recorded, and replayed from then."""

    def __init__(self, folder: Path, manifest: SkeletonManifest, device: Device, precision: str = "fp32") -> None:
        """precision: of weights and activations, fp32, fp16 or bf16; sums are float32."""
        if reason := why_not_cuda(manifest, device):
            raise DeviceRefused(f"backend cuda is not available: {reason}")
        weights = member(folder, manifest.weights)
        engine = _native.cuda_engine(weights, device=device.index, precision=precision, **network_spec(manifest))
        super().__init__(folder, manifest, device, engine)

    def run_device(self, clip: Any) -> tuple[Any, Any]:
        """A CUDA array of torch or CuPy, see `device_arrays.run`, -> (logits, embedding) of the same library."""
        return device_arrays.run(self._engine, clip)
