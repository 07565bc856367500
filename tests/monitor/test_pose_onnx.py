"""Graphs whose outputs are known stand in for trained networks: what is tested is the road in and the road out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ski_edge.errors import BadInput
from ski_edge.monitor.pose import open_estimator
from ski_edge.monitor.pose_onnx import OnnxEstimator, flat_to_metres
from ski_edge.skeleton import LAYOUTS

H, W = 96, 64  # of the crop networks
COCO = LAYOUTS["coco17"]


def graph(path, size, outputs, inputs=None):
    """A network whose outputs are constants that hang on its input, so that nothing is folded away."""
    nodes = [helper.make_node("ReduceSum", ["picture"], ["sum"], keepdims=0)]
    constants = [numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    nodes.append(helper.make_node("Mul", ["sum", "zero"], ["nothing"]))
    results = []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    inputs = inputs or [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, *size])]
    model = helper.make_model(
        helper.make_graph(nodes, "pose", inputs, results, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, path)
    return path


def looks(path, output, size):
    """A heatmap network that sees: each joint's map is the picture's green channel."""
    nodes = [
        helper.make_node("Slice", ["picture", "one", "two", "axis"], ["green"]),
        helper.make_node("Expand", ["green", "shape"], [output]),
    ]
    constants = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in {"one": [1], "two": [2], "axis": [1], "shape": [1, 17, *size]}.items()
    ]
    inputs = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, *size])]
    results = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 17, *size])]
    model = helper.make_model(
        helper.make_graph(nodes, "pose", inputs, results, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, path)
    return path


@pytest.fixture
def person():
    """[17, 2] in a crop of 64 x 96: different for every joint."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(8, W - 8, 17), rng.integers(8, H - 8, 17)], axis=1).astype(float)


def picture(height=H, width=W):
    return np.full((height, width, 3), 128, np.uint8)


def simcc(person, score=0.9):
    x, y = np.zeros((1, 17, 2 * W)), np.zeros((1, 17, 2 * H))
    for joint, (px, py) in enumerate(person):
        x[0, joint, int(2 * px)], y[0, joint, int(2 * py)] = score, score + 0.05
    return {"simcc_x": x, "simcc_y": y}


def test_simcc(tmp_path, person):
    person += 0.5  # halves are what SimCC can say
    estimator = OnnxEstimator(graph(tmp_path / "a.onnx", (H, W), simcc(person)))
    (body,) = estimator.estimate(picture(), 0.0)
    assert body.layout == "coco17"
    np.testing.assert_allclose(body.keypoints_px, person, atol=1e-4)
    np.testing.assert_allclose(body.visibility, 0.9, atol=1e-6)


def test_heatmaps(tmp_path, person):
    maps = np.zeros((1, 17, H // 4, W // 4))
    for joint, (x, y) in enumerate((person // 4).astype(int)):
        maps[0, joint, y, x], maps[0, joint, y, x + 1], maps[0, joint, y - 1, x] = 0.8, 0.3, 0.2
    (body,) = OnnxEstimator(graph(tmp_path / "a.onnx", (H, W), {"heat": maps})).estimate(picture(), 0.0)
    np.testing.assert_allclose(body.keypoints_px, (person // 4 + (0.25, -0.25)) * 4, atol=1e-4)


def test_a_crop_network_follows_and_gets_lost(tmp_path, person):
    estimator = OnnxEstimator(graph(tmp_path / "a.onnx", (H, W), simcc(person)))
    frame = picture(2 * H, 2 * W)
    first = estimator.estimate(frame, 0.0)[0]
    np.testing.assert_allclose(first.keypoints_px, person * 2, atol=1e-3)  # the whole picture, twice the crop
    second = estimator.estimate(frame, 0.1)[0]
    low, high = (person * 2).min(0), (person * 2).max(0)
    zoom = 1.25 * max((high - low) / (W, H))
    wanted = (low + high) / 2 + (person - np.array([W, H]) / 2) * zoom
    np.testing.assert_allclose(second.keypoints_px, wanted, atol=1e-2)
    lost = OnnxEstimator(graph(tmp_path / "b.onnx", (H, W), simcc(person, score=0.1)))
    assert lost.estimate(frame, 0.0) == []


def test_the_crop_is_the_picture_in_the_right_place(tmp_path):
    """A network that points at the greenest pixel must find it where it is, crop after crop, in any aspect."""
    estimator = OnnxEstimator(looks(tmp_path / "a.onnx", "heat", (H, W)))
    for size in ((96, 64), (240, 320), (500, 200)):
        frame = np.zeros((*size, 3), np.uint8)
        at = (int(size[1] * 0.6), int(size[0] * 0.3))
        frame[at[1] - 8 : at[1] + 9, at[0] - 8 : at[0] + 9, 1] = 200
        frame[at[1] - 3 : at[1] + 4, at[0] - 3 : at[0] + 4, 1] = 255
        estimator._focus = None
        body = estimator.estimate(frame, 0.0)[0]
        cell = max(size[0] / H, size[1] / W)
        assert np.abs(body.keypoints_px - at).max() <= 3 + 2 * cell


@pytest.mark.parametrize("kind", ["dets", "56 rows", "56 columns", "57"])
@pytest.mark.parametrize("size", [(64, 64), (48, 128), (128, 48)])
def test_one_stage(tmp_path, kind, size):
    """Two people and a double of one; the picture is letterboxed, so pixels come back shifted and scaled."""
    rng = np.random.default_rng(1)
    side = 64
    height, width = size
    ratio = min(side / height, side / width)
    pad = np.array([side - round(width * ratio), side - round(height * ratio)]) // 2 if kind != "dets" else np.zeros(2)
    people = [rng.uniform((2, 2), (width / 2.5, height - 2), (17, 2)) + np.array([x, 0]) for x in (0, width / 2)]
    rows = []
    for points, score in ((people[0], 0.9), (people[0] + 0.2, 0.6), (people[1], 0.8), (people[1], 0.1)):
        inside = points * ratio + pad
        box = np.concatenate([inside.min(0) - 1, inside.max(0) + 1])
        confidence = np.concatenate([inside, np.full((17, 1), 0.7)], axis=1)
        rows.append((box, score, confidence))
    boxes = np.array([box for box, _, _ in rows])
    scores = np.array([[score] for _, score, _ in rows])
    points = np.array([confidence for _, _, confidence in rows])
    if kind == "dets":
        outputs = {"dets": np.concatenate([boxes, scores], axis=1)[None], "keypoints": points[None]}
    elif kind == "57":
        outputs = {"output0": np.concatenate([boxes, scores, 0 * scores, points.reshape(4, -1)], axis=1)[None]}
    else:
        middle = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
        table = np.concatenate([middle, scores, points.reshape(4, -1)], axis=1)
        outputs = {"output0": (table if kind == "56 rows" else table.T)[None]}
    path = graph(tmp_path / "a.onnx", (side, side), outputs)
    bodies = OnnxEstimator(path, persons=4).estimate(picture(*size), 0.0)
    assert [round(body.score, 2) for body in bodies] == [0.9, 0.8]
    for body, wanted in zip(bodies, people, strict=True):
        np.testing.assert_allclose(body.keypoints_px, wanted, atol=1e-3)
        np.testing.assert_allclose(body.visibility, 0.7, atol=1e-6)
    assert len(OnnxEstimator(path, persons=1).estimate(picture(*size), 0.0)) == 1


def test_metres(make_body):
    pixels = make_body(300, 400, 340).keypoints_px.astype(float)  # trunk 112 px for 0.50 m
    seen = np.ones(17)
    joints = flat_to_metres(pixels, seen)
    name = COCO.index
    assert joints.dtype == np.float32
    np.testing.assert_allclose(joints[[11, 12]].mean(0), 0, atol=1e-6)
    assert (joints[:, 2] == 0).all()
    assert joints[name("nose"), 1] > 0.5 > 0 > -0.6 > joints[name("left_ankle"), 1]  # y is up
    # Facing the camera, the person's left is at larger pixel x, and at smaller x in our (Kinect's) axes.
    assert pixels[name("left_shoulder"), 0] > pixels[name("right_shoulder"), 0]
    assert joints[name("left_shoulder"), 0] < joints[name("right_shoulder"), 0]
    flipped = pixels * (-1, 1) + (640, 0)
    np.testing.assert_allclose(flat_to_metres(_renamed(flipped), seen, mirrored=True), joints, atol=1e-5)
    # A trunk bent towards the camera is short; the legs keep the scale (and this doll's are short, too).
    bent = pixels.copy()
    bent[:11, 1] = pixels[11:13, 1].mean() - 0.3 * (pixels[11:13, 1].mean() - pixels[:11, 1])
    legs = slice(11, 17)
    ratio = np.abs(flat_to_metres(bent, seen)[legs, 1]).max() / np.abs(joints[legs, 1]).max()
    assert 1.2 < ratio < 1.3
    hidden = np.zeros(17)
    height = np.ptp(flat_to_metres(pixels, hidden)[:, 1])
    assert height == pytest.approx(1.7, abs=1e-4)
    assert np.isfinite(flat_to_metres(np.zeros((17, 2)), hidden)).all()


def _renamed(pixels):
    """What an estimator calls a flipped person: left is right."""
    from ski_edge.skeleton import swap_sides

    return swap_sides(pixels, COCO)


def test_mirrored_pictures_give_the_same_person(tmp_path, person):
    flipped = person * (-1, 1) + (W - 1, 0)
    straight = OnnxEstimator(graph(tmp_path / "a.onnx", (H, W), simcc(person))).estimate(picture(), 0.0)[0]
    selfie = graph(tmp_path / "b.onnx", (H, W), simcc(_renamed(flipped)))
    mirrored = OnnxEstimator(selfie, mirrored=True).estimate(picture(), 0.0)[0]
    np.testing.assert_allclose(mirrored.joints, straight.joints, atol=1e-4)
    np.testing.assert_allclose(mirrored.keypoints_px, flipped, atol=1e-4)


def test_what_is_not_understood_is_refused_when_it_is_opened(tmp_path):
    def refused(outputs, says, size=(H, W), **options):
        path = graph(tmp_path / "x.onnx", size, outputs, **options)
        with pytest.raises(BadInput, match=says) as caught:
            open_estimator(f"onnx:{path}", 1, False)
        assert "\n" not in str(caught.value)

    refused({"logits": np.zeros((1, 60))}, "understood are simcc_x")
    refused({"heat": np.zeros((1, 21, 24, 16))}, "understood are simcc_x")  # hands
    refused({"simcc_x": np.zeros((1, 26, 8)), "simcc_y": np.zeros((1, 26, 8))}, "understood are simcc_x")
    refused({"output0": np.zeros((1, 84, 100))}, "understood are simcc_x")  # boxes of 80 classes, no keypoints
    dynamic = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "h", "w"])]
    refused({"heat": np.zeros((1, 17, 24, 16))}, "of fixed size", inputs=dynamic)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BadInput, match="does not load as ONNX"):
        open_estimator(f"onnx:{tmp_path / 'text.onnx'}", 1, False)
    with pytest.raises(BadInput, match="is not there"):
        open_estimator(f"onnx:{tmp_path / 'no.onnx'}", 1, False)
