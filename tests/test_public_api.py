from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import ski_edge
from ski_edge import _native

ROOT = Path(__file__).resolve().parents[1]


def test_version_is_said_once():
    assert f'version = "{ski_edge.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert _native.build_info()["version"] == ski_edge.__version__


def test_public_names_resolve():
    for name in ski_edge.__all__:
        assert getattr(ski_edge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ski_edge.nothing


def test_native_module_says_what_it_is():
    info = _native.build_info()
    assert info["cpp_standard"] >= 201703
    assert bool(_native.cuda_devices()) == (_native.why_not_cuda() == "")


def test_missing_native_module_is_explained(monkeypatch):
    monkeypatch.setattr(_native, "_C", None)
    monkeypatch.setattr(_native, "_WHY_NOT", "not built")
    assert _native.why_not_cuda() == "not built"
    assert _native.cuda_devices() == []
    with pytest.raises(ImportError, match="not built"):
        _native.build_info()


def test_export_cannot_be_imported_under_a_second_name(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "export", raising=False)
    with pytest.raises(ImportError, match=re.escape("import ski_edge.export")):
        __import__("export")
