"""How verbs talk: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer

from ski_edge.errors import BadInput

_LONGEST_S = 366 * 24 * 3600.0
JSON = typer.Option(False, "--json", help="Print the result as JSON on stdout.")
DEVICE = typer.Option("auto", "-d", "--device", help="auto, cpu, cuda, cuda:N or N. What is not there is an error.")
BACKEND = typer.Option("auto", "--backend", help="auto, native, cuda or onnxruntime.")
PRECISION = typer.Option("fp32", "--precision", help="Computed in: fp32, bf16 (native, cuda) or fp16 (cuda).")
THREADS = typer.Option(0, "--threads", min=0, max=256, help="CPU threads; 0: one per core.")


def wants_json(arguments: Sequence[str]) -> bool:
    return "--json" in arguments


def emit(value: dict[str, Any], as_json: bool, text: str | Callable[[], str]) -> None:
    """The result of a verb, on stdout."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        typer.echo(text if isinstance(text, str) else text())


def log(text: str) -> None:
    """One line for people, on stderr."""
    typer.echo(text, err=True)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain text table under a title line."""
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for i, name in enumerate(header):
        grid.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console = Console(width=110, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(grid, markup=False)
    return f"{title}\n{capture.get().rstrip()}"


@contextlib.contextmanager
def steps(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A callback for long work: a spinner with the current step on a terminal, plain lines elsewhere."""
    if quiet:
        yield lambda step: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting ...") as status:
            yield lambda step: status.update(f"{step} ...")
    else:
        yield lambda step: log(f"{step} ...")


def seconds(text: str, name: str) -> float:
    """`0.5`, `0.5s`, `500ms`, `2m` -> seconds, above 0."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|h)?\s*", text)
    value = float(match[1]) * {"ms": 1e-3, "s": 1, None: 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < value <= _LONGEST_S:
        raise BadInput(f"{name} must be a time above 0 such as 0.5s or 200ms (at most a year), got {text!r}")
    return value
