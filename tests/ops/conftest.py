"""Ops without their native module are a visible skip."""

from __future__ import annotations

import pytest

from ski_edge import _native


@pytest.fixture(autouse=True)
def _needs_native() -> None:
    if reason := _native.why_not_native():
        pytest.skip(reason)
