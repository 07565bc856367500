"""From raw files to prepared data: in parallel, resumable after a kill, never stopped by one bad file.

While it runs, a folder `.NAME.partial` beside the output holds `clips.npy`, to which every finished file's frames are
appended, `journal.jsonl` with one line per finished file, and `plan.json`. A second run of the same plan goes on after
the last line whose frames are whole. At the end the folder becomes the output.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ski_edge.data.plans import Clip, Plan
from ski_edge.data.store import CLIPS, HEADER_BYTES, INDEX, REPORT, ClipEntry, Index, is_prepared, write_header
from ski_edge.errors import BadInput, SkiEdgeError
from ski_edge.files import check_replaceable, new_folder, read_json, write_json

_JOURNAL, _PLAN = "journal.jsonl", "plan.json"
_CHUNK = 16  # files a worker takes at a time

Progress = Callable[[int, int, int], None]  # files done, files in all, files skipped


@dataclass(frozen=True)
class _Done:
    """What one raw file became: clips, and reasons for what was left out."""

    entries: list[dict[str, Any]]
    frames: bytes  # float32 of all its clips, one after another
    skipped: list[tuple[str, str]]


def prepare(
    plan: Plan, out: Path, workers: int = 1, progress: Progress = lambda done, total, skipped: None
) -> dict[str, Any]:
    """Run a plan and write `out`; returns the content of its report.json.

    Raises BadInput when nothing at all could be used, or when `out` holds somebody's files.
    """
    check_replaceable(out, is_prepared)
    out = Path(out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.partial"
    started = time.monotonic()
    with _locked(work):
        lines, offset = _resume(work, plan)
        resumed = len(lines)
        with open(work / CLIPS, "r+b") as frames, open(work / _JOURNAL, "a", encoding="utf-8") as journal:
            frames.seek(offset)
            skipped = sum(bool(line["skipped"]) for line in lines)
            for file, done in zip(plan.files[resumed:], _results(plan, resumed, workers), strict=True):
                line = {"file": str(file), "bytes": len(done.frames), "crc": zlib.crc32(done.frames)}
                line |= {"clips": done.entries, "skipped": done.skipped}
                frames.write(done.frames)
                frames.flush()  # before the journal says that they are there
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                lines.append(line)
                skipped += bool(done.skipped)
                progress(len(lines), len(plan.files), skipped)
        return _finish(plan, work, out, lines, resumed, time.monotonic() - started)


def _read_one(plan: Plan, file: Path) -> _Done:
    """One raw file; whatever is wrong with it is a reason, never an end."""
    skipped: list[tuple[str, str]] = []
    try:
        clips = plan.read(file, skipped)
    except SkiEdgeError as error:
        return _Done([], b"", [(_printable(file.name), _printable(str(error)))])
    except Exception as error:  # a reader that fails in a way of its own must not end the work of hours
        return _Done([], b"", [(_printable(file.name), _printable(f"not readable ({type(error).__name__}: {error})"))])
    return _Done([_entry(clip) for clip in clips], b"".join(_frames(clip, plan) for clip in clips), skipped)


def _printable(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _entry(clip: Clip) -> dict[str, Any]:
    return clip.entry.model_dump(mode="json", exclude_defaults=True)


def _frames(clip: Clip, plan: Plan) -> bytes:
    """The clip's bytes with all body slots; those it does not have are zeros."""
    slots = np.zeros((clip.entry.frames, plan.persons, plan.layout.num_joints, 3), np.float32)
    slots[:, : clip.joints.shape[1]] = clip.joints
    return slots.tobytes()


def _results(plan: Plan, start: int, workers: int) -> Iterator[_Done]:
    """Results in the order of the files."""
    files = plan.files[start:]
    if workers <= 1 or len(files) < 2 * _CHUNK:
        yield from map(_read_one, repeat(plan), files)
        return
    # Spawned, not forked: a progress bar has threads. The plan travels once per worker, not once per file.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(), plan.without_files())
    )
    try:
        yield from pool.map(_work, files, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise BadInput(
            "a worker process died (out of memory?); run the same command again to go on, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_worker_plan: Plan | None = None  # set once in each worker process


def _start_worker(parent: int, plan: Plan) -> None:
    global _worker_plan
    _worker_plan = plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # a parent that was killed cannot stop its workers

    threading.Thread(target=watch, daemon=True).start()


def _work(file: Path) -> _Done:
    assert _worker_plan is not None
    return _read_one(_worker_plan, file)


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """One run at a time writes a partial folder; the lock goes with the process, however it ends."""
    import fcntl

    work.mkdir(exist_ok=True)
    with open(work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"another run is preparing the same output ({work}); wait for it, or choose another --out"
            ) from error
        yield


def _resume(work: Path, plan: Plan) -> tuple[list[dict[str, Any]], int]:
    """(journal lines that hold, end of their frames in clips.npy); everything after them is cut off."""
    fingerprint = plan.fingerprint()
    same = False
    with contextlib.suppress(BadInput):
        same = read_json(work / _PLAN, "plan") == {"fingerprint": fingerprint}
    if not same or not (work / CLIPS).exists() or not (work / _JOURNAL).exists():
        for name in (CLIPS, _JOURNAL):
            (work / name).write_bytes(b"\0" * HEADER_BYTES if name == CLIPS else b"")
        write_json(work / _PLAN, {"fingerprint": fingerprint})
        return [], HEADER_BYTES
    lines: list[dict[str, Any]] = []
    text = (work / _JOURNAL).read_text("utf-8", errors="replace")
    with open(work / CLIPS, "rb") as frames:
        frames.seek(HEADER_BYTES)
        for line in text.split("\n")[:-1]:  # what follows the last newline was being written
            record = _whole(line, frames, str(plan.files[len(lines)]) if len(lines) < len(plan.files) else "")
            if record is None:
                break
            lines.append(record)
    offset = HEADER_BYTES + sum(line["bytes"] for line in lines)
    os.truncate(work / CLIPS, offset)
    (work / _JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return lines, offset


def _whole(line: str, frames: BinaryIO, file: str) -> dict[str, Any] | None:
    """A journal line, if it is of this file and its frames are on the disk as they were written."""
    try:
        record = json.loads(line)
        data = frames.read(record["bytes"])
        holds = record["file"] == file and len(data) == record["bytes"] and zlib.crc32(data) == record["crc"]
    except (ValueError, KeyError, TypeError):
        return None
    return record if holds else None


def _finish(
    plan: Plan, work: Path, out: Path, lines: list[dict[str, Any]], resumed: int, seconds: float
) -> dict[str, Any]:
    entries = tuple(ClipEntry.model_validate(entry) for line in lines for entry in line["clips"])
    skipped = [{"file": name, "why": why} for line in lines for name, why in line["skipped"]]
    skipped += [{"file": _printable(name), "why": _printable(why)} for name, why in plan.skipped]
    if not entries:
        first = f"; the first: {skipped[0]['file']}: {skipped[0]['why']}" if skipped else ""
        shutil.rmtree(work, ignore_errors=True)
        raise BadInput(f"none of {len(lines)} files of {plan.dataset} could be used{first}")
    index = Index(**plan.index_fields(), clips=entries)
    report = {
        "dataset": plan.dataset,
        "files": len(plan.files),
        "clips": len(entries),
        "frames": sum(entry.frames for entry in entries),
        "seconds": round(seconds, 3),
        "resumed_after": resumed,
        "notes": list(plan.notes),
        "skipped": skipped,
    }
    write_header(work / CLIPS, (report["frames"], index.persons, index.layout.num_joints, 3))
    with open(work / CLIPS, "rb") as frames:
        os.fsync(frames.fileno())  # the long part, while a kill still loses nothing
    with new_folder(out, is_prepared) as folder:
        write_json(folder / INDEX, index.model_dump(mode="json"))
        write_json(folder / REPORT, report)
        os.replace(work / CLIPS, folder / CLIPS)  # last: a failure before it loses nothing
    shutil.rmtree(work, ignore_errors=True)
    return report
