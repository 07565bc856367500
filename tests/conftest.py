"""Shared fixtures: real footage (skipped visibly where absent), a tiny model, its bundle, the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _archive(name: str) -> Path:
    """Contents of a data archive, unpacked once into a cache outside the repository."""
    data = (ROOT / os.environ.get("SKI_EDGE_DATA", "../shared/data")).resolve()
    archive = data / f"{name}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}; set SKI_EDGE_DATA to the folder that holds {name}.tar.xz")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ski-edge" / "test-data"
    done = cache / f".{name}"
    if not done.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(cache)], check=True)
        done.touch()
    with tarfile.open(archive) as tar:
        first = tar.next()
    return cache / first.name.split("/")[0]


@pytest.fixture
def hear_interrupts():
    """For Popen's preexec_fn: a shell makes what it starts in the background deaf to SIGINT, as children then are."""
    return lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def videos() -> Path:
    return _archive("videos")


@pytest.fixture(scope="session")
def texts() -> Path:
    return _archive("text")


@pytest.fixture(scope="session")
def nw_ucla() -> Path:
    """Folder with NW-UCLA's 1484 JSON files."""
    return _archive("nw-ucla") / "all_sqe"


@pytest.fixture(scope="session")
def utd_mhad() -> Path:
    """Folder with UTD-MHAD's 861 .mat files."""
    return _archive("utd-mhad") / "Skeleton"


@pytest.fixture(scope="session")
def ntu_samples() -> Path:
    """Folder with the samples of NTU, UAV-Human and Smarthome in it."""
    return _archive("ntu-samples").parent


@pytest.fixture(scope="session")
def tiny_model():
    import ski_edge
    from ski_edge.testing.weights import clip_like

    return clip_like(ski_edge.create_model("ski-vificlip", arch="tiny", seed=0, weights="clip-like (seed 0)"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model, tmp_path_factory) -> Path:
    """Treat it as read-only; copy it to damage it."""
    import ski_edge

    return ski_edge.export_model(tiny_model, tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def session(tiny_bundle):
    """A shared open bundle; tests that change labels open their own."""
    import ski_edge

    return ski_edge.open_bundle(tiny_bundle)


@pytest.fixture(scope="session")
def clip_models():
    """{"xclip": model, "froster": model}: the networks that see whole clips, tiny."""
    import ski_edge
    from ski_edge.testing.weights import clip_like

    models = {
        name: clip_like(ski_edge.create_model(name, arch="tiny", seed=1, weights="clip-like (seed 1)"))
        for name in ("xclip", "froster")
    }
    # Fresh positions of frames are near 0, so that their order would hardly count; trained ones are not.
    models["xclip"].integration.positional_embedding.data.mul_(25)
    return models


@pytest.fixture(scope="session")
def clip_bundles(clip_models, tmp_path_factory) -> dict[str, Path]:
    """Their bundles; treat them as read-only."""
    import ski_edge

    root = tmp_path_factory.mktemp("clip-bundles")
    return {name: ski_edge.export_model(model, root / name) for name, model in clip_models.items()}


@pytest.fixture
def cli(capsys):
    """Run the command line in this process: cli("verify", folder) -> (exit code, stdout, stderr)."""
    from ski_edge.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def fails_clean(cli, tmp_path):
    """Expect exit code 2, one line on stderr that starts with `error:`, the same in --json, and no new file."""

    def run(*arguments: object, says: str, code: int = 2) -> str:
        before = sorted(tmp_path.rglob("*"))
        got, _, err = cli(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        assert got == code, err
        assert len(lines) == 1, err
        assert says in lines[0], lines[0]
        assert "Traceback" not in err
        got, out, _ = cli(*arguments, "--json")
        assert (got, json.loads(out)["exit_code"]) == (code, code)
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return run


@pytest.fixture
def without_torch(tmp_path):
    """Run Python in a process where torch and its friends cannot be imported, away from the checkout."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess:
        block = (
            "import sys\nfor name in ('torch', 'open_clip', 'onnx', 'torchvision', 'timm'): sys.modules[name] = None\n"
        )
        command = [sys.executable, "-c", block + code, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def generated_video(tmp_path_factory) -> Path:
    """Four seconds of moving shapes, 320x240, 30 fps."""
    import cv2

    from ski_edge.testing.clips import moving_shapes

    path = tmp_path_factory.mktemp("video") / "shapes.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for frame in moving_shapes(120):
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


@pytest.fixture(scope="session")
def waving(tmp_path_factory) -> Path:
    """Prepared data of three classes that differ in which limb goes up: 6 subjects, 5 clips each per class."""
    import numpy as np

    from ski_edge.data.store import ClipEntry, Index, write_data
    from ski_edge.skeleton import LAYOUTS
    from ski_edge.testing.skeletons import moving_skeleton

    folder = tmp_path_factory.mktemp("waving")
    base = moving_skeleton(LAYOUTS["kinect20"], 1)[0, 0]
    entries, clips = [], []
    rng = np.random.default_rng(0)
    for subject in range(1, 7):
        for label, hand in enumerate((7, 11, 15)):
            for take in range(5):
                frames = int(rng.integers(20, 40))
                rise = np.sin(np.linspace(0, np.pi, frames))
                clip = np.repeat((base * rng.uniform(0.9, 1.1))[None, None], frames, axis=0)
                for joint in range(4):  # from the shoulder (hip) to the hand (foot), ever higher
                    clip[:, 0, hand - 3 + joint, 1] += (0.15 * (joint + 1) * rise).astype(np.float32)
                clips.append(clip + rng.normal(0, 0.01, clip.shape).astype(np.float32))
                entries.append(
                    ClipEntry(name=f"a{label}_s{subject}_t{take}", label=label, frames=frames, subject=subject)
                )
    index = Index(
        dataset="utd-mhad",
        layout="kinect20",
        fps=30,
        persons=1,
        classes=("left", "right", "foot"),
        clips=tuple(entries),
    )
    write_data(folder, index, clips, {})
    return folder
