"""The stages of a run: processes with time limits; what fails or runs out of time says so, and the rest goes on."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass
class Clock:
    """Of the whole run: no stage gets more than what is left."""

    limit_s: float
    start: float = field(default_factory=time.monotonic)

    def left(self, at_most: float = 1e9) -> float:
        return max(0.0, min(at_most, self.start + self.limit_s - time.monotonic()))

    def passed(self) -> float:
        return time.monotonic() - self.start


@dataclass
class Job:
    """A command running on its own, its output in a file."""

    name: str
    process: subprocess.Popen
    log: Path
    deadline: float
    began: float

    def wait(self) -> dict[str, object]:
        """How it ended; it is stopped at its deadline."""
        try:
            code = self.process.wait(timeout=max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            stop(self.process)
            code = "out of time"
        lines = self.log.read_text(errors="replace").strip().splitlines()
        seconds = round(time.monotonic() - self.began, 1)
        found = {"ok": code == 0, "seconds": seconds, "says": lines[-1][:300] if lines else ""}
        if code != 0:
            found |= {"code": code, "tail": lines[-25:]}
        print(f"[{self.name}] {'ok' if code == 0 else code}, {seconds} s: {found['says']}", flush=True)
        return found


def stop(process: subprocess.Popen) -> None:
    """The process and what it started; each job has a process group of its own."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(timeout=5)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


class Stages:
    def __init__(self, work: Path, clock: Clock, python_path: list[str]) -> None:
        self.work, self.clock = work, clock
        self.python_path = python_path  # where ski_edge is, before what is set already
        self.jobs: list[subprocess.Popen] = []

    def environment(self, *first: str) -> dict[str, str]:
        given = [p for p in (*first, *self.python_path, os.environ.get("PYTHONPATH", "")) if p]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(given),
            "PYTHONUNBUFFERED": "1",
            "TORCHINDUCTOR_COMPILE_THREADS": "4",  # several compile at once, beside nvcc
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "inductor"),
        }

    def start(self, name: str, command: list[object], limit_s: float, path: tuple[str, ...] = ()) -> Job:
        """path: folders that come first where Python looks for modules."""
        log = self.work / f"{name.replace(' ', '-')}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=self.work, stdout=out, stderr=subprocess.STDOUT,
                env=self.environment(*path), start_new_session=True,
            )  # fmt: skip
        self.jobs.append(process)
        now = time.monotonic()
        return Job(name, process, log, now + self.clock.left(limit_s), now)

    def stop_all(self) -> None:
        for process in self.jobs:
            if process.poll() is None:
                stop(process)


class Remote:
    """A worker (worker.py), asked one thing at a time."""

    def __init__(self, stages: Stages, name: str, folder: Path, device: int, path: tuple[str, ...] = ()) -> None:
        self.name, self.stages = name, stages
        with (stages.work / f"{name.replace(' ', '-')}.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), str(folder), str(device)], cwd=stages.work, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=stages.environment(*path),
                start_new_session=True,
            )  # fmt: skip
        stages.jobs.append(self.process)
        self.waiting = selectors.DefaultSelector()
        self.waiting.register(self.process.stdout, selectors.EVENT_READ)

    def say(self, **command: object) -> None:
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except OSError:  # it is gone; `hear` says so
            pass

    def hear(self, limit_s: float) -> dict:
        """Its answer, or {"failed": why}; one that is out of time is stopped, since what it would say later is lost."""
        limit_s = self.stages.clock.left(limit_s)
        if not self.waiting.select(timeout=limit_s):
            stop(self.process)
            return {"failed": f"out of time after {limit_s:.0f} s"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": f"the process ended with {self.process.wait()}"}

    def ask(self, limit_s: float, **command: object) -> dict:
        self.say(**command)
        return self.hear(limit_s)


def build_module(stages: Stages, site: Path) -> Job:
    """ski_edge for this Python and the GPU here, into a folder of its own."""
    cores = os.cpu_count() or 1
    os.environ["CMAKE_BUILD_PARALLEL_LEVEL"] = str(cores)
    command = [
        sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--upgrade",
        "--target", site, "-C", "cmake.define.SKI_EDGE_CUDA=ON", "-C", f"build-dir={stages.work / 'wheel'}", ROOT,
    ]  # fmt: skip
    return stages.start("build", command, stages.clock.limit_s / 2)


def kernel_tests(stages: Stages) -> Job | None:
    """Builds and runs the C++ tests of the kernels."""
    if not (ROOT / "csrc" / "tests" / "test_cuda_kernels.cu").is_file():
        return None
    folder = stages.work / "native"
    steps = (
        f"cmake -S '{ROOT}' -B '{folder}' -G Ninja -DSKI_EDGE_CUDA=ON",
        f"cmake --build '{folder}' --target test_cuda_kernels",
        f"ctest --test-dir '{folder}' -R '^cuda_kernels$' --output-on-failure --no-tests=error",
    )
    return stages.start("kernel tests", ["bash", "-c", " && ".join(steps)], 300)


def engine_tests(stages: Stages, dry: bool) -> Job:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ROOT, "-c"]
    command += [ROOT / "pyproject.toml", ROOT / "tests" / "cuda", "-k"]
    return stages.start("engine tests", [*command, "test_no_clips" if dry else "not host"], 90)


def sanitized(stages: Stages, folder: Path, device: int) -> dict[str, Callable[[], dict]]:
    """compute-sanitizer on tiny networks: its tools, started; or the bare program in a dry run."""
    program = [sys.executable, HERE / "tiny.py", folder / "tiny", device]
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if device < 0:
        return {"tiny networks": stages.start("tiny networks", program, 60).wait}
    if not Path(tool).is_file():
        return {"sanitizer": lambda: {"ok": None, "says": "no compute-sanitizer here"}}
    return {
        kind: stages.start(kind, [tool, "--tool", kind, "--error-exitcode", "9", *program], 100).wait
        for kind in ("memcheck", "racecheck")
    }
