"""`make test-all`: everything, also what takes minutes; a dated report under benchmarks/results/.

Python tests with the slow ones; native tests under sanitizers (address and undefined behaviour; threads) and for
aarch64 under qemu, where a cross-compiler is installed; the native library for every CUDA architecture the found
compiler knows (a build, no GPU needed).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ski_edge.runtime.measure import machine
from ski_edge.testing.results import write_result

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
BIN = Path(sys.executable).parent


def run(*command: object) -> tuple[bool, str]:
    """(passed, its last lines); output is shown as it comes."""
    print("\n$", *command, flush=True)
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    return process.wait() == 0, lines[-1] if lines else ""


def native_tests(folder: Path, *options: str) -> tuple[bool, str]:
    """Configure, build and run the native tests in a build tree of their own."""
    for command in (
        [BIN / "cmake", "-S", ".", "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={BIN / 'ninja'}", *options],
        [BIN / "cmake", "--build", folder],
        [BIN / "ctest", "--test-dir", folder, "--output-on-failure", "--no-tests=error"],
    ):
        passed, last = run(*command)
        if not passed:
            return False, last
    return True, last


def sanitized(name: str) -> tuple[bool, str]:
    flags = f"-fsanitize={name} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"
    options = ["-DSKI_EDGE_CUDA=OFF", "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_CXX_FLAGS={flags}"]
    passed, last = native_tests(BUILD / f"sanitized-{name.split(',')[0]}", *options)
    return passed, f"{name} sanitizers, 0 findings" if passed else last


def aarch64() -> tuple[bool | None, str]:
    """The native library for 64-bit Arm, its tests under an emulator (Debian: g++-aarch64-linux-gnu, qemu-user)."""
    compiler, emulator = "aarch64-linux-gnu-g++", "qemu-aarch64"
    if missing := [tool for tool in (compiler, emulator) if shutil.which(tool) is None]:
        return None, f"skipped: no {', '.join(missing)}"
    options = [
        "-DSKI_EDGE_CUDA=OFF",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        f"-DCMAKE_CROSSCOMPILING_EMULATOR={emulator};-L;/usr/aarch64-linux-gnu",
    ]
    passed, last = native_tests(BUILD / "aarch64", *options)
    return passed, "all native tests pass under qemu, NEON and NEON bfloat16" if passed else last


def cuda_archs() -> tuple[bool | None, str]:
    """A build for all of them without a warning, and its tests."""
    if shutil.which("nvcc") is None:
        return None, "skipped: no CUDA compiler"
    folder = BUILD / "all-cuda"
    strict = ["-DCMAKE_CUDA_FLAGS=-Werror=all-warnings", "-DCMAKE_CXX_FLAGS=-Werror"]
    passed, last = native_tests(folder, "-DSKI_EDGE_CUDA=ON", "-DSKI_EDGE_CUDA_ARCHS=all", *strict)
    if not passed:
        return False, last
    listed = subprocess.run([folder / "csrc" / "test_build_info"], capture_output=True, text=True, check=True).stdout
    built = re.search(r"built for (.*)", listed)[1]
    return True, f"built for sm {built}"


def main() -> int:
    steps = {
        "python tests, slow ones included": lambda: run(BIN / "pytest", "-q"),
        "native, address and undefined behaviour": lambda: sanitized("address,undefined"),
        "native, threads": lambda: sanitized("thread"),
        "native, aarch64": aarch64,
        "every CUDA architecture": cuda_archs,
    }
    report = []
    for name, step in steps.items():
        start = time.monotonic()
        passed, summary = step()
        report.append(
            {"step": name, "passed": passed, "seconds": round(time.monotonic() - start, 1), "summary": summary}
        )
    path = write_result("test_all", machine(), {"steps": report})
    print()
    for row in report:
        word = {True: "ok", False: "FAILED", None: "skipped"}[row["passed"]]
        print(f"{word:8s} {row['seconds']:7.1f} s  {row['step']}: {row['summary']}")
    print(path)
    return int(any(row["passed"] is False for row in report))


if __name__ == "__main__":
    sys.exit(main())
