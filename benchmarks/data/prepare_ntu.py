"""How fast is `ski-edge data prepare ntu`, and how long would all of NTU RGB+D 120 take?

Gives each of the real samples many names (hard links), prepares them with one and with two workers in a process of
their own, checks that both wrote the same and that every clip is its sample's, and writes
benchmarks/results/<machine>/<date>-prepare_ntu.json. The files come from the page cache, so a slow disk is not in
these numbers. The load of the machine at the start and the CPU time per file are recorded: where other work runs beside
it, the CPU time tells what an idle machine would do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ski_edge.data import open_data
from ski_edge.data.denoise import to_clip
from ski_edge.data.ntu import read_ntu
from ski_edge.runtime.measure import machine
from ski_edge.testing.results import write_result

CLI = [sys.executable, "-m", "ski_edge.cli.main"]
NTU120_FILES = 114_480


def repeat(samples: list[Path], times: int, raw: Path) -> None:
    """Every sample under `times` names that are valid and its own action's."""
    for sample in samples:
        action = sample.stem[-4:]
        for number in range(times):
            setup, subject, replication = number % 17 + 1, number // 17 % 40 + 1, number // 680 + 1
            name = f"S{setup:03d}C001P{subject:03d}R{replication:03d}{action}.skeleton"
            try:
                os.link(sample, raw / name)
            except OSError:  # another file system
                shutil.copy(sample, raw / name)


def prepare(raw: Path, out: Path, workers: int) -> dict[str, float]:
    """One run of the verb; the time is its own, without the start of Python."""
    command = [*CLI, "data", "prepare", "ntu", "--raw", raw, "--out", out, "--workers", str(workers), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = report["files"] / report["seconds"]
    return {
        "workers": workers,
        "files": report["files"],
        "seconds": report["seconds"],
        "files_per_s": round(rate, 1),
        "cpu_ms_per_file": round(1000 * busy / report["files"], 2),
        "ntu120_minutes": round(NTU120_FILES / rate / 60, 1),
    }


def check(samples: list[Path], one: Path, two: Path) -> None:
    """The same bytes with one worker and with two, and every clip as the pipeline gives it in this process."""
    assert (one / "clips.npy").read_bytes() == (two / "clips.npy").read_bytes()
    data = open_data(one)
    wanted = {sample.stem[-4:]: to_clip(read_ntu(sample), sample.name) for sample in samples}
    for number, clip in enumerate(data.index.clips):
        assert np.array_equal(data[number], wanted[clip.name[-4:]]), clip.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path, help="folder with real .skeleton files, one of each action")
    parser.add_argument("--times", type=int, default=500, help="names per sample")
    arguments = parser.parse_args()
    samples = sorted(arguments.samples.glob("S*.skeleton"))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as work:
        raw = Path(work) / "raw"
        raw.mkdir()
        repeat(samples, arguments.times, raw)
        rows = [prepare(raw, Path(work) / f"out{workers}", workers) for workers in (1, 2)]
        check(samples, Path(work) / "out1", Path(work) / "out2")
    for row in rows:
        speed = f"{row['files']} files in {row['seconds']:.1f} s, {row['files_per_s']:.0f} files/s"
        speed += f" ({row['cpu_ms_per_file']} ms of CPU each)"
        print(f"{row['workers']} worker(s): {speed}; all {NTU120_FILES} of NTU-120: {row['ntu120_minutes']:.0f} min")
    sizes = [sample.stat().st_size for sample in samples]
    content = {"samples": len(samples), "mean_file_bytes": round(float(np.mean(sizes))), "load_at_start": load}
    print(write_result("prepare_ntu", machine(), {**content, "rows": rows}))


if __name__ == "__main__":
    main()
