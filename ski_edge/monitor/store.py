"""Events on disk: `events.jsonl` for programs that follow along, `monitor.sqlite` for questions afterwards.

Every change of state of a person (or of the whole picture) is one event, also to and from *unknown*; an event's row is
written when it starts and completed when it ends, so a crash loses nothing but the ends of those that last.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

USER_VERSION = 1
EVENTS_FILE, DATABASE_FILE = "events.jsonl", "monitor.sqlite"

_SCHEMA = """
CREATE TABLE run (
    started_at REAL NOT NULL,      -- Unix time
    clock TEXT NOT NULL,           -- 'unix': event times are Unix time; 'media': seconds since the file's start
    source TEXT NOT NULL,          -- without credentials
    model TEXT NOT NULL,
    weights TEXT NOT NULL
);
CREATE TABLE event (
    id TEXT PRIMARY KEY,
    camera TEXT NOT NULL,
    track INTEGER,                 -- person; NULL: the whole picture
    label TEXT NOT NULL,
    sub_label TEXT,
    score REAL NOT NULL,           -- smoothed, latest
    top_score REAL NOT NULL,       -- smoothed, highest so far
    start_time REAL NOT NULL,      -- seconds, see run.clock
    end_time REAL,                 -- NULL while it lasts
    zones TEXT NOT NULL,           -- JSON list
    severity TEXT NOT NULL,        -- 'detection' or 'alert'
    has_clip INTEGER NOT NULL,
    model TEXT NOT NULL,
    labels_version INTEGER NOT NULL,
    explain TEXT NOT NULL          -- JSON: best labels and why
);
CREATE INDEX event_start ON event (start_time);
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One stretch of one activity. Keys as users of Frigate know them."""

    camera: str
    label: str
    score: float
    top_score: float
    start_time: float
    model: str
    labels_version: int
    explain: dict[str, object]
    end_time: float | None = None
    track: int | None = None
    sub_label: str | None = None
    zones: tuple[str, ...] = ()
    severity: str = "detection"
    has_clip: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class EventStore:
    """Writes both files in a folder that exists. One writer, one run."""

    def __init__(self, folder: Path, *, started_at: float, clock: str, source: str, model: str, weights: str) -> None:
        self._lines = open(folder / EVENTS_FILE, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed in close()
        self._database = sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)
        # WAL and NORMAL: a crash of this program loses nothing, a power cut at most the last rows.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)
        self._database.execute(f"PRAGMA user_version = {USER_VERSION}")
        self._database.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?)", (started_at, clock, source, model, weights))
        self._lasting: dict[int | None, Event] = {}  # by person; None: the whole picture
        self.count = 0

    def start(self, event: Event) -> None:
        """End the person's current event where this one starts, and write this one as new."""
        self.end(event.start_time, event.track)
        self._lasting[event.track] = event
        self.count += 1
        row = _row(event)
        marks = ", ".join("?" * len(row))
        self._database.execute(f"INSERT INTO event ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        self._write("new", {}, event)

    def progress(self, score: float, explain: dict[str, object], track: int | None = None) -> None:
        """Note the latest score and reasons of a person's current event (kept in memory until it ends)."""
        if (event := self._lasting.get(track)) is not None:
            self._lasting[track] = replace(event, score=score, top_score=max(score, event.top_score), explain=explain)

    def end(self, end_time: float, track: int | None = None) -> None:
        """Complete the person's current event, if there is one."""
        before = self._lasting.pop(track, None)
        if before is None:
            return
        after = replace(before, end_time=end_time)
        self._database.execute(
            "UPDATE event SET score = ?, top_score = ?, end_time = ?, explain = ? WHERE id = ?",
            (after.score, after.top_score, end_time, _row(after)["explain"], after.id),
        )
        self._write("end", asdict(before), after)

    def end_all(self, end_time: float) -> None:
        """Complete whatever still lasts."""
        for track in list(self._lasting):
            self.end(end_time, track)

    def close(self) -> None:
        self._lines.close()
        # A finished run is one file that can be copied, without -wal and -shm beside it.
        self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.close()

    def _write(self, kind: str, before: dict[str, object], after: Event) -> None:
        line = {"type": kind, "before": before, "after": asdict(after)}
        self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _row(event: Event) -> dict[str, object]:
    row = asdict(event)
    row["zones"], row["explain"] = json.dumps(row["zones"]), json.dumps(row["explain"], ensure_ascii=False)
    return row


def read_events(folder: Path) -> list[dict[str, object]]:
    """All events of a run, oldest first, as dicts with the columns of the table."""
    database = sqlite3.connect(f"{(folder / DATABASE_FILE).resolve().as_uri()}?mode=ro", uri=True)
    try:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM event ORDER BY start_time, rowid")]
    finally:
        database.close()
    for row in rows:
        row["zones"], row["explain"] = json.loads(row["zones"]), json.loads(row["explain"])
        row["has_clip"] = bool(row["has_clip"])
    return rows
