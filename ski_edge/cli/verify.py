"""`ski-edge verify`: does a bundle still compute what its model computed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ski_edge.cli.output import BACKEND, DEVICE, JSON, PRECISION, THREADS, emit, log, table
from ski_edge.errors import BadInput, require


def register(app: typer.Typer) -> None:
    app.command("verify", help="Compare a bundle with its reference, or with the live torch model. Exit 3 on failure.")(
        verify
    )


def verify(
    bundle: Path = typer.Argument(..., metavar="DIR", help="Bundle folder or shipped name."),
    clips: Path = typer.Option(None, help="Folder of videos (pose: of prepared data) to compare on, with --weights."),
    weights: str = typer.Option(None, help="Compare with the live torch model of these weights."),
    backend: str = BACKEND,
    device: str = DEVICE,
    threads: int = THREADS,
    precision: str = PRECISION,
    as_json: bool = JSON,
) -> None:
    from ski_edge.runtime import about_streaming, open_bundle
    from ski_edge.runtime.verify import verify as verify_reference

    if clips and not weights:
        raise BadInput("--clips needs --weights: for new clips the expected numbers come from the live torch model")
    session = open_bundle(bundle, backend, device, threads, precision)
    results = [verify_reference(session)]
    if weights:
        require("torch", "export", "verify --weights")
        from ski_edge.export import compare_live
        from ski_edge.models import resolve_weights

        model = resolve_weights(session.manifest.model, weights, session.manifest.arch)
        results.append(compare_live(session, model, clips))
    for parity in results:
        if not parity.passed and not as_json:
            log(_text(bundle, parity))
        parity.check()
    comparisons = [parity.as_dict() for parity in results]
    streams = about_streaming(session.manifest)
    lines = [*(_text(bundle, parity) for parity in results), *([streams] if streams else []), "passed"]
    kept = session.manifest.streaming if streams else None  # an older bundle does not say
    about = {"streaming": kept and kept.model_dump(mode="json")} if streams else {}
    emit({"passed": True, "comparisons": comparisons, **about}, as_json, "\n".join(lines))


def _text(bundle: Path, parity: Any) -> str:
    rows = [
        [name, f"{d.max_abs_error:.2e}", f"{d.mean_abs_error:.2e}", f"{d.relative_error:.2e}", f"{d.min_cosine:.8f}"]
        for name, d in parity.parts.items()
    ]
    where = f"{bundle} on {parity.backend}/{parity.device}"
    title = f"{where} against {parity.reference} ({parity.count} {parity.inputs})"
    grid = table(title, ["", "max abs", "mean abs", "relative", "min cosine"], rows)
    return f"{grid}\ntop-1 agreement {parity.top1_agreement:.3f} of {parity.decided} decided inputs"
