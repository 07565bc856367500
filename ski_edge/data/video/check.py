"""Before hours are spent: which videos and skeletons belong together, which files decode, which classes have clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.data.splits import available, is_zero_shot, split, zero_shot_classes
from ski_edge.data.store import SkeletonData
from ski_edge.data.video.csv_list import Listing, list_videos
from ski_edge.data.video.decode import probe
from ski_edge.data.video.files import CheckedFiles, FileCheck, VideoFiles, read_checked, stamp, write_checked
from ski_edge.data.video.pairing import pair, unpaired
from ski_edge.errors import BadInput

_DIFFERENT = 0.1  # of the frames: preparation drops frames without a body, so a few fewer are no fault
Progress = Callable[[int, int, int], None]  # (files done, in all, unusable)


def check_pairs(
    data: SkeletonData,
    videos: Path,
    root: Path | None = None,
    names: Sequence[str] = (),
    splits: Sequence[str] = (),
    list_file: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total, bad: None,
) -> dict[str, Any]:
    """What there is and what is missing. Every video is decoded once.

    videos, root: as for `open_videos`; names: class names of a list's labels, where they are to be compared with the
    skeletons'; splits: all that fit, where none are named; list_file: see `check_files`.
    """
    for name in splits:  # before hours of decoding
        split(data, name)
    listing = list_videos(videos, root)
    checked = check_files(listing, list_file, workers, progress)
    bad = {file: checked.files[file].why for file in listing.files if checked.files[file].why}
    summary: dict[str, Any] = {
        "path": str(data.folder),
        "videos": str(videos),
        "video_files": len(listing.files),
        "unusable": [{"file": file, "why": why} for file, why in bad.items()],
        "skeletons": len(data),
    }
    if len(bad) == len(listing.files):
        raise BadInput(f"none of the {len(bad)} videos can be used, the first: {next(iter(bad.values()))}")
    source = VideoFiles(listing.root, listing.files, listing.labels, _classes(listing, data, names), checked)
    clips, bodies = pair(source, data)
    alone, bodies_alone = unpaired(source, data)
    summary |= {
        "pairs": len(clips),
        "videos_without_skeleton": list(alone),
        "skeletons_without_video": list(bodies_alone),
        "lengths_differ": _lengths(source, data, clips, bodies),
        "labels_differ": _labels(listing, source, data, clips, bodies, names),
        "splits": {},
    }
    for name in splits or [name for name in available(data.index) if name.partition(":")[2] not in ("COUNT", "IDS")]:
        summary["splits"][name] = _parts(data, name, bodies)
    return summary


def check_files(
    listing: Listing,
    list_file: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total, bad: None,
) -> CheckedFiles:
    """Decode every file.

    list_file: written, also when interrupted; what it says of files that have not changed since is believed.
    """
    known = read_checked(list_file).files if list_file is not None and list_file.is_file() else {}

    def one(file: str) -> FileCheck:
        path = listing.root / file
        size, mtime_ns = stamp(path)
        before = known.get(file)
        if before is not None and size and (size, mtime_ns) == (before.bytes, before.mtime_ns):
            return before
        try:
            facts = probe(path)
        except BadInput as error:
            return FileCheck(bytes=size, mtime_ns=mtime_ns, why=str(error))
        return FileCheck(bytes=size, mtime_ns=mtime_ns, frames=facts.frames, steady=facts.steady)

    files: dict[str, FileCheck] = {}
    unusable = 0
    pool = ThreadPoolExecutor(workers)
    try:
        for file, found in zip(listing.files, pool.map(one, listing.files), strict=True):
            files[file] = found
            unusable += bool(found.why)
            progress(len(files), len(listing.files), unusable)
    finally:
        pool.shutdown(cancel_futures=True)
        if list_file is not None:
            write_checked(list_file, CheckedFiles(files={**known, **files}))
    return CheckedFiles(files=files)


def _classes(listing: Listing, data: SkeletonData, names: Sequence[str]) -> tuple[str, ...]:
    """Names enough for every label: a list's labels are often counted anew within a split."""
    own = tuple(names) or data.index.classes
    return own + tuple(f"label {label}" for label in range(len(own), max(listing.labels) + 1))


def _lengths(source: VideoFiles, data: SkeletonData, clips: np.ndarray, bodies: np.ndarray) -> list[str]:
    found = []
    for clip, body in zip(clips.tolist(), bodies.tolist(), strict=True):
        video, skeleton = source.length(clip), data.index.clips[body].frames
        if abs(video - skeleton) > _DIFFERENT * max(video, skeleton):
            found.append(f"{source.names[clip]}: video {video} frames, skeleton {skeleton}")
    return found


def _labels(
    listing: Listing,
    source: VideoFiles,
    data: SkeletonData,
    clips: np.ndarray,
    bodies: np.ndarray,
    names: Sequence[str],
) -> list[str]:
    """Pairs whose video is said to show something else. A list without names of its own cannot be compared."""
    if listing.kind == "folder" or (listing.kind == "list" and not names):
        return []
    found = []
    for clip, body in zip(clips.tolist(), bodies.tolist(), strict=True):
        label, entry = data.index.clips[body].label, source.classes[source.labels[clip]]
        if label >= 0 and entry != data.index.classes[label]:
            found.append(f"{source.names[clip]}: video {entry}, skeleton {data.index.classes[label]}")
    return found


def _parts(data: SkeletonData, name: str, bodies: np.ndarray) -> dict[str, Any]:
    """Pairs of a split, and its classes without any."""
    try:
        parts = split(data, name)
    except BadInput as error:
        return {"error": str(error)}
    classes = data.index.classes
    if is_zero_shot(name):
        wanted = zero_shot_classes(name, classes)
    else:
        present = np.unique(np.concatenate([data.labels[part] for part in parts]))
        wanted = (tuple(present.tolist()),) * 2
    result: dict[str, Any] = {}
    for what, part, labels in zip(("train", "test"), parts, wanted, strict=True):
        paired = part[np.isin(part, bodies)]
        missing = sorted(set(labels) - set(data.labels[paired].tolist()))
        result[what] = len(paired)
        result[f"{what}_classes_without_pairs"] = [classes[label] for label in missing]
    return result
