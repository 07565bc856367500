"""`ski-edge export`: a model becomes a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import JSON, emit, log, steps
from ski_edge.errors import BadInput, require


def register(app: typer.Typer) -> None:
    app.command("export", help="Export a model as a verified bundle (ONNX) for the device.")(export)


def export(
    model: str = typer.Option(..., "-m", "--model", help="vificlip, ski-xclip, ski-froster, ctrgcn, hyperformer, ..."),
    weights: str = typer.Option(None, help="random, a checkpoint folder, an official file, or openclip:TAG."),
    arch: str = typer.Option(
        None, help="ViT-B-16, ViT-B-32, ViT-L-14, ViT-L-14-336, mini, tiny; pose: base, small, tiny."
    ),
    out: Path = typer.Option(None, help="Bundle folder to write. Default: runs/export/MODEL."),
    classes: str = typer.Option(
        None, help="Label file, a,b,c, ntu60 or ntu120 (video models). Default: the model's, else ntu60."
    ),
    format: str = typer.Option("onnx", help="onnx."),
    precision: str = typer.Option("fp32", help="fp32; for pose also fp16-storage (half the file, float32 arithmetic)."),
    opset: int = typer.Option(18, help="ONNX opset, 18 to 23."),
    clips: Path = typer.Option(None, help="Videos (pose: prepared data) for the parity check. Default: generated."),
    card: Path = typer.Option(None, help="Model card (text) that travels in the bundle as README.md."),
    as_json: bool = JSON,
) -> None:
    if format != "onnx":
        raise BadInput(f"--format {format!r} is not available; this version writes onnx")
    out = out or Path("runs/export") / model
    with steps(quiet=as_json) as step:
        step("loading torch")
        for package in ("torch", "onnx", "onnxscript"):
            require(package, "export", "export")
        from ski_edge.bundle import read_labels, read_manifest
        from ski_edge.export import export_model
        from ski_edge.models import resolve_weights

        labels = read_labels(classes) if classes is not None else None
        step(f"building {model}")
        network = resolve_weights(model, weights, arch)
        export_model(
            network, out, classes=labels, precision=precision, opset=opset, clips=clips, card=card, progress=step
        )
    if weights == "random":
        log("note: the weights are random; speed is real, labels are meaningless until trained weights are used")
    for line in network.config.notes:
        log(f"note: {line}")
    manifest = read_manifest(out)
    emit({"bundle": str(out), "manifest": manifest.model_dump(mode="json")}, as_json, lambda: _text(out, manifest))


def _text(out: Path, manifest: Any) -> str:
    import json

    from ski_edge.runtime import about_streaming

    parity = json.loads((out / "parity.json").read_text("utf-8"))
    size = sum(entry.bytes for entry in manifest.files.values()) / 1e6
    labels = len(json.loads((out / "labels.json").read_text("utf-8")))
    part = next(parity[name] for name in ("frames", "clips", "logits") if name in parity)
    if manifest.task == "video-text":
        per, source = f"a {manifest.video.mode}", "VIDEO"
    else:
        per, source = "a window", "VIDEO --pose mediapipe"
    streams = f"{line}\n" if (line := about_streaming(manifest)) else ""
    return (
        f"{out}: {manifest.model} {manifest.arch}, {labels} labels, {size:.1f} MB, "
        f"{manifest.cost.gmacs:.3g} GMACs {per}; parity with torch on {parity['inputs']}: "
        f"max error {part['max_abs_error']:.1e}, cosine {part['min_cosine']:.7f}\n"
        f"{streams}"
        f"next: ski-edge monitor --model {out} --source {source}"
    )
