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
from ski_edge.monitor.pose import Body
from ski_edge.skeleton import Layout

_MIN_HEIGHT, _MAX_WIDTH = 360, 1280  # pixels; smaller pictures are enlarged so that text can be read
_GREY = (180, 180, 180)
_DRAWN = 0.3  # visibility below which a joint is a guess
# BGR; told apart on skin, wood and walls, by the colour-blind too (Okabe and Ito's, brightened)
PERSON_COLOURS = ((233, 180, 86), (66, 228, 240), (0, 159, 250), (167, 121, 240), (115, 220, 40), (255, 255, 255))
_MOST_ROWS = 40  # persons in the timeline; more make no picture


class Annotator:
    """Draws what was recognised on RGB frames; every output has one even size."""

    def __init__(self, height: int, width: int) -> None:
        self._cv2 = require("cv2", "video", "drawing")
        self._factor = factor = max(1.0, min(_MIN_HEIGHT / height, _MAX_WIDTH / width))
        self.size = (round(width * factor / 2) * 2, round(height * factor / 2) * 2)  # (width, height), as OpenCV
        self._unit = self.size[1] / 360

    def draw(self, image: np.ndarray, state: ActivityState, seconds: float) -> np.ndarray:
        """uint8 [H, W, 3] RGB -> picture in BGR, the activity and the best labels of the whole scene below."""
        picture, unit = self._canvas(image), self._unit
        rows = [(state.label, state.score), *state.top(3)]
        top = int(self.size[1] - (24 + 17 * 3 + 12) * unit)
        picture[top:] = (picture[top:] * 0.35).astype(np.uint8)
        for i, (name, score) in enumerate(rows):
            big = i == 0
            y = int(top + (20 if big else 24 + 17 * i - 2) * unit)
            if not big:
                length = int((self.size[0] - 20 * unit) * min(score, 1.0))
                end = (int(10 * unit) + length, y + int(3 * unit))
                self._cv2.rectangle(picture, (int(10 * unit), y - int(11 * unit)), end, (110, 80, 30), -1)
            grey = big and name == UNKNOWN
            colour = _GREY if grey else (90, 230, 120) if big else (255, 255, 255)
            text = f"{name}  {score:.2f}" if not grey else f"unknown: {state.why}"
            self._text(picture, text, (int(12 * unit), y), 0.62 if big else 0.42, colour)
        self._clock(picture, seconds)
        return picture

    def draw_people(
        self, image: np.ndarray, people: Sequence[tuple[int, Body, ActivityState]], layout: Layout, seconds: float
    ) -> np.ndarray:
        """uint8 [H, W, 3] RGB -> picture in BGR, each person's skeleton with id and activity above it."""
        picture, unit = self._canvas(image), self._unit
        for track, body, state in people:
            colour = PERSON_COLOURS[track % len(PERSON_COLOURS)]
            # Estimators may put a keypoint anywhere; OpenCV wants its coordinates in 16 bits.
            points = np.clip(body.keypoints_px * self._factor, -8192, 8191).astype(int)
            for child, parent in layout.bones:
                if min(body.visibility[child], body.visibility[parent]) >= _DRAWN:
                    ends = (tuple(map(int, points[child])), tuple(map(int, points[parent])))
                    self._cv2.line(picture, *ends, colour, max(1, round(2 * unit)), self._cv2.LINE_AA)
            # Why somebody is unknown is in the events: reasons of neighbours would run into each other here.
            activity = UNKNOWN if state.label == UNKNOWN else f"{state.label}  {state.score:.2f}"
            left, above = body.box[0] * self._factor, body.box[1] * self._factor - 6 * unit
            at = (int(np.clip(left, 4, self.size[0] - 40)), int(np.clip(above, 34 * unit, self.size[1] - 6)))
            text = f"{track}  {activity}"
            self._text(picture, text, at, 0.45, (0, 0, 0), outline=2)  # readable on any background
            self._text(picture, text, at, 0.45, _GREY if state.label == UNKNOWN else colour)
        self._clock(picture, seconds)
        return picture

    def _canvas(self, image: np.ndarray) -> np.ndarray:
        cv2 = self._cv2
        return cv2.cvtColor(cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2BGR)

    def _clock(self, picture: np.ndarray, seconds: float) -> None:
        at = (int(8 * self._unit), int(20 * self._unit))
        self._text(picture, f"{int(seconds // 60):02d}:{seconds % 60:04.1f}", at, 0.5, (255, 255, 255))

    def _text(
        self,
        picture: np.ndarray,
        text: str,
        at: tuple[int, int],
        scale: float,
        colour: tuple[int, int, int],
        outline: int = 0,
    ) -> None:
        cv2, unit = self._cv2, self._unit
        plain, font, thickness = (
            drawable(text, cv2.__version__),
            cv2.FONT_HERSHEY_SIMPLEX,
            max(1, round(unit)) + outline,
        )
        cv2.putText(picture, plain, at, font, scale * unit, colour, thickness, cv2.LINE_AA)


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
    path: Path,
    events: Sequence[dict[str, Any]],
    trace: Sequence[tuple[float, int | None, float]],
    title: str,
    enter: float,
) -> None:
    """A PNG: bars of activity above, the best smoothed score over time below.

    One row per label, or, where events belong to persons, one row per person. events: rows of the store, all ended;
    trace: (seconds, person or None, score).
    """
    require("matplotlib", "plot", "the timeline picture")
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    known = dict.fromkeys(str(event["label"]) for event in events if event["label"] != UNKNOWN)
    colours = {label: f"C{i % 10}" for i, label in enumerate(known)} | {UNKNOWN: "#b8bcc2"}
    persons = list(dict.fromkeys(event["track"] for event in events if event["track"] is not None))
    rows = persons[:_MOST_ROWS] if persons else list(colours)
    start = min((float(event["start_time"]) for event in events), default=0.0)
    figure = Figure(figsize=(11, 2.4 + 0.32 * len(rows)), layout="constrained")
    bars, scores = figure.subplots(2, 1, sharex=True, height_ratios=[max(1.0, 0.32 * len(rows)), 1.2])
    for event in events:
        row = event["track"] if persons else str(event["label"])
        if row not in rows:
            continue
        begin, end = float(event["start_time"]) - start, float(event["end_time"]) - start
        box = [(begin, max(end - begin, 1e-3))]
        bars.broken_barh(box, (rows.index(row) - 0.4, 0.8), facecolors=colours[str(event["label"])])
    # parse_math: a `$` in a file name or label is a dollar.
    bars.set_yticks(range(len(rows)), [f"person {row}" for row in rows] if persons else rows, parse_math=False)
    bars.set_ylim(len(rows) - 0.5, -0.5)
    if len(rows) < len(persons):
        title += f" · the first {len(rows)} of {len(persons)} persons"
    bars.set_title(title, fontsize=10, loc="left", parse_math=False)
    if persons:
        patches, beside = (
            [Patch(color=colour) for colour in colours.values()],
            {"loc": "upper left", "bbox_to_anchor": (1, 1)},
        )
        legend = bars.legend(patches, list(colours), fontsize=8, **beside)
        for text in legend.get_texts():
            text.set_parse_math(False)
    for row in dict.fromkeys(row for _, row, _ in trace if row is None or row in rows):
        times, values = np.array([(seconds, score) for seconds, who, score in trace if who == row]).T
        scores.plot(times - start, values, linewidth=1.2, color="#3564a8" if row is None else None)
    scores.axhline(enter, color="#b03030", linewidth=0.8, linestyle="--")
    scores.set(ylim=(0, 1.02), ylabel="best score", xlabel="seconds since the start (dashed: needed to be believed)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks is drawn as a box
        figure.savefig(path, dpi=110)
