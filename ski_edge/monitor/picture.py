"""What people look at: the annotated video, the window, and the timeline of a run."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.errors import BadInput, require
from ski_edge.monitor.activity import UNKNOWN, ActivityState

_MIN_HEIGHT, _MAX_WIDTH = 360, 1280  # pixels; smaller pictures are enlarged so that text can be read


class Annotator:
    """Draws the activity and the best labels on RGB frames; every output has one even size."""

    def __init__(self, height: int, width: int) -> None:
        self._cv2 = require("cv2", "video", "drawing")
        factor = max(1.0, min(_MIN_HEIGHT / height, _MAX_WIDTH / width))
        self.size = (round(width * factor / 2) * 2, round(height * factor / 2) * 2)  # (width, height), as OpenCV

    def draw(self, image: np.ndarray, state: ActivityState, seconds: float) -> np.ndarray:
        """uint8 [H, W, 3] RGB -> annotated BGR picture of `size`."""
        cv2 = self._cv2
        picture = cv2.cvtColor(cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2BGR)
        unit = self.size[1] / 360
        rows = [(state.label, state.score), *state.top(3)]
        top = int(self.size[1] - (24 + 17 * 3 + 12) * unit)
        picture[top:] = (picture[top:] * 0.35).astype(np.uint8)
        for i, (name, score) in enumerate(rows):
            big = i == 0
            y = int(top + (20 if big else 24 + 17 * i - 2) * unit)
            if not big:
                length = int((self.size[0] - 20 * unit) * min(score, 1.0))
                end = (int(10 * unit) + length, y + int(3 * unit))
                cv2.rectangle(picture, (int(10 * unit), y - int(11 * unit)), end, (110, 80, 30), -1)
            grey = big and name == UNKNOWN
            colour = (180, 180, 180) if grey else (90, 230, 120) if big else (255, 255, 255)
            text = f"{name}  {score:.2f}" if not grey else f"unknown: {state.why}"
            scale = (0.62 if big else 0.42) * unit
            origin = (int(12 * unit), y)
            cv2.putText(
                picture,
                drawable(text, cv2.__version__),
                origin,
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                colour,
                max(1, round(unit)),
                cv2.LINE_AA,
            )
        clock = f"{int(seconds // 60):02d}:{seconds % 60:04.1f}"
        cv2.putText(
            picture, clock, (int(8 * unit), int(20 * unit)), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * unit, (255, 255, 255),
            max(1, round(unit)), cv2.LINE_AA,
        )  # fmt: skip
        return picture


def drawable(text: str, opencv_version: str) -> str:
    """What OpenCV can draw: all of it from version 5 on, ASCII before (no accents, straight quotes, else `?`)."""
    if int(opencv_version.split(".")[0]) >= 5:
        return text
    plain = text.translate(str.maketrans("‘’“”–—", "''\"\"--"))
    folded = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return folded.encode("ascii", "replace").decode("ascii")


class VideoFile:
    """An MP4 that appears under its name only when it is complete, and whose clock is the source's.

    Its frame rate is constant; where frames were dropped, or came slower, the last picture stands still.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        cv2 = require("cv2", "video", "--save-video")
        self._path, self._part, self._fps = path, part_file(path), fps
        self._writer: Any = cv2.VideoWriter(str(self._part), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            raise BadInput(f"{path} cannot be written; check the folder, or say --no-save-video")
        self._written = 0
        self._last: np.ndarray | None = None

    def write(self, picture: np.ndarray, timestamp: float) -> None:
        """A BGR picture that is shown from `timestamp` (seconds since the start) on."""
        due = round(timestamp * self._fps)
        while self._last is not None and self._written < due:
            self._append(self._last)
        if self._written <= due:  # frames faster than the file's rate: the first of each interval stays
            self._append(picture)
        self._last = picture

    def close(self) -> None:
        """Publish the file, unless it does not hold what was written (OpenCV says nothing of a full disk)."""
        self._writer.release()
        cv2 = require("cv2", "video", "--save-video")
        written = int(cv2.VideoCapture(str(self._part.resolve())).get(cv2.CAP_PROP_FRAME_COUNT))
        if written < self._written:
            self._part.unlink(missing_ok=True)
            raise BadInput(
                f"{self._path} could not be written ({written} of {self._written} frames); is the disk full?"
            )
        self._part.replace(self._path)

    def _append(self, picture: np.ndarray) -> None:
        self._writer.write(picture)
        self._written += 1


def part_file(path: Path) -> Path:
    """Where a video is written until it is complete."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


def why_no_window() -> str:
    """Empty when a window can be opened here, else why not. Tried in a child process: Qt aborts where it cannot."""
    code = "import cv2; cv2.namedWindow('ski-edge'); cv2.waitKey(1); cv2.destroyAllWindows()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    return f"no window can be opened ({reason[:120]}); leave --show away"


def draw_timeline(
    path: Path, events: Sequence[dict[str, Any]], trace: Sequence[tuple[float, float]], title: str, enter: float
) -> None:
    """A PNG: one bar per event and label above, the best smoothed score over time below.

    events: rows of the store, all ended; trace: (seconds, score) pairs.
    """
    require("matplotlib", "plot", "the timeline picture")
    from matplotlib.figure import Figure

    known = dict.fromkeys(str(event["label"]) for event in events if event["label"] != UNKNOWN)
    labels = [*known, UNKNOWN]
    start = min((float(event["start_time"]) for event in events), default=0.0)
    figure = Figure(figsize=(11, 2.4 + 0.32 * len(labels)), layout="constrained")
    bars, scores = figure.subplots(2, 1, sharex=True, height_ratios=[max(1.0, 0.32 * len(labels)), 1.2])
    for event in events:
        row = labels.index(str(event["label"]))
        begin, end = float(event["start_time"]) - start, float(event["end_time"]) - start
        colour = "#b8bcc2" if event["label"] == UNKNOWN else f"C{row % 10}"
        bars.broken_barh([(begin, max(end - begin, 1e-3))], (row - 0.4, 0.8), facecolors=colour)
    # parse_math: a `$` in a file name or label is a dollar.
    bars.set_yticks(range(len(labels)), labels, parse_math=False)
    bars.set_ylim(len(labels) - 0.5, -0.5)
    bars.set_title(title, fontsize=10, loc="left", parse_math=False)
    if trace:
        times, values = np.array(trace).T
        scores.plot(times - start, values, color="#3564a8", linewidth=1.2)
    scores.axhline(enter, color="#b03030", linewidth=0.8, linestyle="--")
    scores.set(ylim=(0, 1.02), ylabel="best score", xlabel="seconds since the start (dashed: needed to be believed)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks is drawn as a box
        figure.savefig(path, dpi=110)
