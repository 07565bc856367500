"""A folder or a shipped name -> an open session of the right kind."""

from __future__ import annotations

from pathlib import Path

from ski_edge import _native
from ski_edge.bundle.manifest import SkeletonManifest, VideoManifest, check_files, read_manifest
from ski_edge.errors import BadInput, DeviceRefused, PrecisionNotRealised
from ski_edge.runtime.cuda import why_not_cuda
from ski_edge.runtime.native import why_not_native, why_not_precision
from ski_edge.runtime.ort import Device, parse_device
from ski_edge.runtime.pose_session import PoseSession
from ski_edge.runtime.session import Session
from ski_edge.runtime.video_sessions import SESSIONS

BACKENDS = ("onnxruntime", "native", "cuda")
PRECISIONS = ("fp32", "fp16", "bf16")  # of products; sums are float32
_DEVICE = {"native": "cpu", "cuda": "cuda"}  # what `auto` means to a backend of ours
_LATER = ("tensorrt",)  # known, and not in this version: no mistake of the user's
ZOO = Path(__file__).resolve().parents[1] / "zoo"


def open_bundle(
    folder: str | Path, backend: str = "auto", device: str = "auto", threads: int = 0, precision: str = "fp32"
) -> Session | PoseSession:
    """Open an exported bundle, or a shipped one by name. Every file's hash is checked before anything is loaded.

    backend: `auto`, `onnxruntime`, `native` (skeleton networks on our own kernels; what `auto` takes wherever it
    runs) or `cuda` (the same on a CUDA device); device: `auto`, `cpu`, `cuda`, `cuda:N`; threads: 0 = one per core;
    precision: what the backend computes in: `fp32`; `bf16` on cuda, and on native where the CPU multiplies it; `fp16`
    on cuda.
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
    chosen = parse_device(_DEVICE.get(backend, device) if device == "auto" else device)
    used, reason = _choose(backend, manifest, chosen)
    _check_precision(precision, used, reason)
    if isinstance(manifest, VideoManifest):
        return SESSIONS[manifest.video.pooling](folder, manifest, chosen, threads)
    return PoseSession(folder, manifest, chosen, threads, used, precision)


def _choose(backend: str, manifest: SkeletonManifest | VideoManifest, device: Device) -> tuple[str, str]:
    """The backend that runs, and why the native engine does not, if so."""
    reason = (why_not_cuda if backend == "cuda" else why_not_native)(manifest, device)
    if backend in ("native", "cuda") and reason:
        raise DeviceRefused(f"backend {backend} is not available: {reason}")
    if backend == "auto":
        return "onnxruntime" if reason else "native", reason
    return backend, reason


def _check_precision(precision: str, backend: str, why_not: str) -> None:
    """Raise unless the backend computes in this precision here. why_not: the native engine's reason, if any."""
    if precision not in PRECISIONS:
        raise BadInput(f"precision {precision!r} is not known; use {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    if precision == "fp32" or backend == "cuda":
        return
    if backend == "onnxruntime":
        because = f" ({why_not}); use fp32" if why_not else "; use backend native"
        raise PrecisionNotRealised(f"precision {precision}: onnxruntime runs this bundle in float32{because}")
    if reason := why_not_precision(precision):
        raise PrecisionNotRealised(f"precision {precision}: {reason}; or use fp32")


def check_backend(backend: str) -> None:
    """Raise unless the name is one of a backend that is here, or `auto`."""
    if backend in _LATER:
        raise DeviceRefused(
            f"backend {backend!r} is not in this version, which has: {', '.join(BACKENDS)}; use one of them, or auto"
        )
    if backend not in ("auto", *BACKENDS):
        raise BadInput(f"backend {backend!r} is not known; use auto, {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}")


def shipped() -> list[str]:
    """Names of the bundles that come with this package."""
    return sorted(path.parent.name for path in ZOO.glob("*/manifest.json"))


def find_bundle(name: str | Path) -> Path:
    """A shipped bundle's folder by its name; any other name is a path."""
    return ZOO / str(name) if str(name) in shipped() and not Path(name).exists() else Path(name)
