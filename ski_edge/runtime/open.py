"""A folder or a shipped name -> an open session of the right kind."""

from __future__ import annotations

from pathlib import Path

from ski_edge import _native
from ski_edge.bundle.manifest import VideoManifest, check_files, read_manifest
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.runtime.native import check_precision, why_not_native
from ski_edge.runtime.ort import parse_device
from ski_edge.runtime.pose_session import PoseSession
from ski_edge.runtime.session import Session
from ski_edge.runtime.video_sessions import SESSIONS

BACKENDS = ("onnxruntime", "native")
_LATER = ("tensorrt",)  # known, and not in this version: no mistake of the user's
ZOO = Path(__file__).resolve().parents[1] / "zoo"


def open_bundle(
    folder: str | Path, backend: str = "auto", device: str = "auto", threads: int = 0, precision: str = "fp32"
) -> Session | PoseSession:
    """Open an exported bundle, or a shipped one by name. Every file's hash is checked before anything is loaded.

    backend: `auto`, `onnxruntime`, or `native` (skeleton networks on our own kernels; what `auto` takes wherever it
    runs); device: `auto`, `cpu`, `cuda`, `cuda:N`; threads: 0 = one per core;
    precision: what the backend computes in: `fp32`, or `bf16` on the native engine where the CPU multiplies it.
    Raises BadInput for a damaged bundle or an argument that is none of these, DeviceRefused for a backend or device
    that is not there, PrecisionNotRealised for a precision that it does not compute in.
    """
    check_backend(backend)
    _native.check_threads(threads)
    folder = find_bundle(folder)
    if not folder.exists():
        raise BadInput(
            f"bundle {folder} does not exist, and no bundle of this name ships ({', '.join(shipped())}); "
            f"make one with: ski-edge export --out {folder}"
        )
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    chosen = parse_device("cpu" if backend == "native" and device == "auto" else device)
    reason = why_not_native(manifest, chosen)
    if backend == "native" and reason:
        raise DeviceRefused(f"backend native is not available: {reason}")
    native = not reason and backend != "onnxruntime"
    check_precision(precision, native, reason)
    if isinstance(manifest, VideoManifest):
        return SESSIONS[manifest.video.pooling](folder, manifest, chosen, threads)
    return PoseSession(folder, manifest, chosen, threads, "native" if native else "onnxruntime", precision)


def check_backend(backend: str) -> None:
    """Raise unless the name is one of a backend that is here, or `auto`."""
    if backend in _LATER:
        raise DeviceRefused(
            f"backend {backend!r} is not in this version, which has: {', '.join(BACKENDS)}; use one of them, or auto"
        )
    if backend not in ("auto", *BACKENDS):
        raise BadInput(f"backend {backend!r} is not known; use auto, {' or '.join(BACKENDS)}")


def shipped() -> list[str]:
    """Names of the bundles that come with this package."""
    return sorted(path.parent.name for path in ZOO.glob("*/manifest.json"))


def find_bundle(name: str | Path) -> Path:
    """A shipped bundle's folder by its name; any other name is a path."""
    return ZOO / str(name) if str(name) in shipped() and not Path(name).exists() else Path(name)
