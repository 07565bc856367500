"""What every export does: provenance, metadata, and no bundle without a passed comparison."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ski_edge
from ski_edge.bundle.manifest import Manifest, Provenance, file_entry, write_manifest
from ski_edge.files import write_json, write_text
from ski_edge.models.checkpoint import state_digest
from ski_edge.runtime import open_bundle
from ski_edge.runtime.native import why_not_native
from ski_edge.runtime.ort import Device
from ski_edge.runtime.parity import Parity

PARITY, CARD = "parity.json", "README.md"
_PACKAGES = ("ski-edge", "torch", "onnx", "onnxscript", "onnxruntime", "open_clip_torch", "numpy")


def ship(work: Path, manifest: Manifest, compare: Callable[[Any], Parity]) -> None:
    """Write the manifest, open the bundle, compare, and add parity.json; raises ParityFailed before anything ships.

    Every backend that can run the bundle here has to pass: ONNX Runtime, and for skeletons the native engine as well.
    """
    write_manifest(work, manifest)
    backends = ["onnxruntime"] if why_not_native(manifest, Device("cpu")) else ["onnxruntime", "native"]
    found = [compare(open_bundle(work, backend, device="cpu")) for backend in backends]
    for parity in found:
        parity.check()
    first, *others = (parity.as_dict() for parity in found)
    write_json(work / PARITY, {**first, **{parity["backend"]: parity for parity in others}})
    files = {**manifest.files, PARITY: file_entry(work / PARITY)}
    write_manifest(work, manifest.model_copy(update={"files": files}))


def write_card(work: Path, card: str | None) -> None:
    """The model card, as a file of the bundle like any other."""
    if card is not None:
        write_text(work / CARD, card)


def common_metadata(model: nn.Module, task: str, opset: int, precision: str) -> dict[str, str]:
    """Keys inside every ONNX file, so that it explains itself when it travels alone."""
    config = model.config
    return {
        "task": task,
        "model": config.model,
        "arch": config.arch,
        "precision": precision,
        "opset": str(opset),
        "weights": config.weights,
        "license": config.licence,
        "exporter": f"ski-edge {ski_edge.__version__}, torch {torch.__version__}",
        "created": now(),
    }


def provenance(model: nn.Module, opset: int) -> Provenance:
    return Provenance(
        weights=model.config.weights,
        weights_sha256=state_digest(model),
        created=now(),
        tools={name: _version(name) for name in _PACKAGES},
        opset=opset,
    )


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
