"""`ski-edge VERB`: errors become one line and an exit code, results go to stdout, logs to stderr."""

from __future__ import annotations

import json
import signal
import sys

import typer

from ski_edge.cli import benchmark, convert, data, doctor, ensemble, evaluate, export, monitor, train, verify
from ski_edge.cli.output import wants_json
from ski_edge.errors import SkiEdgeError

_STOPPED = 130  # 128 + SIGINT, as shells say it

app = typer.Typer(
    name="ski-edge",
    help="Recognise Activities of Daily Living on the device beside the camera.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (train, evaluate, ensemble, export, convert, verify, benchmark, monitor, data, doctor):
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
        if code == _STOPPED:  # typer's own answer to KeyboardInterrupt
            return _fail("stopped", _STOPPED, arguments)
        return code if isinstance(code, int) else 0
    except SkiEdgeError as error:
        return _fail(str(error), error.exit_code, arguments, error.details)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", _STOPPED, arguments)
    except BrokenPipeError:  # `ski-edge ... | head`
        sys.stderr.close()
        return 0
    except MemoryError:
        return _fail("not enough memory; use a smaller model, or free some", 2, arguments)
    except OSError as error:  # a full or read-only disk, a path that cannot be
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; choose another place, or free it", 2, arguments)
    except Exception as error:
        if type(error).__module__ == "sqlite3":
            return _fail(
                f"the event database cannot be written: {error}; free the disk, or choose another --out", 2, arguments
            )
        # Usage errors: typer carries click's classes under a private name, which moved between versions.
        if hasattr(error, "format_message"):
            return _fail(f"{error.format_message().rstrip('.')}; see ski-edge --help", 2, arguments)
        raise


def _fail(message: str, code: int, arguments: list[str], details: dict[str, object] | None = None) -> int:
    from ski_edge.redact import redact_text

    message = redact_text(" ".join(message.split()))
    typer.echo(f"error: {message}", err=True)
    if wants_json(arguments):
        typer.echo(json.dumps({"error": message, "exit_code": code, **(details or {})}, ensure_ascii=False))
    return code


def entry() -> None:
    """Console script. SIGTERM and SIGHUP end it like Ctrl-C, so that nothing half-written stays behind."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    sys.exit(main())


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    entry()
