"""How far MediaPipe's skeleton lies from Kinect's: per joint, in millimetres, on an NTU sample with video and skeleton.

    python benchmarks/pose/mediapipe_ntu.py S001C001P001R001A001_rgb.avi S001C001P001R001A001.skeleton MODEL.task

Each frame's joints are laid over Kinect's by a rotation and a translation (and, in the second column, one scale), so
what is left is the difference in shape. NTU's pictures are flipped, hence mirrored=True.

Kinect is no ground truth. The last column says how far the two lie apart in the picture already, without any depth: in
S001C001P001R001A001 the left forearm hangs down, MediaPipe has it there, Kinect before the chest. `--leave-out` keeps
such joints out of alignment and mean: --leave-out left_wrist left_hand left_hand_tip left_thumb
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ski_edge.data.ntu import read_ntu
from ski_edge.files import sha256_file
from ski_edge.monitor import open_source
from ski_edge.monitor.pose import MediaPipeEstimator
from ski_edge.runtime.measure import machine
from ski_edge.skeleton import LAYOUTS, remap
from ski_edge.testing.results import write_result

TARGET = LAYOUTS["ntu25"]


def poses(video: Path, model: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float32 [n, 33, 3] in our axes, [n, 33, 2] pixels, and which frames they are of."""
    source, estimator = open_source(str(video)), MediaPipeEstimator(model, persons=1, mirrored=True)
    found = [(i, estimator.estimate(frame.image, frame.timestamp)) for i, frame in enumerate(source.frames())]
    estimator.close()
    source.close()
    seen = [(i, bodies[0]) for i, bodies in found if bodies]
    joints, pixels = np.stack([body.joints for _, body in seen]), np.stack([body.keypoints_px for _, body in seen])
    return joints, pixels, np.array([i for i, _ in seen])


def align(points: np.ndarray, target: np.ndarray, use: np.ndarray, with_scale: bool) -> np.ndarray:
    """[V, 3] moved onto [V, 3]: the rotation (no reflection), translation and scale of least squares (Umeyama 1991).

    use: bool [V], the joints that decide.
    """
    from_, to = points[use].mean(axis=0), target[use].mean(axis=0)
    a, b = points[use] - from_, target[use] - to
    u, s, vt = np.linalg.svd(a.T @ b)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * signs).sum() / (a**2).sum() if with_scale else 1.0
    return scale * (points - from_) @ (u * signs) @ vt + to


def errors_mm(ours: np.ndarray, kinect: np.ndarray, use: np.ndarray, with_scale: bool) -> np.ndarray:
    """[n, V] millimetres."""
    aligned = np.stack([align(a, b, use, with_scale) for a, b in zip(ours, kinect, strict=True)])
    return 1000 * np.linalg.norm(aligned - kinect, axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("video", "skeleton", "model"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--leave-out", nargs="+", default=[], choices=TARGET.joints, metavar="JOINT")
    arguments = parser.parse_args()
    recording = read_ntu(arguments.skeleton)
    if len(set(recording.ids)) != 1 or len(recording.frame) != recording.frames:
        raise SystemExit("this comparison wants a recording with the same one body in every frame")
    found, pixels, frames = poses(arguments.video, arguments.model)
    source = LAYOUTS["mediapipe33"]
    ours, kinect = remap(found, source, TARGET).astype(float), recording.joints[frames].astype(float)
    use = np.array([joint not in arguments.leave_out for joint in TARGET.joints])
    rigid, similar = errors_mm(ours, kinect, use, False), errors_mm(ours, kinect, use, True)
    apart_px = np.linalg.norm(remap(pixels, source, TARGET) - recording.colour[frames], axis=-1)
    print(f"{len(frames)} of {recording.frames} frames; mm after alignment, median (p90); pixels apart, median")
    print(f"{'joint':18} {'rotation + translation':>24} {'with scale':>16} {'in the picture':>16}")
    for j, joint in enumerate(TARGET.joints):
        cells = [f"{np.median(e[:, j]):6.0f} ({np.percentile(e[:, j], 90):3.0f})" for e in (rigid, similar)]
        print(
            f"{joint:18} {cells[0]:>24} {cells[1]:>16} {np.nanmedian(apart_px[:, j]):>13.0f} px", "" if use[j] else "-"
        )
    print(f"{'mean of those used':18} {rigid[:, use].mean():24.1f} {similar[:, use].mean():16.1f}")
    path = write_result(
        "mediapipe_ntu" + ("_left_out" if arguments.leave_out else ""),
        machine(),
        {
            "sample": arguments.skeleton.stem,
            "model_sha256": sha256_file(arguments.model),
            "frames": len(frames),
            "frames_of_recording": recording.frames,
            "unit": "mm",
            "left_out": arguments.leave_out,
            "rigid": summary(rigid, use),
            "similarity": summary(similar, use),
            "apart_in_the_picture_px": dict(
                zip(TARGET.joints, np.nanmedian(apart_px, axis=0).round(1).tolist(), strict=True)
            ),
        },
    )
    print(path)


def summary(errors: np.ndarray, use: np.ndarray) -> dict[str, object]:
    joints = {
        joint: {
            "mean": round(float(errors[:, j].mean()), 1),
            "median": round(float(np.median(errors[:, j])), 1),
            "p90": round(float(np.percentile(errors[:, j], 90)), 1),
        }
        for j, joint in enumerate(TARGET.joints)
    }
    return {"mean": round(float(errors[:, use].mean()), 1), "joints": joints}


if __name__ == "__main__":
    main()
