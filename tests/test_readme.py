"""The README's example is run, and what it says about verbs, folders and packages is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ski_edge import _native

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_example_runs_as_printed(tmp_path, generated_video):
    (tmp_path / "video.mp4").write_bytes(generated_video.read_bytes())
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 16
    assert re.search(r" 3\.\d\d s  (cooking|falling|taking medicine)  0\.\d\d", done.stdout)


@pytest.mark.skipif(bool(_native.why_not_native()), reason=_native.why_not_native())
def test_native_section_runs_as_printed(tmp_path, cli):
    """Its Python in one folder, block after block, and its commands that need no data of the reader's."""
    section = README[README.index("## The native engine") : README.index("## What a window of skeletons costs")]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    printed = []
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert re.fullmatch(r"0\.\d{6}  other\n", printed[0])
    assert printed[1] == "unpadded True\n"
    assert (tmp_path / "skeleton.npy").is_file()
    commands = [line.split("#")[0].split()[1:] for line in section.splitlines() if line.startswith("ski-edge ")]
    assert [command[0] for command in commands] == ["doctor", "verify", "benchmark", "evaluate"]
    for command in commands[:2]:
        code, _, err = cli(*command)
        assert code == 0, err


def test_import_is_near_the_top():
    assert any(line.startswith("import ski_edge") for line in README.splitlines()[:40])


def test_every_verb_and_folder_is_named(cli):
    out = cli("--help")[1]
    for verb in re.findall(r"^  ([a-z]+)  ", out, re.MULTILINE):
        assert f"| `{verb}` |" in README
    for folder in (
        "csrc",
        "export",
        "benchmarks",
        "tests",
        *(f"ski_edge/{p.parent.name}" for p in ROOT.glob("ski_edge/*/__init__.py")),
    ):
        assert f"| `{folder}` |" in README, folder
