"""The main job at full size, through the command line: export ViT-B/16, watch real footage with it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import ski_edge
from ski_edge.monitor.store import read_events
from ski_edge.testing.clips import moving_shapes
from ski_edge.testing.weights import clip_like

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from ski_edge.cli.main import main

    out = tmp_path_factory.mktemp("b16") / "b"
    assert (
        main(["export", "--model", "ski-vificlip", "--weights", "random", "--arch", "ViT-B-16", "--out", str(out)]) == 0
    )
    return out


def test_monitor_on_real_footage(cli, bundle, videos, tmp_path):
    clip = videos / "decord" / "flipping_a_pancake.mkv"
    code, out, err = cli(
        "monitor", "--model", bundle, "--source", clip, "--out", tmp_path / "run", "--headless", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["frames"] == 310
    rows = read_events(tmp_path / "run")
    assert rows[0]["label"] == "unknown"
    assert rows[-1]["end_time"] == pytest.approx(10.3, abs=0.1)
    assert (tmp_path / "run" / "events.jsonl").read_text().count("\n") == 2 * len(rows)
    assert cv2.VideoCapture(str(tmp_path / "run" / "annotated.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 310
    assert (tmp_path / "run" / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_stream_equals_clip(bundle):
    session = ski_edge.open_bundle(bundle)
    clip = moving_shapes(18)
    stream = ski_edge.FrameStream(session)
    for i, frame in enumerate(clip):
        update = stream.push(frame, i * 0.25)
    np.testing.assert_allclose(update.embedding, session.encode_video(clip[-16:]), atol=1e-5)


@pytest.mark.parametrize("arch", ["ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336"])
def test_parity_with_outlier_channels(arch, tmp_path):
    """Weights with trained CLIP's habits, not tame random ones."""
    model = clip_like(ski_edge.create_model("vificlip", arch=arch, seed=1))
    bundle = ski_edge.export_model(model, tmp_path / "b")
    parity = json.loads((bundle / "parity.json").read_text())
    assert parity["passed"]
    assert parity["frames"]["relative_error"] < 1e-5


@pytest.mark.parametrize("opset", [19, 21, 22, 23])
def test_every_opset_offered_is_verified(opset, tiny_model, tmp_path):
    bundle = ski_edge.export_model(tiny_model, tmp_path / "b", opset=opset)
    assert json.loads((bundle / "parity.json").read_text())["passed"]
