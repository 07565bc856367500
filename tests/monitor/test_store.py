from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import uuid

import pytest

from ski_edge.monitor.store import Event, EventStore, read_events

KEYS = {  # conventions, 3.5
    "id", "camera", "track", "label", "sub_label", "score", "top_score", "start_time", "end_time", "zones", "severity",
    "has_clip", "model", "labels_version", "explain",
}  # fmt: skip


def event(label, start, score=0.5):
    return Event("cam", label, score, score, start, "m", 1, {"top": [["touch person’s pocket", 0.5]]})


@pytest.fixture
def store(tmp_path):
    return EventStore(tmp_path, started_at=1.0, clock="media", source="rtsp://***@cam", model="m", weights="w")


def test_every_change_is_a_row_in_both_files(store, tmp_path):
    store.start(event("unknown", 0.0))
    store.start(event("cook", 2.0))
    store.progress(0.9, {"top": []})
    store.progress(0.7, {"top": [["cook", 0.7]]})
    store.start(event("unknown", 5.0))
    store.end(6.0)
    store.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [(x["type"], x["after"]["label"]) for x in lines] == [
        ("new", "unknown"), ("end", "unknown"),
        ("new", "cook"), ("end", "cook"),
        ("new", "unknown"), ("end", "unknown"),
    ]  # fmt: skip
    assert all(set(line["after"]) == KEYS for line in lines)
    assert lines[0]["before"] == {}
    assert set(lines[1]["before"]) == KEYS
    rows = read_events(tmp_path)
    assert [(r["label"], r["start_time"], r["end_time"]) for r in rows] == [
        ("unknown", 0.0, 2.0), ("cook", 2.0, 5.0), ("unknown", 5.0, 6.0),
    ]  # fmt: skip
    assert (rows[1]["score"], rows[1]["top_score"], rows[1]["explain"]) == (0.7, 0.9, {"top": [["cook", 0.7]]})
    assert all(str(uuid.UUID(row["id"])) == row["id"] for row in rows)
    assert {p.name for p in tmp_path.iterdir()} == {"events.jsonl", "monitor.sqlite"}


def test_schema_has_a_version_and_a_run(store, tmp_path):
    store.close()
    database = sqlite3.connect(tmp_path / "monitor.sqlite")
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    assert database.execute("SELECT * FROM run").fetchall() == [(1.0, "media", "rtsp://***@cam", "m", "w")]
    columns = {row[1] for row in database.execute("PRAGMA table_info(event)")}
    assert columns == KEYS


def test_a_killed_run_keeps_what_happened(tmp_path):
    """SIGKILL in the middle of an event: its row is there, only its end is missing."""
    code = f"""
from pathlib import Path
from ski_edge.monitor.store import Event, EventStore
import os, signal
store = EventStore(Path({str(tmp_path)!r}), started_at=0.0, clock="media", source="s", model="m", weights="w")
for i in range(50):
    store.start(Event("cam", f"l{{i}}", 0.5, 0.5, float(i), "m", 1, {{}}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    rows = read_events(tmp_path)
    assert [row["end_time"] for row in rows] == [*(float(i) for i in range(1, 50)), None]
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 99
    assert sqlite3.connect(tmp_path / "monitor.sqlite").execute("PRAGMA quick_check").fetchone() == ("ok",)
