"""Everything about our CUDA kernels that takes a GPU: build, correctness, ceilings, times against peers; one JSON.

    benchmarks/gpu/run_all.sh [--quick] [--dry-run] [--limit SECONDS] [--out FOLDER]

Ends within the limit (470 s) whatever happens, and prints what it has, the table last. Compiling of the module and of
torch.compile's peers goes on beside the checks of correctness; nothing else runs while something is timed, and
contenders take turns. The record goes to --out, $OUT or benchmarks/results/gpu/.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sizes import Case, cases, compiled
from stages import HERE, ROOT, Clock, Remote, Stages, build_module, engine_tests, kernel_tests, sanitized
from table import statistics, table

_TURN_S = 0.08  # of one contender, one turn
_PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "cupy-cuda13x",
    "pydantic",
)


@dataclass
class Run:
    """One call of the script, and what it has found so far."""

    given: argparse.Namespace
    stages: Stages
    folder: Path  # weights, clips
    record: dict = field(default_factory=dict)
    compilers: dict[tuple[Case, str], Remote] = field(default_factory=dict)

    @property
    def device(self) -> int:
        return -1 if self.given.dry_run else 0

    @property
    def clock(self) -> Clock:
        return self.stages.clock


def say(text: str, run: Run) -> None:
    print(f"== {run.clock.passed():5.0f} s  {text}", flush=True)


def output_of(*command: object) -> str:
    try:
        done = subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def about() -> dict[str, object]:
    """Machine, versions and commit."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    query = "name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
    return {
        "gpu": output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"),
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "nvcc": (output_of("nvcc", "--version").splitlines() or [""])[-1],
        "versions": versions,
        "commit": os.environ.get("SKI_EDGE_COMMIT")
        or output_of("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"),
    }


def start_compilers(run: Run) -> None:
    """A process for each torch.compile peer, all at once; they have no need of the native module."""
    for case in cases(run.given.dry_run):
        for precision in compiled(case):
            name = f"compile {case.name} {precision}"
            remote = Remote(run.stages, name, run.folder, run.device, (str(ROOT),) if run.stages.python_path else ())
            remote.say(do="prepare", case=case.as_dict(), labels=[f"torch.compile {precision}"])
            run.compilers[case, precision] = remote


def make_everything(run: Run) -> bool:
    """Module, weights, peers' compilation begun; whether there is anything to measure."""
    say("building, preparing weights", run)
    build = None if run.given.built else build_module(run.stages, Path(run.stages.python_path[0]))
    kernels = None if run.given.built else kernel_tests(run.stages)
    flags = ["--dry-run"] if run.given.dry_run else []
    # Before the build has ended, ski_edge comes from the checkout, without its native module.
    path = () if run.given.built else (str(ROOT),)
    prepared = run.stages.start("prepare", [sys.executable, HERE / "prepare.py", run.folder, *flags], 120, path).wait()
    run.record["stages"]["prepare"] = prepared
    if build is not None:
        run.record["stages"]["build"] = build.wait()
    built = run.record["stages"].get("build", prepared)["ok"]
    if prepared["ok"] and built:
        say("checking", run)  # alone: torch.compile tries kernels on the same GPU for minutes
        run.record["stages"]["engine tests"] = engine_tests(run.stages, run.given.dry_run).wait()
    if prepared["ok"] and not run.given.quick:
        start_compilers(run)
    if prepared["ok"] and built:
        checks = sanitized(run.stages, run.folder, run.device)
        run.record["stages"] |= {name: wait() for name, wait in checks.items()}
    if kernels is not None:
        run.record["stages"]["kernel tests"] = kernels.wait()
    return bool(prepared["ok"] and built)


def wait_for_compilers(run: Run) -> dict[tuple[Case, str], dict]:
    """Their errors and reasons; a third of the time is kept for measuring."""
    found = {}
    until = time.monotonic() + run.clock.left() - run.given.limit / 3
    for key, remote in run.compilers.items():
        found[key] = remote.hear(max(0.5, until - time.monotonic()))
        if "failed" in found[key]:
            found[key] = {"errors": {}, "missing": {f"torch.compile {key[1]}": found[key]["failed"]}}
    return found


def measure(run: Run, main: Remote, case: Case, compiled_ones: dict) -> dict:
    """One row: contenders made and checked, then timed in turns."""
    row: dict = {**case.as_dict(), "errors": {}, "missing": {}, "ms": {}}
    made = main.ask(60, do="prepare", case=case.as_dict(), labels=None)
    if "failed" in made:
        return {**row, "missing": {"all": made["failed"]}}
    askers = {label: main for label in made["errors"] if label not in made["missing"]}
    for part in (made, *(answer for (of, _), answer in compiled_ones.items() if of == case)):
        row["errors"] |= part["errors"]
        row["missing"] |= part["missing"]
    for precision in compiled(case):
        label = f"torch.compile {precision}"
        if label in row["errors"] and label not in row["missing"]:
            askers[label] = run.compilers[case, precision]
    samples: dict[str, list[float]] = {label: [] for label in askers}
    for turn in range(2 if run.given.dry_run else 5):
        labels = list(askers)
        first = turn % max(1, len(labels))  # who comes first changes
        for label in labels[first:] + labels[:first]:
            answer = askers[label].ask(20, do="turn", label=label, seconds=_TURN_S)
            if "failed" in answer:
                row["missing"][label] = answer["failed"]
                askers.pop(label)
            samples[label] += answer.get("ms", [])
    row["ms"] = {label: statistics(found) for label, found in samples.items() if found}
    return row


def measure_all(run: Run) -> None:
    if run.compilers:
        say(f"waiting for {len(run.compilers)} x torch.compile", run)
    ready = wait_for_compilers(run)
    say("measuring", run)
    main = Remote(run.stages, "measure", run.folder, run.device)
    run.record["peaks"] = main.ask(60, do="peaks")
    print(run.record["peaks"], flush=True)
    for case in cases(run.given.dry_run):
        if run.clock.left() < 5 or main.process.poll() is not None:
            run.record["cut_short"] = f"out of time before {case.name}"
            break
        row = measure(run, main, case, ready)
        run.record["rows"].append(row)
        say(f"{case.name}: {len(row['ms'])} contenders, not run: {len(row['missing'])}", run)


def write(run: Run) -> Path:
    out = run.given.out or Path(os.environ.get("OUT") or ROOT / "benchmarks" / "results" / "gpu")
    out.mkdir(parents=True, exist_ok=True)
    words = run.record["machine"]["gpu"].split(",")[0].lower().split() or ["no", "gpu"]
    path = out / f"{datetime.date.today()}-{'-'.join(words)}.json"
    path.write_text(json.dumps(run.record, indent=1) + "\n")
    return path


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without torch.compile")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the host: does the script work?")
    parser.add_argument("--built", action="store_true", help="with the ski_edge that Python finds; builds nothing")
    parser.add_argument("--limit", type=float, default=470, help="seconds after which it ends")
    parser.add_argument("--out", type=Path, help="folder of the record")
    parser.add_argument("--work", type=Path, help="folder of what is built, and of logs; kept")
    return parser.parse_args()


def main() -> int:
    given = options()
    work = (given.work or Path(tempfile.mkdtemp(prefix="ski-edge-gpu-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    site = [] if given.built else [str(work / "site")]
    run = Run(given, Stages(work, Clock(given.limit), site), work / "data")
    shutil.rmtree(run.folder, ignore_errors=True)  # of a run before; what was compiled stays
    run.folder.mkdir()
    run.record = {"machine": about(), "dry_run": given.dry_run, "stages": {}, "rows": []}
    try:
        if make_everything(run):
            measure_all(run)
    finally:
        run.stages.stop_all()
        run.record["seconds"] = round(run.clock.passed(), 1)
        path = write(run)
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{table(run.record)}\n{path}")
    wrong = [name for name, stage in run.record["stages"].items() if stage["ok"] is False]
    return int(bool(wrong) or not run.record["rows"])


if __name__ == "__main__":
    sys.exit(main())
