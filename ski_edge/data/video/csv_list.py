"""Which files, which labels: the official code's list, NTU's file names, or a folder whose skeletons know."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ski_edge.data.video.files import CheckedFiles, VideoFiles, read_checked
from ski_edge.errors import BadInput
from ski_edge.files import read_text

_HEADER = {"label", "class", "id", "class_id", "label_id"}
_ENDINGS = {".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"}
_NTU = re.compile(r"S\d{3}C\d{3}P\d{3}R\d{3}A(?P<action>\d{3})(_rgb)?\.(avi|mp4)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """Files by their names alone: none of them has been opened yet."""

    kind: Literal["list", "ntu", "folder"]
    root: Path
    files: tuple[str, ...]  # below root
    labels: tuple[int, ...]  # -1: not known


class CsvVideos(VideoFiles):
    """Videos of a list with rows `video,label` or `video,skeleton,label` (ViFi-CLIP, SKI) or `video label` (X-CLIP).

    The skeleton's path is read and ignored, as in the official code: skeletons are found by the clip's name. Labels
    count from 0. A first row of names is passed over.
    """

    def __init__(self, table: Path, root: Path, classes: Sequence[str], checked: CheckedFiles | None = None) -> None:
        files, labels = read_list(Path(table))
        super().__init__(root, files, labels, classes, checked)


class NtuVideos(VideoFiles):
    """Every `S001C001P001R001A001_rgb.avi` (or .mp4) below a folder; its action is its label."""

    def __init__(self, root: Path, classes: Sequence[str], checked: CheckedFiles | None = None) -> None:
        """classes: names of A1, A2, ...: 60 or 120. Files of later actions are left out."""
        every = _list_ntu(Path(root))
        named = [i for i, label in enumerate(every.labels) if label < len(classes)]
        if not named:
            raise BadInput(f"{root} holds no videos of A001 to A{len(classes):03d} named S001C001P001R001A001_rgb.avi")
        files, labels = [every.files[i] for i in named], [every.labels[i] for i in named]
        super().__init__(every.root, files, labels, classes, checked)
        self.left_out += [
            (file, f"action {label + 1} has no name among {len(classes)} classes")
            for file, label in zip(every.files, every.labels, strict=True)
            if label >= len(classes)
        ]


class FolderVideos(VideoFiles):
    """Every video below a folder. Their labels are -1: the skeletons of the same names know them."""

    def __init__(self, root: Path, classes: Sequence[str], checked: CheckedFiles | None = None) -> None:
        every = _list_folder(Path(root))
        super().__init__(every.root, every.files, every.labels, classes, checked)


def open_videos(
    path: Path, classes: Sequence[str], root: Path | None = None, checked: Path | None = None
) -> VideoFiles:
    """Videos of a list (its names begin at `root`, or beside the list), of a folder of NTU's, or of any folder.

    checked: the list that `ski-edge data check --list` wrote; files it finds unusable are left out.
    """
    listing, known = list_videos(path, root), read_checked(checked) if checked else None
    if listing.kind == "list":
        return CsvVideos(Path(path), listing.root, classes, known)
    return (NtuVideos if listing.kind == "ntu" else FolderVideos)(listing.root, classes, known)


def list_videos(path: Path, root: Path | None = None) -> Listing:
    """What `open_videos` would open."""
    path = Path(path)
    if path.is_file():
        files, labels = read_list(path)
        return Listing("list", Path(root or path.parent), tuple(files), tuple(labels))
    if not path.is_dir():
        raise BadInput(f"{path} does not exist; give a folder of videos, or a list with rows video,label")
    if root is not None:
        raise BadInput(f"{path} is a folder, so its videos lie there; a root is for lists")
    ntu = _list_ntu(path)
    return ntu if ntu.files else _list_folder(path)


def _list_ntu(root: Path) -> Listing:
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; give the folder with NTU's videos")
    found = sorted((path for path in root.rglob("*") if _NTU.fullmatch(path.name)), key=lambda path: path.name)
    labels = tuple(int(_NTU.fullmatch(path.name)["action"]) - 1 for path in found)
    return Listing("ntu", root, tuple(path.relative_to(root).as_posix() for path in found), labels)


def _list_folder(root: Path) -> Listing:
    files = tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if _is_video(path)))
    if not files:
        raise BadInput(f"{root} holds no videos; their endings are {', '.join(sorted(_ENDINGS))}")
    return Listing("folder", root, files, (-1,) * len(files))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and path.is_file() and not path.name.startswith(".")


def read_list(path: Path) -> tuple[list[str], list[int]]:
    """(files, labels) of a list of videos."""
    text = read_text(path, "list of videos")
    files: list[str] = []
    labels: list[int] = []
    try:
        rows = list(enumerate(csv.reader(io.StringIO(text), strict=True), 1))
    except csv.Error as error:
        raise BadInput(f"{path} is not CSV: {error}") from error
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if len(cells) == 1:  # X-CLIP's lists are separated by a space
            cells = cells[0].rsplit(None, 1)
        if not any(cells) or (not files and cells[-1].lower() in _HEADER):
            continue
        if len(cells) not in (2, 3):
            raise BadInput(f"{path}, line {number}: rows are video,label or video,skeleton,label, got {row!r:.120}")
        file, label = PurePosixPath(cells[0]), cells[-1]
        if not (label.isascii() and label.isdigit() and len(label) < 7):
            raise BadInput(f"{path}, line {number}: the label must be a whole number from 0, got {label[:40]!r}")
        if not file.name or ".." in file.parts:
            raise BadInput(f"{path}, line {number}: {cells[0][:80]!r} is no path of a video")
        files.append(cells[0])
        labels.append(int(label))
    if not files:
        raise BadInput(f"{path} names no videos")
    return files, labels
