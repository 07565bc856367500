"""Data that others prepared becomes ours: CTR-GCN's .npz files and pyskl's pickles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.data.ctrgcn_npz import num_classes, read_ctrgcn
from ski_edge.data.pyskl import read_pyskl
from ski_edge.data.store import CLIPS, HEADER_BYTES, INDEX, REPORT, ClipEntry, Index, is_prepared, write_header
from ski_edge.errors import BadInput
from ski_edge.files import new_folder, write_json
from ski_edge.skeleton.layouts import COCO17, NTU25

_NTU_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R\d{3}A(\d{3})")
_MAX_PERSONS = 16


@dataclass
class _Found:
    """What the file turned out to hold; complete when its clips have been read."""

    fields: dict[str, Any] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert(source: Path, out: Path, classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write `out` from one .npz or .pkl file; returns the content of its report.json.

    classes: names in the order of the labels; without them they are numbered (A001, ... where the clips are NTU's).
    """
    found = _Found()
    if source.suffix == ".npz":
        clips = _from_ctrgcn(source, found)
    elif source.suffix in (".pkl", ".pickle"):
        clips = _from_pyskl(source, found)
    else:
        raise BadInput(f"{source.name} cannot be converted: give CTR-GCN's .npz or pyskl's .pkl file")
    with new_folder(out, is_prepared) as folder:
        entries = _write_frames(folder / CLIPS, clips)
        if not entries:
            raise BadInput(f"{source} holds no clips that can be used")
        count = found.fields.pop("count")
        if classes and len(classes) < count:
            raise BadInput(f"{source} has {count} classes, {len(classes)} names were given")
        prefix = "A{:03d}" if found.fields["dataset"] == "ntu" else "class {}"
        names = classes or tuple(prefix.format(number + 1) for number in range(count))
        index = Index(**found.fields, classes=names, clips=tuple(entries))
        frames = sum(entry.frames for entry in entries)
        write_header(folder / CLIPS, (frames, index.persons, index.layout.num_joints, 3))
        report = {"dataset": index.dataset, "clips": len(entries), "frames": frames}
        report |= {"notes": found.notes, "skipped": found.skipped}
        write_json(folder / INDEX, index.model_dump(mode="json"))
        write_json(folder / REPORT, report)
    return report


def _write_frames(path: Path, clips: Iterator[tuple[ClipEntry, np.ndarray]]) -> list[ClipEntry]:
    entries = []
    with open(path, "wb") as file:
        file.write(b"\0" * HEADER_BYTES)
        for entry, joints in clips:
            file.write(np.ascontiguousarray(joints, np.float32).tobytes())
            entries.append(entry)
    return entries


def _ids(name: str) -> dict[str, int]:
    match = _NTU_NAME.fullmatch(name.removesuffix(".skeleton"))
    return dict(zip(("setup", "camera", "subject"), map(int, match.groups()[:3]), strict=True)) if match else {}


def _from_ctrgcn(path: Path, found: _Found) -> Iterator[tuple[ClipEntry, np.ndarray]]:
    found.fields = {"dataset": "ntu", "layout": NTU25, "fps": 30.0, "persons": 2, "centred": True}
    found.fields |= {"licence": "NTU RGB+D: academic research only, no redistribution", "count": num_classes(path)}
    copies = named = 0
    for sample in read_ctrgcn(path):
        if not len(sample.joints):
            found.skipped.append({"file": sample.name, "why": "all zeros"})
            continue
        copies += sample.copied
        ids = _ids(sample.name)
        named += bool(ids)
        split = {"split": sample.split}
        yield ClipEntry(name=sample.name, label=sample.label, frames=len(sample.joints), **ids, **split), sample.joints
    found.fields["second_body"] = "copy" if copies else "zeros"
    kept = f"it is stored as missing, second_body says {found.fields['second_body']}"
    found.notes.append(f"body 2 repeats body 1 in {copies} clips; {kept}")
    if not named:
        found.notes.append("the file names no samples: only its own split is available (file)")


def _from_pyskl(path: Path, found: _Found) -> Iterator[tuple[ClipEntry, np.ndarray]]:
    annotations = list(read_pyskl(path))
    if not annotations:
        raise BadInput(f"{path} holds no annotations")
    joints = {annotation.joints.shape[2] for annotation in annotations}
    if len(joints) != 1:
        raise BadInput(f"{path} mixes skeletons of {sorted(joints)} joints; convert them apart")
    layout = NTU25 if joints == {25} else COCO17
    persons = max(annotation.joints.shape[1] for annotation in annotations)
    ntu = all(_NTU_NAME.fullmatch(annotation.name) for annotation in annotations)
    found.fields = {"dataset": "ntu" if ntu else "pyskl", "layout": layout, "fps": 30.0, "persons": persons}
    highest = max(annotation.label for annotation in annotations)
    found.fields["count"] = highest + 1 if not ntu else 60 if highest < 60 else 120
    if layout is COCO17:
        found.notes.append("2D keypoints: z is 0, the scale makes every clip's torso 0.5 m")
    for annotation in annotations:
        clip = np.zeros((len(annotation.joints), persons, layout.num_joints, 3), np.float32)
        clip[:, : annotation.joints.shape[1]] = annotation.joints
        if not clip.any():
            found.skipped.append({"file": annotation.name, "why": "all zeros"})
            continue
        entry = ClipEntry(
            name=annotation.name,
            label=annotation.label,
            frames=len(clip),
            split=annotation.split,
            **_ids(annotation.name),
        )
        yield entry, clip
