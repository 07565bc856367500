"""Who may import whom (DESIGN: folders), checked in the sources and by running the device half without torch."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TORCH = {"torch", "torchvision", "open_clip", "timm", "transformers", "lightning", "onnx", "onnxscript"}
BASE = {"errors", "files", "contracts", "redact", "_native"}

# folder -> ski_edge folders it may import
MAY = {
    "skeleton": set(),
    "bundle": {"skeleton"},
    "runtime": {"bundle", "skeleton", "testing.clips", "testing.skeletons"},
    "monitor": {"runtime", "bundle", "skeleton"},
    "ops": {"skeleton"},
    "models": {"ops", "skeleton", "bundle.tokenizer"},
    "data": {"ops", "skeleton"},
    "train": {"models", "data", "ops", "skeleton", "evaluate", "bundle.labels", "bundle.tokenizer"},
    "evaluate": {"models", "data", "ops", "skeleton"},
    "export": {"models", "bundle", "runtime", "skeleton", "data.store", "data.clips", "evaluate.classify"}
    | {"testing.clips", "testing.skeletons"},
    "testing": {"models", "ops", "skeleton"},
}
# csrc folder -> csrc folders it may include
NATIVE_MAY = {
    "include": {"include"},
    "cpu": {"cpu", "include"},
    "cuda": {"cuda", "include"},
    "dispatch": {"dispatch", "cpu", "cuda", "include"},
    "engine": {"engine", "dispatch", "cpu", "cuda", "include"},
    "bindings": {"bindings", "engine", "dispatch", "include"},
    "examples": {"include"},
}
DEVICE = ("bundle", "runtime", "monitor", "skeleton")


def sources(folder: str) -> list[Path]:
    base = ROOT / "export" if folder == "export" else ROOT / "ski_edge" / folder
    return sorted(base.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write ski_edge...."
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("folder", MAY)
def test_folders_import_only_what_the_design_allows(folder):
    for path in sources(folder):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "ski_edge" or len(parts) == 1:
                continue
            allowed = {folder, *BASE} | MAY[folder]
            known = any(".".join(parts[1:]).startswith(entry) for entry in allowed) or parts[1] == "__version__"
            assert known, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("folder", DEVICE)
def test_device_folders_never_name_torch(folder):
    for path in sources(folder):
        found = {name.split(".")[0] for name in imports(path)} & TORCH
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


@pytest.mark.parametrize("folder", DEVICE)
def test_device_folders_import_optional_packages_inside_functions(folder):
    """A device that only runs bundles has no OpenCV, one that only watches no matplotlib."""
    optional = {"onnxruntime", "tensorrt", "cv2", "mediapipe", "matplotlib", "fastapi", "paho"}
    for path in sources(folder):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not {name.split(".")[0] for name in names} & optional, f"{path}:{node.lineno}"


def includes(path: Path) -> list[tuple[str, str]]:
    """What a C++ file includes of csrc: (folder, the line)."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        match = re.match(r'\s*#\s*include\s*([<"])((?:\.\./)*)([^>"]+)[>"]', line)
        if match and (match[1] == '"' or match[3].startswith("ski_edge/")):
            folder = match[3].split("/")[0]
            own = "/" not in match[3]  # beside the file itself
            found.append((path.parent.name if own else "include" if folder == "ski_edge" else folder, line))
    return found


@pytest.mark.parametrize("folder", NATIVE_MAY)
def test_native_folders_include_only_what_the_design_allows(folder):
    """bindings -> engine -> dispatch -> cpu, cuda -> include."""
    paths = [p for p in (ROOT / "csrc" / folder).rglob("*") if p.suffix in (".h", ".cpp", ".cu", ".cuh")]
    assert paths
    for path in paths:
        for included, line in includes(path):
            assert included in NATIVE_MAY[folder], f"{path.relative_to(ROOT)}: {line}"


def test_examples_are_written_as_users_write():
    for path in (ROOT / "csrc" / "examples").glob("*.cpp"):
        assert '#include "' not in path.read_text("utf-8"), f"{path.name}: #include <ski_edge/...>"


def test_one_op_one_stem():
    """Each op has a contract, a kernel, a dispatcher, a binding and tests, in files of its name."""
    stems = lambda folder, ending: {p.name.removesuffix(ending) for p in (ROOT / folder).glob(f"*{ending}")}  # noqa: E731
    ops = stems("ski_edge/ops", ".py") - {"__init__", "arrays"}
    contracts = stems("csrc/include/ski_edge/ops", ".h")
    assert contracts - ops == {"edges"}  # how clips enter a network: for the engine alone
    assert ops <= contracts
    assert stems("csrc/bindings/ops", ".cpp") == ops
    for folder in ("csrc/cpu", "csrc/dispatch"):
        assert contracts <= stems(folder, ".cpp"), folder
    assert {f"test_{op}" for op in contracts} <= stems("csrc/tests", ".cpp")
    assert stems("tests/ops", ".py") == {f"test_{op}" for op in ops} | {"conftest", "test_arrays", "test_op_costs"}


def test_every_folder_is_in_the_table():
    folders = {p.parent.name for p in (ROOT / "ski_edge").glob("*/__init__.py")}
    assert folders - set(MAY) == {"cli"}


def test_nothing_but_the_command_line_imports_export():
    for path in (ROOT / "ski_edge").rglob("*.py"):
        if path.parent.name == "cli" or path == ROOT / "ski_edge" / "__init__.py":
            continue
        assert not any(name.startswith("ski_edge.export") for name in imports(path)), path


def test_help_is_light(without_torch):
    """What makes --help slow is what it imports."""
    code = """
from ski_edge.cli.main import main
assert main(["--help"]) == 0
heavy = {"numpy", "cv2", "onnxruntime", "matplotlib", "tokenizers"} & set(sys.modules)
assert not heavy, heavy
"""
    done = without_torch(code)
    assert done.returncode == 0, done.stderr


def test_device_half_runs_without_torch(without_torch, tiny_bundle):
    code = """
import numpy as np, ski_edge
from ski_edge.testing.clips import moving_shapes
session = ski_edge.open_bundle(sys.argv[1])
stream = ski_edge.FrameStream(session)
updates = [stream.push(frame, t / 30) for t, frame in enumerate(moving_shapes(60))]
assert sum(u is not None for u in updates) == 8, updates
session.labels.replace(["cooking", "falling"])
session.labels.add("taking medicine", ["a photo of a person taking a pill."])
session.labels.remove("cooking")
assert session.predict(moving_shapes(20)).label in ("falling", "taking medicine")
from ski_edge.runtime.verify import verify
assert verify(session).passed
import ski_edge.monitor, ski_edge.bundle
"""
    done = without_torch(code, tiny_bundle)
    assert done.returncode == 0, done.stderr


def test_monitor_runs_without_torch(without_torch, tiny_bundle, tmp_path, generated_video):
    code = "from ski_edge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    done = without_torch(
        code, "monitor", "-m", tiny_bundle, "-s", generated_video, "--out", tmp_path / "o", "--headless"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "events.jsonl").read_text().count("\n") >= 2
