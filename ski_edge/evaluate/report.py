"""What `evaluate` and `ensemble` leave behind: metrics.json, per_class.csv, confusion.csv, confusion.png."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.errors import MissingDependency, require
from ski_edge.evaluate.metrics import Metrics
from ski_edge.files import write_json

_LARGEST = 130  # classes a picture can show


def write_report(folder: Path, metrics: Metrics, classes: tuple[str, ...], about: dict[str, Any]) -> dict[str, Any]:
    """Write the files into `folder`; returns metrics.json's content, with `notes` on what was left out."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        **about,
        "clips": metrics.clips,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "mean_recall": metrics.mean_recall,
        "recall": {name: None if np.isnan(r) else float(r) for name, r in zip(classes, metrics.recall, strict=True)},
    }
    with open(folder / "per_class.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "clips", "recall_percent", "most_often_taken_for"])
        for k, name in enumerate(classes):
            row = metrics.confusion[k].copy()
            total, row[k] = int(row.sum()), 0
            taken_for = classes[int(row.argmax())] if row.any() else ""
            writer.writerow([name, total, "" if np.isnan(metrics.recall[k]) else f"{metrics.recall[k]:.2f}", taken_for])
    with open(folder / "confusion.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ said", *classes])
        writer.writerows([name, *row.tolist()] for name, row in zip(classes, metrics.confusion, strict=True))
    try:
        _picture(folder / "confusion.png", metrics, classes)
    except MissingDependency as error:
        content["notes"] = [f"no picture: {error}"]
    write_json(folder / "metrics.json", content)
    return content


def _picture(path: Path, metrics: Metrics, classes: tuple[str, ...]) -> None:
    """The confusion matrix, rows in per cent of their class."""
    require("matplotlib", "plot", "the picture")
    from matplotlib.figure import Figure

    if len(classes) > _LARGEST:
        raise MissingDependency(f"{len(classes)} classes do not fit into a picture; see confusion.csv")
    total = metrics.confusion.sum(axis=1, keepdims=True)
    share = 100 * metrics.confusion / np.maximum(total, 1)
    side = 3 + 0.22 * len(classes)
    figure = Figure(figsize=(side + 2, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    size = 8 if len(classes) <= 40 else 4
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, fontsize=size, parse_math=False)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.set_title(f"top-1 {metrics.top1:.2f} %, {metrics.clips} clips", loc="left")
    figure.colorbar(image, ax=axes, shrink=0.6, label="per cent of the true class")
    figure.savefig(path, dpi=110)
