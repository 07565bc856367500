from __future__ import annotations

import cv2
import numpy as np
import pytest

from ski_edge.errors import BadInput
from ski_edge.monitor.pose import MODEL_FILE, MediaPipeEstimator, find_model, open_estimator
from ski_edge.monitor.tracking import Tracker
from ski_edge.skeleton import LAYOUTS

JOINT = LAYOUTS["mediapipe33"].index


def frames(path, start, stop):
    capture = cv2.VideoCapture(str(path))
    for i in range(stop):
        picture = capture.read()[1][:, :, ::-1]
        if i >= start:
            yield i, picture


@pytest.fixture
def landmarker(pose_model):
    opened = []

    def open_it(**options):
        opened.append(MediaPipeEstimator(pose_model, **options))
        return opened[-1]

    yield open_it
    for estimator in opened:
        estimator.close()


def test_a_real_person_in_our_axes(landmarker, videos):
    """One of three people, upright, facing the camera."""
    estimator = landmarker()
    for i, picture in frames(videos / "felixchenfy" / "exercise.avi", 20, 28):
        (body,) = estimator.estimate(picture, i / 30)
    assert body.layout == "mediapipe33"
    assert (body.joints.dtype, body.joints.shape) == (np.float32, (33, 3))
    hips = body.joints[[JOINT("left_hip"), JOINT("right_hip")]].mean(axis=0)
    np.testing.assert_allclose(hips, 0, atol=0.02)
    assert body.joints[JOINT("nose"), 1] > 0.45  # y is up
    assert body.joints[JOINT("left_ankle"), 1] < -0.5
    # Kinect's convention: facing the camera, the left shoulder is at smaller x; in the picture at larger x.
    assert body.joints[JOINT("left_shoulder"), 0] < body.joints[JOINT("right_shoulder"), 0]
    assert body.keypoints_px[JOINT("left_shoulder"), 0] > body.keypoints_px[JOINT("right_shoulder"), 0]
    assert body.mostly_visible
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = body.box
    assert 0 < x0 < x1 < width
    assert 0 < y0 < y1 < height + 10
    assert (y1 - y0) > 0.4 * height
    assert 0.5 < body.score <= 1


def test_a_flipped_source_gives_the_same_person(landmarker, videos):
    straight, mirrored, untold = landmarker(), landmarker(mirrored=True), landmarker()
    for i, picture in frames(videos / "st-gcn" / "ta_chi.mp4", 0, 8):
        (a,) = straight.estimate(picture, i / 30)
        (b,) = mirrored.estimate(picture[:, ::-1], i / 30)
        (c,) = untold.estimate(picture[:, ::-1], i / 30)
    same, other = (np.median(np.linalg.norm(a.joints - body.joints, axis=1)) for body in (b, c))
    assert same < 0.15  # metres; the network itself is not symmetric
    assert other > 1.5 * same
    back = (picture.shape[1] - 1) - b.keypoints_px[:, 0]
    assert np.median(np.abs(back - a.keypoints_px[:, 0])) < 0.03 * picture.shape[1]


def test_an_empty_picture_has_nobody_and_times_may_be_dense(landmarker):
    estimator = landmarker(persons=2)
    for i in range(3):  # less than a millisecond apart
        assert estimator.estimate(np.full((240, 320, 3), 90, np.uint8), i * 1e-4) == []


def test_two_of_three_people_keep_their_ids_in_a_real_video(landmarker, videos):
    """Three people exercise side by side. Around frame 88 the landmarker's one skeleton slides from the middle person
    to the right one; from frame 90 on it shows both. The middle person must stay who she was."""
    estimator, tracker = landmarker(persons=4), Tracker()
    middle, right = set(), set()
    for i, picture in frames(videos / "felixchenfy" / "exercise.avi", 60, 125):
        for number, body in tracker.update(estimator.estimate(picture, i / 10), i / 10):
            x = body.keypoints_px[[JOINT("left_shoulder"), JOINT("right_shoulder")], 0].mean()
            (right if x > 245 else middle).add(number) if not 210 < x < 245 else None
    assert len(middle) == 1
    assert len(right) == 1
    assert middle.isdisjoint(right)


def test_where_the_model_is_looked_for(tmp_path, monkeypatch):
    given, variable, cache = tmp_path / "given.task", tmp_path / "variable.task", tmp_path / "ski-edge" / MODEL_FILE
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SKI_EDGE_POSE_MODEL", raising=False)
    with pytest.raises(BadInput, match=r"curl -L -o .*pose_landmarker_full\.task https://storage\.googleapis\.com"):
        find_model(None)
    cache.parent.mkdir()
    for path in (given, variable, cache):
        path.write_bytes(b"x")
    assert find_model(None) == cache
    monkeypatch.setenv("SKI_EDGE_POSE_MODEL", str(variable))
    assert find_model(None) == variable
    assert find_model(str(given)) == given
    given.write_bytes(b"")
    with pytest.raises(BadInput, match="is not there"):
        find_model(str(given))  # what was asked for, not the next best


@pytest.mark.parametrize("spec", ["openpose", "mediapipes", "onnx", "onnx:", "", "replay:x"])
def test_unknown_estimators(spec):
    with pytest.raises(BadInput, match="use mediapipe, mediapipe:FILE or onnx:FILE"):
        open_estimator(spec, 1, False)


@pytest.mark.parametrize("persons", [0, -1, 17])
def test_persons_have_a_range(persons):
    with pytest.raises(BadInput, match="--persons must be 1 to 16"):
        open_estimator("mediapipe", persons, False)


@pytest.mark.parametrize("content", [b"not a model", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_model(tmp_path, content):
    pytest.importorskip("mediapipe")
    (tmp_path / "x.task").write_bytes(content)
    with pytest.raises(BadInput, match="is not a MediaPipe pose landmarker") as caught:
        open_estimator(f"mediapipe:{tmp_path / 'x.task'}", 1, False)
    assert "\n" not in str(caught.value)
