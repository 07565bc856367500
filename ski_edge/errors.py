"""Errors a user can cause or meet. Each says what was wrong, what arrived and what to do, in one line.

`exit_code` is what the command line returns: 0 ok, 2 usage or bad input, 3 parity failed, 4 precision not
realised, 5 device fallback refused.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class SkiEdgeError(Exception):
    """Base of everything ski-edge raises on purpose.

    details: what a program wants to know beside the line for people; printed with `--json`.
    """

    exit_code = 2

    def __init__(self, message: str, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}


class BadInput(SkiEdgeError, ValueError):
    """A file, flag, tensor or stream that breaks a rule."""


class MissingDependency(SkiEdgeError, ImportError):
    """A package that an optional part needs is not installed."""


class ParityFailed(SkiEdgeError):
    """An exported graph does not compute what its model computes."""

    exit_code = 3


class PrecisionNotRealised(SkiEdgeError):
    """The file that was written does not hold the precision that was asked for."""

    exit_code = 4


class DeviceRefused(SkiEdgeError):
    """The device or backend that was asked for is not there; nothing falls back silently."""

    exit_code = 5


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional module, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == module.split(".")[0]
        state = "is not installed" if absent else f"does not import ({error})"
        raise MissingDependency(
            f"{why} needs the package {module.split('.')[0]}, which {state}; run: pip install 'ski-edge[{extra}]'"
        ) from error
