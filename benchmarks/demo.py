"""`make demo`: the main jobs on this machine, through the same commands a user types.

A camera's view becomes activities: the shipped pose model watches a real clip (VIDEO=..., or one of SKI_EDGE_DATA's
archive), with MediaPipe finding the people. Then the command that started it all: a video-language model becomes a
verified bundle.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

OUT = Path("runs/demo")
MEMBER = "video/felixchenfy/exercise.avi"  # three people exercise, 13 s
POSE_FILE = "pose_landmarker_full.task"


def run(*arguments: str | Path) -> None:
    """One command, shown as a user would type it; the demo ends where one fails."""
    print(f"\n$ ski-edge {' '.join(map(str, arguments))}", flush=True)
    code = subprocess.run(["ski-edge", *map(str, arguments)]).returncode
    if code:
        sys.exit(code)


def find_video(given: str | None) -> tuple[Path, str]:
    """(a clip, what it is)."""
    if given:
        return Path(given), "your video"
    archive = Path(os.environ.get("SKI_EDGE_DATA", "../shared/data")) / "videos.tar.xz"
    if archive.is_file():
        # Outside the repository: footage is never part of it.
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ski-edge"
        target = cache / MEMBER
        if not target.is_file():
            with tarfile.open(archive) as tar:
                data = tar.extractfile(MEMBER)
                if data is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data.read())
        return target, "real footage: people exercise"
    return generated_clip(
        OUT / "generated.mp4"
    ), f"a generated clip, since {archive} is not there (VIDEO=... takes yours)"


def generated_clip(path: Path) -> Path:
    """Ten seconds of moving shapes as an MP4."""
    import cv2

    from ski_edge.testing.clips import moving_shapes

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for frame in moving_shapes(300):
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


def find_pose_model() -> str:
    """Empty when MediaPipe and its model file are there, else why not."""
    from ski_edge.monitor.pose import why_not_mediapipe

    beside = Path(os.environ.get("SKI_EDGE_DATA", "../shared/data")) / POSE_FILE
    if beside.is_file():
        os.environ.setdefault("SKI_EDGE_POSE_MODEL", str(beside.resolve()))
    return why_not_mediapipe()


def watch_people(video: Path) -> None:
    """The pose half: trained weights on a real person."""
    run("verify", "utd27")
    run("benchmark", "--model", "utd27", "--duration", "3s", "--out", OUT / "benchmark-utd27")
    run("monitor", "--model", "utd27", "--source", video, "--out", OUT / "people", "--headless", "--overwrite")
    print(
        f"""
What was made:
  {OUT}/people/annotated.mp4   skeletons, who is who, and what each person does
  {OUT}/people/timeline.png    one row per person (grey: unknown), and the best score over time
  {OUT}/people/events.jsonl    every change of activity, one JSON a line; monitor.sqlite holds the same as a table
These weights were trained on UTD-MHAD, 27 actions in front of a Kinect (see ski_edge/zoo/utd27/README.md for how
often they are right): gestures and exercises are named, everything else should be 'unknown'."""
    )


def export_a_model(video: Path) -> None:
    """The video-language half, from the weights that ship to a bundle, and any words as labels."""
    bundle = OUT / "bundle"
    labels = "a person claps both hands,a person raises the right hand above the head,a person stands"
    run("export", "--model", "ski-vificlip", "--out", bundle)
    run("verify", bundle)
    watch = ("--model", bundle, "--source", video, "--labels", labels, "--out", OUT / "words")
    run("monitor", *watch, "--headless", "--overwrite")
    print(
        """
The labels were typed here; the bundle read them with its own text tower. Its weights were trained on drawn people alone
(see ski_edge/zoo/ski-vificlip/README.md): parity and speed are real, what it says about real footage is a guess.
Next: ski-edge export --model vificlip --weights openclip:openai --out runs/clip   (downloads CLIP's weights)"""
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--video")
    video, what = find_video(parser.parse_args().video)
    print(f"source: {what}")
    if missing := find_pose_model():
        print(f"\nNo people can be found in pictures here, so the pose model is not shown: {missing}")
    else:
        watch_people(video)
    export_a_model(video)


if __name__ == "__main__":
    main()
