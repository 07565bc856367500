"""People made of numbers, a stand-in for a pose session, and the pose model for real pictures."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ski_edge.monitor.pose import Body
from ski_edge.skeleton import LAYOUTS, SkeletonInput, prepare
from ski_edge.skeleton.resample import FixedSeconds

ROOT = Path(__file__).resolve().parents[2]

# coco17, upright, facing the camera, 1 unit tall: (x, y) with y down from the top
STANDING = np.array(
    [
        (0, 0.07), (0.02, 0.05), (-0.02, 0.05), (0.04, 0.06), (-0.04, 0.06), (0.11, 0.2), (-0.11, 0.2), (0.14, 0.36),
        (-0.14, 0.36), (0.15, 0.5), (-0.15, 0.5), (0.07, 0.53), (-0.07, 0.53), (0.07, 0.75), (-0.07, 0.75),
        (0.07, 0.97), (-0.07, 0.97),
    ]
)  # fmt: skip


@pytest.fixture(scope="session")
def make_body():
    """make_body(x, y, height): somebody with the feet at (x, y) px; arms: 0 down .. 1 up; noise in px."""

    def make(x, y, height=200.0, *, arms=0.0, score=0.9, noise=0.0, rng=None, visibility=0.95):
        shape = STANDING.copy()
        shape[[7, 8, 9, 10], 1] -= arms * np.array([0.3, 0.3, 0.6, 0.6])
        pixels = np.array([x, y - height]) + shape * height
        if noise:
            pixels += rng.normal(0, noise, pixels.shape)
        joints = np.zeros((17, 3), np.float32)
        joints[:, :2] = (pixels - pixels[11:13].mean(0)) * -1.7 / height
        low, high = pixels.min(0) - 4, pixels.max(0) + 4
        return Body(
            joints, "coco17", pixels.astype(np.float32), np.full(17, visibility, np.float32),
            (float(low[0]), float(low[1]), float(high[0]), float(high[1])), score,
        )  # fmt: skip

    return make


class StandInSession:
    """A pose session without a network: the height of the wrists says which class it is."""

    task = "skeleton"
    classes = ("arms down", "arms up", "other")

    def __init__(self, folder, spec=None):
        skeleton = spec or SkeletonInput(
            layout="ntu25", persons=1, centre="each-frame", resample=FixedSeconds(frames=16, seconds=2.0)
        )
        provenance = SimpleNamespace(weights="by hand", weights_sha256="0" * 64)
        self.manifest = SimpleNamespace(
            task="skeleton",
            skeleton=skeleton,
            model="stand-in",
            arch="tiny",
            provenance=provenance,
            classes=self.classes,
        )
        self.folder = folder
        self.batches = []  # sizes of the batches that came

    def classify(self, sequences, timestamps):
        self.batches.append(len(sequences))
        spec = self.manifest.skeleton
        rows = []
        for joints, times in zip(sequences, timestamps, strict=True):
            assert joints.dtype == np.float32
            assert joints.shape == (len(times), 1, spec.layout.num_joints, 3)
            clip = prepare(joints, spec, times)  # [3, T, V, M]
            name = spec.layout.index
            above = clip[1, :, [name("left_wrist"), name("right_wrist")]] - clip[1, :, [name("head")]]
            up = float(above.mean()) * 8
            rows.append([-up, up, 3.0 - abs(up)])
        return np.array(rows, np.float32)

    def score(self, logits):
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.fixture
def pose_session(tmp_path):
    folder = tmp_path / "pose-bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"task": "skeleton"}\n')
    return StandInSession(folder)


@pytest.fixture(scope="session")
def pose_model() -> Path:
    """MediaPipe's pose landmarker, from the data folder."""
    pytest.importorskip("mediapipe")
    path = (ROOT / os.environ.get("SKI_EDGE_DATA", "../shared/data")).resolve() / "pose_landmarker_full.task"
    if not path.is_file():
        pytest.skip(f"no {path}; set SKI_EDGE_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def layouts():
    return LAYOUTS


@pytest.fixture(scope="session")
def live_bundle(tmp_path_factory) -> Path:
    """A real pose bundle for live windows, its weights random."""
    import ski_edge

    spec = SkeletonInput(
        layout="ntu25", persons=1, centre="each-frame", scale="bone", resample=FixedSeconds(frames=16, seconds=2.0)
    )
    model = ski_edge.create_model("ctrgcn", arch="tiny", classes=("wave", "jump", "other"), skeleton=spec, seed=0)
    return ski_edge.export_model(model, tmp_path_factory.mktemp("bundles") / "live")
