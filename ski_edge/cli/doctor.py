"""`ski-edge doctor`: what is installed, what works on this machine, and why the rest does not. Paste-ready."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit

_PACKAGES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "open_clip_torch", "onnx", "onnxscript", "tensorrt", "pycuda",
    "opencv-contrib-python", "opencv-python", "opencv-python-headless", "opencv-contrib-python-headless",
    "mediapipe", "tokenizers", "safetensors", "matplotlib", "lightning", "transformers",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("doctor", help="What is installed, what works here and why not. Paste it into bug reports.")(doctor)


def doctor(as_json: bool = JSON) -> None:
    report = examine()
    emit(report, as_json, lambda: _text(report))


def examine() -> dict[str, Any]:
    """The report as a JSON-able dict. An empty `why_not` means: works."""
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    return {
        "ski_edge": _version("ski-edge") or "not installed (running from a checkout)",
        "system": _system(),
        "packages": versions,
        "native": _native(),
        "why_not": {
            "run a bundle": _why_not("onnxruntime", "cpu", "running a bundle"),
            "run on CUDA": _why_not_cuda_runtime(),
            "native engine in bfloat16": _native_bf16(),
            "native kernels on CUDA": _native_cuda(),
            "read video and cameras": _why_not("cv2", "video", "reading video"),
            "find people (MediaPipe)": _why_not_mediapipe(),
            "train": _first(_why_not(m, "train", "training") for m in ("torch", "lightning")),
            "export and convert": _first(
                _why_not(m, "export", "export") for m in ("torch", "open_clip", "onnx", "onnxscript")
            ),
            "timeline and benchmark pictures": _why_not("matplotlib", "plot", "pictures"),
            "TensorRT": "this version has no TensorRT backend; bundles run on ONNX Runtime or our own kernels",
        },
        "warnings": _conflicts(versions),
    }


def _version(package: str) -> str:
    import importlib.metadata  # 25 ms that --help need not pay

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _why_not(module: str, extra: str, what: str) -> str:
    from ski_edge.errors import MissingDependency, require

    try:
        require(module, extra, what)
    except MissingDependency as error:
        return str(error)
    return ""


def _first(reasons: Any) -> str:
    return next((reason for reason in reasons if reason), "")


def _why_not_cuda_runtime() -> str:
    from ski_edge.runtime.ort import Device, why_not_device

    return why_not_device(Device("cuda"))


def _why_not_mediapipe() -> str:
    from ski_edge.monitor.pose import why_not_mediapipe

    return why_not_mediapipe()


def _native() -> dict[str, Any]:
    from ski_edge import _native

    reason = _native.why_not_native()
    return (
        {"why_not": reason}
        if reason
        else {"why_not": "", **_native.build_info(), "devices": _cuda_devices(), "isas": _native.isas()}
    )


def _native_bf16() -> str:
    from ski_edge import _native

    return _native.why_not_bf16()


def _native_cuda() -> str:
    from ski_edge import _native

    return _native.why_not_cuda_engine()


def _cuda_device(number: int, device: dict[str, Any]) -> str:
    major, minor = divmod(device["sm"], 10)
    says = f"cuda:{number}: {device['name']}, compute capability {major}.{minor}, {device['memory'] / 1e9:.1f} GB"
    return says + (f"; {device['why_not']}" if device["why_not"] else "")


def _cuda_devices() -> list[dict[str, Any]]:
    from ski_edge import _native

    return [
        {**device, "why_not": _native.why_not_cuda_engine(number)}
        for number, device in enumerate(_native.cuda_devices())
    ]


def _system() -> dict[str, Any]:
    from ski_edge.runtime.measure import machine

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0.0
    release = Path("/etc/nv_tegra_release")
    jetson = release.read_text(errors="replace").splitlines()[0] if release.is_file() else ""
    cameras = sorted(str(p) for p in Path("/dev").glob("video*"))
    return {
        **machine(),
        "memory_gb": round(memory, 1),
        "release": platform.release(),
        "jetson": jetson,
        "cameras": cameras,
    }


def _conflicts(versions: dict[str, str]) -> list[str]:
    found = []
    opencv = [name for name in versions if name.startswith("opencv")]
    if len(opencv) > 1:
        found.append(
            f"{' and '.join(opencv)} overwrite each other's cv2; run: pip uninstall -y {' '.join(opencv)} "
            "&& pip install opencv-contrib-python"
        )
    if "onnxruntime" in versions and "onnxruntime-gpu" in versions:
        found.append("onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, then install one")
    return found


def _text(report: dict[str, Any]) -> str:
    system, native = report["system"], report["native"]
    lines = [
        f"ski-edge {report['ski_edge']}",
        f"{system['cpu']}, {system['cores']} cores, {system['memory_gb']} GB, {system['system']}",
        f"Python {system['python']}",
        *([system["jetson"]] if system["jetson"] else []),
        f"cameras: {', '.join(system['cameras']) or 'none in /dev'}",
        "",
        "packages: " + ", ".join(f"{name} {version}" for name, version in report["packages"].items()),
    ]
    if native["why_not"]:
        lines.append(f"native module: {native['why_not']}")
    else:
        cuda = (
            f"CUDA {native['cuda_version']} code for {native['cuda_archs']}"
            if native["cuda_version"]
            else "no CUDA code"
        )
        isas = ", ".join(isa for isa, reason in native["isas"].items() if not reason)
        lines.append(f"native module: {native['version']}, {native['compiler']}, {cuda}; CPU kernels for {isas}")
        lines += [_cuda_device(number, device) for number, device in enumerate(native["devices"])]
    lines.append("")
    for what, reason in report["why_not"].items():
        lines.append(f"  {'no ' if reason else 'yes'}  {what}" + (f": {reason}" if reason else ""))
    lines += [f"  warning: {text}" for text in report["warnings"]]
    return "\n".join(lines)
