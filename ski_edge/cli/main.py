"""`ski-edge VERB`: errors become one line and an exit code, results go to stdout, logs to stderr."""

from __future__ import annotations

import json
import sys

import typer

from ski_edge.cli import benchmark, convert, doctor, export, monitor, verify
from ski_edge.cli.output import wants_json
from ski_edge.errors import SkiEdgeError

app = typer.Typer(
    name="ski-edge",
    help="Recognise Activities of Daily Living on the device beside the camera.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (export, convert, verify, benchmark, monitor, doctor):
    verb.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from ski_edge import __version__

        typer.echo(__version__)
        raise typer.Exit()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (0, 2, 3, 4 or 5; see ski_edge.errors)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SkiEdgeError as error:
        return _fail(str(error), error.exit_code, arguments)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", 130, arguments)
    except BrokenPipeError:  # `ski-edge ... | head`
        sys.stderr.close()
        return 0
    except Exception as error:
        # Usage errors: typer carries click's classes under a private name, which moved between versions.
        if hasattr(error, "format_message"):
            return _fail(f"{error.format_message().rstrip('.')}; see ski-edge --help", 2, arguments)
        raise


def _fail(message: str, code: int, arguments: list[str]) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    if wants_json(arguments):
        typer.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
