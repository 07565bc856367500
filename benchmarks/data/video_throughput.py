"""How many training clips a second do `VideoBatches` give, and how long would a training step wait for them?

One video (--video FILE, or generated) lies in a folder under --clips names, so that files come from the page cache and
decoding is what is measured. For each number of threads one epoch is read as files, then the epoch that fills the cache
and the one after it. Batches are compared with those of one thread before anything is timed. A step of the network is
a pause of --step-ms, as a GPU leaves the processor alone. Writes
benchmarks/results/<machine>/<date>-video-throughput.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from ski_edge.data.video import VideoFiles
from ski_edge.data.video.decode import probe
from ski_edge.runtime.measure import machine
from ski_edge.testing.clips import moving_shapes
from ski_edge.testing.results import write_result
from ski_edge.train.recipe import read_recipe
from ski_edge.train.video_batches import VideoBatches
from ski_edge.train.video_recipe import VideoRecipe


def make_folder(folder: Path, clips: int, video: Path | None) -> VideoFiles:
    """The same video under many names."""
    first = folder / f"0000{video.suffix if video else '.mp4'}"
    if video:
        shutil.copy(video, first)
    else:
        writer = cv2.VideoWriter(str(first), cv2.VideoWriter_fourcc(*"mp4v"), 30, (340, 256))
        for frame in moving_shapes(100, 256, 340):
            writer.write(frame[:, :, ::-1])
        writer.release()
    names = [f"{number:04d}{first.suffix}" for number in range(clips)]
    for name in names[1:]:
        os.link(first, folder / name)
    return VideoFiles(folder, names, [0] * clips, ("any",))


def epoch_s(batches: VideoBatches, epoch: int, step_s: float) -> tuple[float, float]:
    """(seconds of an epoch, seconds of it that were spent waiting for a batch)."""
    waited, start = 0.0, time.perf_counter()
    stream = batches.epoch(epoch)
    while True:
        asked = time.perf_counter()
        if next(stream, None) is None:
            return time.perf_counter() - start, waited
        waited += time.perf_counter() - asked
        time.sleep(step_s)


def measure(source: VideoFiles, recipe: VideoRecipe, batch: int, step_s: float, rounds: int) -> dict[str, object]:
    """One row: clips/s without a pause, and the share of the time that is waiting with one."""
    batches = VideoBatches(source, np.arange(len(source.names)), recipe, "cpu", batch, 0)
    clips = len(batches) * batch
    if recipe.cache is not None:  # the files are hard links to one inode, but cached by path
        filled, _ = epoch_s(batches, 0, 0)
    best = min(epoch_s(batches, 1 + number, 0)[0] for number in range(rounds))
    whole, waited = epoch_s(batches, 1, step_s)
    row = {"clips_per_s": round(clips / best, 1), "waiting_share": round(waited / whole, 3)}
    if recipe.cache is not None:
        row["filling_clips_per_s"] = round(clips / filled, 1)
    return row


class Clips(torch.utils.data.Dataset):
    """The same clips for torch's worker processes, the other way there would be."""

    def __init__(self, batches: VideoBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches.which)

    def __getitem__(self, place: int) -> np.ndarray:
        return np.ascontiguousarray(self.batches._clip(place, np.random.default_rng([0, 1, place])))


def processes_clips_per_s(source: VideoFiles, recipe: VideoRecipe, batch: int, rounds: int) -> float:
    """`workers` processes in place of threads; their start is left out, they live through all rounds."""
    clips = Clips(VideoBatches(source, np.arange(len(source.names)), recipe, "cpu", batch, 0))
    loader = torch.utils.data.DataLoader(clips, batch, num_workers=recipe.workers, persistent_workers=True)
    best = np.inf
    for number in range(rounds + 1):
        start = time.perf_counter()
        count = sum(len(frames) for frames in loader)
        if number:
            best = min(best, (time.perf_counter() - start) / count)
    return 1 / best


def check(source: VideoFiles, recipe: VideoRecipe, batch: int) -> None:
    """Threads and the cache change nothing."""

    def first(**fields: object) -> torch.Tensor:
        changed = recipe.model_copy(update=fields)
        return next(VideoBatches(source, np.arange(batch), changed, "cpu", batch, 0).epoch(0)).frames

    with tempfile.TemporaryDirectory() as cache:
        want, kept = first(workers=0), first(workers=0, cache=Path(cache))
        assert torch.equal(want, first(workers=3)), "threads gave other pixels"
        assert torch.equal(kept, first(workers=2, cache=Path(cache))), "threads gave other pixels from the cache"
        # jitter crops resize from the recording itself, or from the cache's smaller frames
        assert recipe.crop == "jitter" or torch.equal(want, kept), "the cache gave other pixels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path, help="default: 100 generated frames of 340 x 256, MPEG-4")
    parser.add_argument("--recipe", default="vificlip-official", help="whose frames, crops and colours")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--step-ms", type=float, default=200, help="how long the network would work on a batch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--name", default="video-throughput")
    arguments = parser.parse_args()
    video = read_recipe(arguments.recipe).video
    load, rows = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        source = make_folder(Path(folder), arguments.clips, arguments.video)
        facts = probe(source.path(0))
        check(source, video, arguments.batch)
        for workers in arguments.workers:
            for cached in (False, True):
                with tempfile.TemporaryDirectory() as cache:
                    fields = {"workers": workers, "cache": Path(cache) if cached else None}
                    recipe = video.model_copy(update=fields)
                    row = measure(source, recipe, arguments.batch, arguments.step_ms / 1000, arguments.rounds)
                    if workers:
                        rate = processes_clips_per_s(source, recipe, arguments.batch, arguments.rounds)
                        row["processes_clips_per_s"] = round(rate, 1)
                rows.append({"workers": workers, "frames_from": "cache" if cached else "files", **row})
                print(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    content = {
        "video": {"frames": facts.frames, "height": facts.height, "width": facts.width, "real": bool(arguments.video)},
        "recipe": arguments.recipe,
        "clips": arguments.clips,
        "batch": arguments.batch,
        "step_ms": arguments.step_ms,
        "opencv": cv2.__version__,
        "load_at_start": round(load, 2),
        "rows": rows,
    }
    print(write_result(arguments.name, machine(), content))


if __name__ == "__main__":
    main()
