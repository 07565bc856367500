"""A skeleton network on the project's own CPU kernels: no ONNX Runtime, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ski_edge import _native
from ski_edge.bundle.manifest import SkeletonManifest
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.files import member
from ski_edge.runtime.ort import Device


def why_not_native(manifest: object, device: Device) -> str:
    """Empty when the native engine runs this bundle on this device, else one line that says why not."""
    return why_not_native_network(manifest, device) or why_not_windows(manifest)


def why_not_windows(manifest: object) -> str:
    """Empty when a network that our kernels have also computes whole windows, not just frame by frame."""
    assert isinstance(manifest, SkeletonManifest)  # `why_not_network`
    if manifest.streaming is not None and manifest.streaming.trained == "unpadded":
        return (
            f"these weights of {manifest.model} are trained without padding, which the native engine computes frame by "
            "frame only (SkeletonStream); whole windows run on onnxruntime"
        )
    return ""


def why_not_native_network(manifest: object, device: Device) -> str:
    """As `why_not_native`, but of windows and streams alike."""
    if reason := _native.why_not_native():
        return reason
    if isinstance(manifest, SkeletonManifest) and device.kind != "cpu":
        return f"the native engine runs on the CPU, not on {device}; use device cpu, or backend cuda or onnxruntime"
    return why_not_network(manifest)


def why_not_network(manifest: object) -> str:
    """Empty when our own kernels, on whatever device, have this bundle's network."""
    if not isinstance(manifest, SkeletonManifest):
        return "the native engine runs skeleton networks; video networks run on onnxruntime"
    if manifest.native is None:
        return "this bundle was exported before there was a native engine; export it again"
    return _native.why_not_engine(manifest.model)


def why_not_precision(precision: str) -> str:
    """Empty when the native engine computes in this precision here, else one line that says why not."""
    if precision == "fp16":
        return "the CPU kernels have no fp16; use backend cuda, or bf16 where the CPU multiplies it"
    return _native.why_not_bf16() if precision == "bf16" else ""


def network_spec(manifest: SkeletonManifest) -> dict[str, object]:
    """The fields of `NetworkSpec` (ski_edge/engine.h)."""
    assert manifest.native is not None  # `why_not_native`
    return {
        "model": manifest.model,
        "variant": manifest.native.variant,
        "joints": manifest.skeleton.layout.num_joints,
        "persons": manifest.skeleton.persons,
        "classes": manifest.num_classes,
        "skip_empty": manifest.native.skip_empty,
        "group_of": list(manifest.native.group_of),
        "hop_of": list(manifest.native.hop_of),
    }


class EngineGraph:
    """A bundle's network on one of our engines; takes and gives what its ONNX graph does."""

    def __init__(self, folder: Path, manifest: SkeletonManifest, device: Device, engine: Any) -> None:
        self._persons = manifest.skeleton.persons
        self._inputs = {"skeleton", "persons"} if manifest.takes_persons else {"skeleton"}
        self._engine = engine
        if engine.feature_dim != manifest.embed_dim:
            raise BadInput(
                f"{folder}: the weights give {engine.feature_dim} features, the manifest says "
                f"{manifest.embed_dim}; export the bundle again"
            )
        self.device = device
        self.version = str(_native.build_info()["version"])

    def run(self, **tensors: np.ndarray) -> dict[str, np.ndarray]:
        """skeleton float32 [N, 3, T, V, M], and where the graph takes it persons int64 [] -> logits [N, K], embedding
        [N, D]. Slots from `persons` on are empty. Checked by `PoseSession.run`."""
        if set(tensors) != self._inputs:
            raise BadInput(f"the graph takes {sorted(self._inputs)}, got {sorted(tensors)}")
        clip, persons = tensors["skeleton"], int(tensors.get("persons", self._persons))
        if persons < self._persons and clip[..., persons:].any():
            clip = clip.copy()
            clip[..., persons:] = 0
        logits, embedding = self._engine.run(clip)
        return {"logits": logits, "embedding": embedding}


class NativeGraph(EngineGraph):
    """On the CPU kernels."""

    def __init__(
        self, folder: Path, manifest: SkeletonManifest, device: Device, threads: int = 0, precision: str = "fp32"
    ) -> None:
        """threads: 0 takes one per CPU this process may use; precision: checked by `open_bundle`."""
        if reason := why_not_native(manifest, device):
            raise DeviceRefused(f"backend native is not available: {reason}")
        engine = _native.engine(
            member(folder, manifest.weights),
            threads=threads,
            isa=_native.bf16_isa() if precision == "bf16" else "",
            **network_spec(manifest),
        )
        super().__init__(folder, manifest, device, engine)
        self.isa = engine.isa
        self.threads = engine.threads
