"""The picture of a record of `roofline.py`: ops under the machine's limits, and where the time goes.

python benchmarks/models/roofline_picture.py RECORD.json [PICTURE.png]
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np

_MARKERS = {"ctr_gc": "o", "hyperedge_attention": "D", "graph_conv": "^", "multi_scale_temporal": "s", "taps_conv": "v"}
_PLACES = {"memory": "memory", "last_cache": "last cache", "l2": "second cache"}
_COLOURS = {"fp32": 0, "bf16": 1}  # of tab10
_NOTE = {"fontsize": 7, "color": "0.3", "rotation_mode": "anchor"}


def picture(path: Path, record: dict) -> None:
    """PNG: a roofline for each network at the most threads of the record, and a bar of its time at each precision."""
    from ski_edge.errors import require

    require("matplotlib", "plot", "the picture")
    from matplotlib.figure import Figure

    limit = max(record["limits"], key=lambda each: each["threads"])
    rows = [row for row in record["networks"] if row["threads"] == limit["threads"]]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(7.5 * len(networks), 10), layout="constrained")
    grid = figure.add_gridspec(2, len(networks), height_ratios=(3, 0.35 + 0.3 * len(rows)))
    for column, network in enumerate(networks):
        axes = figure.add_subplot(grid[0, column])
        _roofline(axes, network, [row for row in rows if row["network"] == network], limit)
    _bars(figure.add_subplot(grid[1, :]), rows)
    figure.suptitle(
        f"{record['device']['cpu']}, {limit['threads']} threads; one clip, {rows[0]['bodies']} bodies, "
        f"{rows[0]['frames']} frames, random weights",
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=110)


def _roofline(axes, network: str, rows: list[dict], limit: dict) -> None:
    """Dots at compulsory bytes, a thin line from each to the bytes that the kernels ask for beyond the first cache."""
    from matplotlib import colormaps
    from matplotlib.ticker import LogLocator, NullFormatter

    colours = colormaps["tab10"].colors
    reach = np.array([1.0, 1000.0])
    top = max(limit["peak_gflops"].values())
    for place, rate in limit["read_gb_per_s"].items():
        end = min(reach[1], top / rate)
        axes.plot([reach[0], end], [rate * reach[0], rate * end], color="0.6", lw=1)
        note = f"{_PLACES[place]}, {rate:.0f} GB/s"
        axes.text(1.1, rate * 1.18, note, rotation=np.degrees(np.arctan(rate)), transform_rotates_text=True, **_NOTE)
    for precision, peak in limit["peak_gflops"].items():
        axes.axhline(peak, color=colours[_COLOURS[precision]], lw=1)
        axes.text(1.1, peak * 1.04, f"{precision} peak, {peak:.0f} GFLOP/s", **_NOTE)
    seen = set()
    for row in rows:
        for blocks, op in _merged(row["ops"]):
            colour = colours[_COLOURS[op["precision"]]]
            rate, at, ours = op["gflops_per_s"], op["flop_per_compulsory_byte"], op["flop_per_our_byte"]
            name = f"{op['op']}, {op['precision']}"
            label = None if name in seen else name
            seen.add(name)
            axes.plot([ours, at], [rate, rate], color=colour, lw=0.6, alpha=0.35)
            axes.plot([ours], [rate], "|", color=colour, ms=5, alpha=0.6)
            axes.scatter([at], [rate], s=30, color=colour, marker=_MARKERS[op["op"]], label=label, zorder=3)
            axes.annotate(blocks, (at, rate), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", yscale="log", xlim=reach, ylim=(top / 40, top * 1.5))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("FLOP per byte: weights, inputs and output once (dot), what the kernels read and write (tick)")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{network}; numbers are blocks", loc="left")
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _merged(ops: list[dict]) -> list[tuple[str, dict]]:
    """Ops of equal size as one, with the mean of their rates; and the names of their blocks, `2-4`."""

    def size(op: dict) -> tuple:
        return (op["op"], op["precision"], tuple(op["channels"]), op["outputs"], op["frames"], op["stride"])

    merged = []
    for _, group in groupby(sorted(ops, key=lambda op: (op["op"], op["block"])), key=size):
        same = list(group)
        blocks = str(same[0]["block"]) if len(same) == 1 else f"{same[0]['block']}-{same[-1]['block']}"
        seconds = sum(op["p50_ms"] for op in same) / len(same) / 1e3
        merged.append((blocks, {**same[0], "gflops_per_s": same[0]["gflop"] / seconds}))
    return merged


def _bars(axes, rows: list[dict]) -> None:
    """Milliseconds of each kind of op, one bar for each network and precision."""
    from matplotlib import colormaps

    parts = dict.fromkeys(part for row in rows for part in row["parts_ms"])
    kinds = [part for part in parts if part in _MARKERS] + [part for part in parts if part not in _MARKERS]
    colours = {kind: colormaps["Set2"].colors[number % 8] for number, kind in enumerate(kinds)}
    left = np.zeros(len(rows))
    longest = max(sum(row["parts_ms"].values()) for row in rows)
    for kind in kinds:
        widths = np.array([row["parts_ms"].get(kind, 0.0) for row in rows])
        bars = axes.barh(range(len(rows)), widths, left=left, color=colours[kind], label=kind)
        for bar, row, width in zip(bars, rows, widths, strict=True):
            if width > 0.05 * longest:  # narrower ones have no room for a number
                share = width / sum(row["parts_ms"].values())
                axes.text(
                    bar.get_x() + width / 2, bar.get_y() + 0.4, f"{share:.0%}", ha="center", va="center", fontsize=8
                )
        left += widths
    for number, row in enumerate(rows):
        text = f" {row['p50_ms']:.1f} ms, {row['share_of_peak']:.0%} of peak"
        axes.text(left[number], number, text, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row['network']} {row['precision']}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.18)
    axes.set_xlabel("ms")
    axes.set_title("Where the time goes", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(kinds))


if __name__ == "__main__":
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png")
    picture(target, json.loads(source.read_text(encoding="utf-8")))
    print(target)
