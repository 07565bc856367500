"""A look at prepared data or at one raw file: what is in it, and whether the numbers can be true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.data import ctrgcn_npz, folder, npz, ntu, pku, pyskl, smarthome, sysu, ucla, utd
from ski_edge.data.splits import available
from ski_edge.data.store import SkeletonData, open_data
from ski_edge.errors import BadInput
from ski_edge.skeleton.layouts import Layout

_PIECE_FRAMES = 50_000


def check(path: Path, layout: Layout | None = None) -> dict[str, Any]:
    """Summary of a prepared folder or of one raw file. Raises BadInput where it cannot be opened.

    layout: of a .npy or .csv clip.
    """
    if path.is_dir():
        return check_data(open_data(path))
    if not path.is_file():
        raise BadInput(f"{path} does not exist; give a prepared folder or a raw file")
    return {"path": str(path), **_raw(path, layout)}


def check_data(data: SkeletonData) -> dict[str, Any]:
    """Every number of prepared data is read once."""
    index = data.index
    lengths = np.array([clip.frames for clip in index.clips], np.int64)
    nans, farthest, persons = 0, 0.0, np.zeros(index.persons, np.int64)
    for start in range(0, len(data.frames), _PIECE_FRAMES):
        piece = np.asarray(data.frames[start : start + _PIECE_FRAMES])
        nans += int(np.count_nonzero(~np.isfinite(piece)))
        farthest = max(farthest, float(np.abs(np.nan_to_num(piece, posinf=0, neginf=0)).max()))
        persons += (piece != 0).any(axis=(2, 3)).sum(axis=0)
    labels = data.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(index.classes))
    names = [clip.name for clip in index.clips]
    return {
        "path": str(data.folder),
        "dataset": index.dataset,
        "clips": len(data),
        "classes": len(index.classes),
        "empty_classes": [name for name, count in zip(index.classes, counts, strict=True) if not count],
        "smallest_class": int(counts.min()) if len(counts) else 0,
        "largest_class": int(counts.max(initial=0)),
        "unlabelled": int((labels < 0).sum()),
        "subjects": len({clip.subject for clip in index.clips if clip.subject >= 0}),
        "frames": int(lengths.sum()),
        "length_min_median_max": [int(value) for value in np.percentile(lengths, (0, 50, 100))] if len(lengths) else [],
        "fps": index.fps,
        "layout": index.layout.name,
        "frames_with_body": persons.tolist(),
        "centred": index.centred,
        "second_body": index.second_body,
        "not_finite": nans,
        "farthest_m": round(farthest, 3),
        "repeated_names": len(names) - len(set(names)),
        "splits": list(available(index)),
        "licence": index.licence,
    }


def _clip(kind: str, joints: np.ndarray, layout: str) -> dict[str, Any]:
    clip = joints if joints.ndim == 4 else joints[:, None]
    bodies = (clip != 0).any(axis=(2, 3)).sum(axis=0)
    return {
        "kind": kind,
        "frames": len(clip),
        "layout": layout,
        "frames_with_body": bodies.tolist(),
        "farthest_m": round(float(np.abs(clip).max()), 3),
    }


def _ntu(path: Path) -> dict[str, Any]:
    recording = ntu.read_ntu(path)
    empty = recording.frames - len(np.unique(recording.frame))
    tracks = {body: recording.ids.count(body) for body in dict.fromkeys(recording.ids)}
    kind = "NTU .skeleton"
    return {"kind": kind, "frames": recording.frames, "layout": "ntu25", "tracks": tracks, "frames_without_body": empty}


def _text(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        start = file.readline(1 << 16)
    if b"," in start:
        return {"kind": "PKU-MMD labels", "actions": len(pku.read_pku_labels(path))}
    if len(start.split()) == 1:
        return _ntu(path)
    return _clip("PKU-MMD skeleton", pku.read_pku(path), "ntu25")


def _npz(path: Path) -> dict[str, Any]:
    with npz.damage_named(path):
        found = npz.members(path)
    if "x_train" not in found:
        return _clip("Toyota Smarthome 2D", smarthome.read_smarthome(path), "coco17")
    clips = copied = frames = 0
    for sample in ctrgcn_npz.read_ctrgcn(path):
        clips, copied, frames = clips + 1, copied + sample.copied, frames + len(sample.joints)
    classes = ctrgcn_npz.num_classes(path)
    return {"kind": "CTR-GCN .npz", "clips": clips, "classes": classes, "frames": frames, "copied_body_2": copied}


def _pickle(path: Path) -> dict[str, Any]:
    annotations = list(pyskl.read_pyskl(path))
    shapes = sorted({annotation.joints.shape[1:3] for annotation in annotations})
    labels = len({annotation.label for annotation in annotations})
    return {"kind": "pyskl", "clips": len(annotations), "classes": labels, "bodies_and_joints": shapes}


def _mat(path: Path) -> dict[str, Any]:
    if path.name == sysu.FILE:
        return _clip("SYSU (layout unverified)", sysu.read_sysu(path), "kinect20")
    return _clip("UTD-MHAD", utd.read_utd(path), "utd20")


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".skeleton": _ntu,
    ".txt": _text,
    ".json": lambda path: _clip("NW-UCLA", ucla.read_ucla(path), "kinect20"),
    ".mat": _mat,
    ".npz": _npz,
    ".pkl": _pickle,
    ".pickle": _pickle,
}


def _raw(path: Path, layout: Layout | None) -> dict[str, Any]:
    if path.suffix in folder.SUFFIXES:
        if layout is None:
            raise BadInput(f"{path.name} needs --layout: which joints the clip has")
        return _clip("own clip", folder.read_clip(path, layout), layout.name)
    if path.suffix not in _READERS:
        known = ", ".join((*_READERS, *folder.SUFFIXES))
        raise BadInput(f"{path.name} is of no kind that is known; the endings are: {known}")
    return _READERS[path.suffix](path)
