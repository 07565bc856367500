"""A record of run_all.py as a table: python table.py RECORD.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_KINDS = ("torch eager", "torch graph", "torch.compile")
_PRECISIONS = ("fp16", "fp32")


def statistics(samples: list[float]) -> dict[str, float]:
    """Milliseconds: count, median, 95th percentile, least."""
    ordered = sorted(samples)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"count": len(ordered), "p50": at(0.5), "p95": at(0.95), "min": ordered[0]}


def best_peer(row: dict, precision: str) -> tuple[str, float] | None:
    """The fastest one of that precision, as it runs on the GPU alone."""
    if precision not in _PRECISIONS:
        return None
    found = [(row["ms"][label]["p50"], label) for kind in _KINDS if (label := f"{kind} {precision}") in row["ms"]]
    return (min(found)[1], min(found)[0]) if found else None


def lines_of(row: dict) -> list[str]:
    about = f"{row['bodies']} of {row['persons']} bodies, {row['frames']} frames"
    lines = [f"\n{row['model']}, batch {row['batch']}, {about}"]
    for label, ms in row["ms"].items():
        best = best_peer(row, next((word for word in label.split() if word in _PRECISIONS), ""))
        ratio = f"{best[1] / ms['p50']:6.2f}" if best else " " * 6
        error = row["errors"].get(label, 0)
        lines.append(f"  {label:24s} p50 {ms['p50']:8.4f}  p95 {ms['p95']:8.4f}  x {ratio}  error {error:.1e}")
    lines += [f"  {label:24s} not run: {reason[:110]}" for label, reason in row["missing"].items()]
    return lines


def summary(rows: list[dict]) -> list[str]:
    """One line a case: our time of a whole graph replay, the best peer's, and the ratio."""
    head = "\n" + "ms, p50".ljust(30)
    for precision in _PRECISIONS:
        head += f" {'native ' + precision:>11s} {'best ' + precision + ' peer':>22s} {'x':>5s}"
    lines = [head]
    for row in rows:
        line = f"{row['model']} batch {row['batch']} bodies {row['bodies']}".ljust(30)
        for precision in _PRECISIONS:
            ours, best = row["ms"].get(f"native {precision}"), best_peer(row, precision)
            line += f" {ours['p50']:11.4f}" if ours else f" {'-':>11s}"
            peer = f"{best[0].rsplit(' ', 1)[0]} {best[1]:.4f}" if best else "-"
            line += f" {peer:>22s} " + (f"{best[1] / ours['p50']:5.2f}" if ours and best else f"{'-':>5s}")
        lines.append(line)
    return lines


def table(record: dict) -> str:
    machine = record["machine"]
    lines = [f"{machine['gpu'] or 'no GPU'}; commit {machine['commit']}; {record.get('seconds', 0)} s"]
    lines += ["x: how many times as fast as the best of torch's (eager, graph, compile) in this precision"]
    for row in record["rows"]:
        lines += lines_of(row)
    lines += [
        "",
        "peaks: "
        + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.get("peaks", {}).items()),
    ]
    for name, stage in record["stages"].items():
        word = {True: "ok", False: "FAILED", None: "skipped"}[stage["ok"]]
        lines.append(f"{word:8s} {name}: {stage.get('says', '')[:150]}")
        lines += [f"         | {line[:150]}" for line in stage.get("tail", [])[-12:]] if stage["ok"] is False else []
    if "cut_short" in record:
        lines.append(record["cut_short"])
    return "\n".join([*lines, *summary(record["rows"])])


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
