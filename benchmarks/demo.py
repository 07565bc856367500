"""`make demo`: the main job on this machine, through the same commands a user types.

export -> verify -> benchmark -> monitor, on a real clip if one is at hand (VIDEO=..., or SKI_EDGE_DATA's archive),
else on a generated one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

OUT = Path("runs/demo")
MEMBER = "video/decord/flipping_a_pancake.mkv"  # one person cooking, 10 s


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
        return target, "real footage: a person flips a pancake"
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--video")
    video, what = find_video(parser.parse_args().video)
    bundle, result = OUT / "bundle", OUT / "monitor"
    print(f"source: {what}\nNo trained weights ship yet: the weights are random, so labels and scores mean nothing.")
    run("export", "--model", "ski-vificlip", "--weights", "random", "--arch", "tiny", "--out", bundle)
    run("verify", bundle)
    run("benchmark", "--model", bundle, "--duration", "3s", "--out", OUT / "benchmark")
    run("monitor", "--model", bundle, "--source", video, "--out", result, "--headless", "--overwrite")
    print(
        f"""
What was made:
  {result}/annotated.mp4   the video with the activity and the three best labels drawn in
  {result}/timeline.png    which activity when (grey: unknown), and the best score over time
  {result}/events.jsonl    every change of activity, one JSON a line; monitor.sqlite holds the same as a table
  {OUT}/benchmark/benchmark.png
What the numbers mean:
  verify     the ONNX graph against torch: errors near 1e-6 are float32 rounding, so both compute the same
  benchmark  'update' is what each new frame costs in a live stream; 'whole window again' is what it would
             cost without keeping embeddings
  monitor    with random weights no label is believed, so the activity is 'unknown': that is the right answer
Next: ski-edge export --model vificlip --weights openclip:openai --out runs/clip   (downloads CLIP's weights)"""
    )


if __name__ == "__main__":
    main()
