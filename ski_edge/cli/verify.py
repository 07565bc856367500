"""`ski-edge verify`: does a bundle still compute what its model computed?"""

from __future__ import annotations

from pathlib import Path

import typer

from ski_edge.cli.output import BACKEND, DEVICE, JSON, THREADS, emit, table
from ski_edge.errors import BadInput, require


def register(app: typer.Typer) -> None:
    app.command("verify", help="Compare a bundle with its reference, or with the live torch model. Exit 3 on failure.")(
        verify
    )


def verify(
    bundle: Path = typer.Argument(..., metavar="DIR", help="Bundle folder."),
    clips: Path = typer.Option(None, help="Folder of videos to compare on (with --weights)."),
    weights: str = typer.Option(None, help="Compare with the live torch model of these weights."),
    backend: str = BACKEND,
    device: str = DEVICE,
    threads: int = THREADS,
    as_json: bool = JSON,
) -> None:
    from ski_edge.runtime import open_bundle
    from ski_edge.runtime.verify import verify as verify_reference

    if clips and not weights:
        raise BadInput("--clips needs --weights: for new clips the expected numbers come from the live torch model")
    session = open_bundle(bundle, backend, device, threads)
    if weights:
        require("torch", "export", "verify --weights")
        from ski_edge.export.live import compare_live, reference_frames
        from ski_edge.models import resolve_weights

        model = resolve_weights(session.manifest.model, weights, session.manifest.arch)
        frames, inputs = reference_frames(clips)
        parity = compare_live(session, model, frames, inputs)
    else:
        parity = verify_reference(session)
    rows = [("frame embeddings", parity.frames)] + ([("label embeddings", parity.labels)] if parity.labels else [])
    header = ["", "max abs", "mean abs", "relative", "min cosine"]
    cells = [
        [name, f"{d.max_abs_error:.2e}", f"{d.mean_abs_error:.2e}", f"{d.relative_error:.2e}", f"{d.min_cosine:.8f}"]
        for name, d in rows
    ]
    title = (
        f"{bundle} on {parity.backend}/{parity.device} against {parity.reference} ({parity.num_frames} {parity.inputs})"
    )
    text = table(title, header, cells)
    text += f"\ntop-1 agreement {parity.top1_agreement:.3f} of {parity.decided_frames} decided frames"
    if parity.passed or not as_json:
        emit(parity.as_dict(), as_json, text + ("\npassed" if parity.passed else ""))
    parity.check()
