"""The live status: one line that is rewritten on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time

from ski_edge.monitor.pipeline import Monitor, percentiles_ms


class StatusLine:
    """Call it once per frame; it prints seldom enough not to cost anything."""

    def __init__(self, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._terminal else 5.0
        self._quiet = quiet
        self._started = self._printed = time.monotonic()
        self._frames = 0
        self._width = 0

    def __call__(self, monitor: Monitor) -> None:
        now = time.monotonic()
        if self._quiet or now - self._printed < self._interval:
            return
        frames = monitor.source.stats.decoded
        fps = (frames - self._frames) / (now - self._printed)
        self._printed, self._frames = now, frames
        self._print(status_text(monitor, fps))

    def close(self) -> None:
        """Leave the last line standing."""
        if self._terminal and self._width:
            print(file=sys.stderr)  # noqa: T201 - stderr is the log

    def _print(self, text: str) -> None:
        if self._terminal:
            padded = text.ljust(self._width)
            self._width = len(text)
            print(f"\r{padded}", end="", file=sys.stderr, flush=True)  # noqa: T201
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


def status_text(monitor: Monitor, fps: float) -> str:
    """`  12.4 s | 31.0 fps | update p50 8.1 p95 9.0 ms | dropped 0 | cooking 0.81`."""
    p50, p95 = percentiles_ms(monitor.update_s)
    return (
        f"{monitor.summary.seconds:7.1f} s | {fps:5.1f} fps | update p50 {p50:.1f} p95 {p95:.1f} ms | "
        f"dropped {monitor.source.stats.dropped} | {monitor.watch.headline()}"
    )
