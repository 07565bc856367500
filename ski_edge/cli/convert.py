"""`ski-edge convert`: an official checkpoint file becomes a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import typer

from ski_edge.cli.output import JSON, emit, steps
from ski_edge.errors import BadInput, require

# Named here because importing them brings torch; a test compares.
_FAMILIES = (
    *(
        "ski-vificlip",
        "vificlip",
        "xclip",
        "ski-xclip",
        "froster",
        "ski-froster",
        "clip",
        "skeletonclip",
        "ctrgcn",
        "mmcl",
        "ctrsgcn",
        "hdgcn",
        "stgcn",
        "crossclr",
        "hyperformer",
    ),
    *("pyskl-ctrgcn", "costgcn"),
)


def register(app: typer.Typer) -> None:
    app.command("convert", help="Turn an official checkpoint (video or skeleton) into a checkpoint folder.")(convert)


def convert(
    source: Path = typer.Argument(..., metavar="IN", help="Checkpoint file: .pth, .pt or .safetensors."),
    out: Path = typer.Option(..., help="Checkpoint folder to write."),
    family: str = typer.Option("auto", "--from", help=f"auto, {', '.join(_FAMILIES)}."),
    settings: list[str] = typer.Option(
        [],
        "--set",
        metavar="KEY=VALUE",
        help="classes (file or list), licence; video: activation, base, template; skeleton: body2 (zeros or copy), "
        "centre (HD-GCN: a joint), layout, modality; SKI phase 2: part (video or skeleton). May be repeated.",
    ),
    as_json: bool = JSON,
) -> None:
    parsed = {}
    for item in settings:
        key, equals, value = item.partition("=")
        if not equals or not value:
            raise BadInput(f"--set {item!r} must be KEY=VALUE")
        parsed[key] = value
    with steps(quiet=as_json) as step:
        step("loading torch")
        require("torch", "export", "convert")
        from ski_edge.bundle import read_labels
        from ski_edge.files import check_replaceable
        from ski_edge.models import save_model
        from ski_edge.models.checkpoint import is_checkpoint
        from ski_edge.models.convert import convert as read
        from ski_edge.models.convert import parse_settings

        check_replaceable(out, is_checkpoint)
        if "classes" in parsed:
            parsed["classes"] = tuple(label.name for label in read_labels(parsed["classes"]))
        values = parse_settings(parsed)
        step(f"reading {source}")
        model = read(source, family, values)
        step(f"writing {out}")
        save_model(model, out)
    config = model.config
    lines = [f"{out}: {config.model} {config.arch}", *(f"  {note}" for note in config.notes)]
    lines.append(f"  licence: {config.licence}")
    export = f"ski-edge export --model {config.model} --weights {out} --out BUNDLE"
    teaches = config.model == "skeletonclip"
    lines.append(f"next: {f'ski-edge train RECIPE, with teacher.init: {out}' if teaches else export}")
    emit({"checkpoint": str(out), "config": config.model_dump(mode="json")}, as_json, "\n".join(lines))
