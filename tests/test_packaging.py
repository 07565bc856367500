"""The wheel that users install, tested as they use it: built, installed elsewhere, run outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow  # compiling the kernels once more takes a minute


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "-w", folder]
    # Its own build folder and no CUDA: this test is about the package, the editable build covers the compiler.
    run(
        sys.executable, "-m", "pip", "wheel", *options,
        "-C", f"build-dir={folder / 'build'}", "-C", "cmake.define.SKI_EDGE_CUDA=OFF", ROOT,
    )  # fmt: skip
    return next(folder.glob("ski_edge-*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel in it; the dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    interpreter = folder / "bin" / "python"
    site = Path(run(interpreter, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    # A path in a .pth file adds packages, but not the editable install's own hooks.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return interpreter


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ski_edge"}
    for wanted in (
        "ski_edge/export/bundle.py",
        "ski_edge/bundle/label_sets/ntu60.txt",
        "ski_edge/bundle/words.json",
        "ski_edge/train/text/phrases.yaml",
        "ski_edge/train/recipes/ski-vificlip-rendered.yaml",
        "ski_edge/data/descriptions/utd.txt",
        "ski_edge/evaluate/paper.yaml",
        "ski_edge/models/shipped/ski-vificlip/model.safetensors",
        "ski_edge/zoo/ski-vificlip/model.onnx",
        "ski_edge/runtime/stream.py",
    ):
        assert wanted in names
    assert any(name.startswith("ski_edge/_C") for name in names)
    assert wheel.stat().st_size < 16_000_000  # of which the zoo may have 12


def test_export_folder_is_not_in_the_source_package():
    assert not (ROOT / "ski_edge" / "export").exists()


def test_installed_wheel_runs_outside_the_checkout(python, tiny_bundle, generated_video, tmp_path):
    where = run(python, "-P" if sys.version_info >= (3, 11) else "-c", *(
        ["-c", "import ski_edge; print(ski_edge.__file__)"] if sys.version_info >= (3, 11)
        else ["import ski_edge; print(ski_edge.__file__)"]), cwd=tmp_path)  # fmt: skip
    assert Path(where.strip()).is_relative_to(python.parents[1])
    assert run(python, "-c", "from ski_edge import _native; print(_native.build_info()['version'])", cwd=tmp_path)
    script = "from ski_edge.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
    run(python, "-c", script, "verify", tiny_bundle, cwd=tmp_path)
    out = tmp_path / "run"
    run(python, "-c", script, "monitor", "-m", tiny_bundle, "-s", generated_video, "--out", out, cwd=tmp_path)
    assert (out / "timeline.png").stat().st_size > 1000


def test_installed_wheel_exports(python, tmp_path):
    code = "import ski_edge; print(ski_edge.export_model.__module__)"
    assert run(python, "-c", code, cwd=tmp_path).strip() == "ski_edge.export.bundle"
