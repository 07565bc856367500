"""Supervised training of a skeleton classifier on Lightning Fabric: one process on a CPU or GPU, several by torchrun.

Every random choice of an epoch follows from (seed, epoch), so a run that was stopped and resumed between two epochs
gives the same numbers as one that was not, on the same machine with the same number of threads.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ski_edge.data.clips import check_rate, load_clips
from ski_edge.data.splits import split, validation_part
from ski_edge.data.store import open_data
from ski_edge.errors import BadInput
from ski_edge.evaluate.classify import classify
from ski_edge.evaluate.metrics import measure
from ski_edge.files import write_json
from ski_edge.models import create_model, save_model
from ski_edge.train.batches import ClipBatches
from ski_edge.train.fabric import open_fabric
from ski_edge.train.live import LiveBatches
from ski_edge.train.recipe import Recipe
from ski_edge.train.run import CHECKPOINT, RESULT, RunFolder

Report = Callable[[dict[str, Any], int], None]  # (row of log.csv, epochs in all)


@dataclass
class Data:
    """What a run learns from and is measured on. Clips in metres, in the network's layout."""

    classes: tuple[str, ...]
    train: ClipBatches | LiveBatches
    choose: tuple[list[np.ndarray], np.ndarray] | None  # what chooses the epoch; None: the last one is taken
    test: tuple[list[np.ndarray], np.ndarray]
    counts: dict[str, int]


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    stop_after_s: float | None = None,
    threads: int = 0,
    report: Report = lambda row, epochs: None,
) -> dict[str, Any]:
    """Train, keep the best epoch as `out/checkpoint`, measure it on the test part; returns what result.json holds.

    stop_after_s: stop after the epoch that passes this many seconds, to be resumed; the result says finished: false.
    """
    folder = RunFolder(out)
    if os.environ.get("RANK", "0") == "0":  # the others would meet the folder that the first has just made
        folder.check(recipe, resume)
    began = time.monotonic()
    if threads:
        torch.set_num_threads(threads)
    keep_memory()
    fabric = open_fabric(recipe.precision)
    _check_processes(recipe, fabric)
    data = load(recipe, fabric.device)
    model = create_model(
        recipe.model,
        seed=recipe.seed,
        arch=recipe.arch,
        classes=data.classes,
        skeleton=recipe.skeleton,
        weights=f"trained by ski-edge (seed {recipe.seed}) on {recipe.data.name}, split {recipe.split}",
        **recipe.options,
    )
    # Opened last: a start that fails must leave no folder behind.
    state = folder.open(recipe, resume) if fabric.is_global_zero else None
    state = fabric.broadcast(state)
    if state is not None and state["epoch"] == recipe.epochs and (done := folder.result()):
        return done if fabric.is_global_zero else {}
    session = _Session(recipe, model, data, fabric, folder, state)
    finished = session.train(began, stop_after_s, report)
    return session.conclude(finished) if fabric.is_global_zero else {}


def load(recipe: Recipe, device: torch.device) -> Data:
    """Open the data, split it, put the training part on the device."""
    data = open_data(recipe.data)
    train_part, test_part = split(data, recipe.split)
    choose_part = np.array([], np.int64)
    if recipe.select == "validation":
        train_part, choose_part = validation_part(data, train_part, test_part, recipe.validation_share, 0)
    elif recipe.select == "test":
        choose_part = test_part
    if not len(test_part):
        raise BadInput(f"split {recipe.split} leaves no test clip in {recipe.data}")
    spec, labels = recipe.skeleton, data.labels
    check_rate(data, spec)
    counts = {"train": len(train_part), "choose": len(choose_part), "test": len(test_part)}
    clips = load_clips(data, train_part, spec)
    if recipe.live is not None:
        batches = LiveBatches(clips, labels[train_part], data, train_part, recipe, device)
        classes = (*data.index.classes, recipe.live.other)
    else:
        batches = ClipBatches(clips, labels[train_part], recipe, device)
        classes = data.index.classes
    choose = None
    if len(choose_part):
        choose = (load_clips(data, choose_part, spec), labels[choose_part])
    return Data(classes, batches, choose, (load_clips(data, test_part, spec), labels[test_part]), counts)


class _Session:
    """One run in progress."""

    def __init__(
        self, recipe: Recipe, model: nn.Module, data: Data, fabric: Any, folder: RunFolder, state: dict[str, Any] | None
    ) -> None:
        self.recipe, self.data, self.fabric, self.folder = recipe, data, fabric, folder
        self.network = model  # the module itself; `self.model` is Fabric's wrapper of it
        optimiser = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        self.epoch, self.best, self.seconds = 0, {"epoch": -1, "top1": -1.0}, 0.0
        if state is not None:
            model.load_state_dict(state["model"])
            self.epoch, self.best, self.seconds = state["epoch"], state["best"], state["seconds"]
            if fabric.is_global_zero:
                folder.trim_log(self.epoch)
        self.model, self.optimiser = fabric.setup(model, optimiser)
        if state is not None:  # after setup: momentum must lie where the parameters now are
            self.optimiser.load_state_dict(state["optimiser"])
            if state["scaler"]:
                fabric.strategy.precision.load_state_dict(state["scaler"])

    def train(self, began: float, stop_after_s: float | None, report: Report) -> bool:
        """Epochs to the end (True), or until the time is over (False)."""
        while self.epoch < self.recipe.epochs:
            row = self._epoch()
            if self.fabric.is_global_zero:
                report(row, self.recipe.epochs)
            over = stop_after_s is not None and time.monotonic() - began > stop_after_s
            if self.fabric.broadcast(over) and self.epoch < self.recipe.epochs:
                return False
        return True

    def _epoch(self) -> dict[str, Any]:
        started, recipe = time.monotonic(), self.recipe
        torch.manual_seed((recipe.seed * 100_003 + self.epoch) * 1009 + self.fabric.global_rank)  # dropout
        lr = recipe.lr_at(self.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.model.train()
        loss_sum = torch.zeros(2, device=self.fabric.device)
        steps = 0
        for clips, labels in self.data.train.epoch(self.epoch, self.fabric.global_rank, self.fabric.world_size):
            logits = self.model(clips)
            loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            self.optimiser.zero_grad()
            self.fabric.backward(loss)
            self.optimiser.step()
            loss_sum += torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])
            steps += 1
        loss, accuracy = (loss_sum / steps).tolist()
        if not np.isfinite(loss):
            raise BadInput(f"the loss became {loss} in epoch {self.epoch + 1}; lower lr (now {lr:g})")
        self.epoch += 1
        row: dict[str, Any] = {"epoch": self.epoch, "lr": round(lr, 8), "loss": loss, "train_top1": 100 * accuracy}
        if self.fabric.is_global_zero:
            row["choose_top1"] = self._choose()
            row["seconds"] = round(time.monotonic() - started, 2)
            self.seconds += row["seconds"]
            self._save(row)
        return row

    def _choose(self) -> float | str:
        """Accuracy on the choosing part; the first best epoch becomes the checkpoint."""
        top1: float | str = ""
        if self.data.choose is not None:
            clips, labels = self.data.choose
            top1 = measure(classify(self.network, clips, self.fabric.device), labels).top1
        if self.data.choose is None or top1 > self.best["top1"]:
            self.best = {"epoch": self.epoch, "top1": top1}
            save_model(self.network, self.folder.folder / CHECKPOINT)
        return top1

    def _save(self, row: dict[str, Any]) -> None:
        self.folder.log(row, first=self.epoch == 1)
        self._tensorboard(row)
        self.folder.save_state(
            {
                "model": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.fabric.strategy.precision.state_dict(),  # of fp16's loss scale; else empty
                "epoch": self.epoch,
                "best": self.best,
                "seconds": self.seconds,
            }
        )

    def _tensorboard(self, row: dict[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # log.csv has the same numbers
            return
        with SummaryWriter(str(self.folder.folder / "tensorboard"), purge_step=self.epoch) as writer:
            for name, value in row.items():
                if name != "epoch" and value != "":
                    writer.add_scalar(name, value, self.epoch)

    def conclude(self, finished: bool) -> dict[str, Any]:
        """Measure the chosen epoch on the test part and write result.json."""
        from ski_edge.models import load_model

        result: dict[str, Any] = {
            "finished": finished,
            "epochs": self.epoch,
            "chosen_epoch": self.best["epoch"],
            "chosen_by": self.recipe.select,
            "choose_top1": self.best["top1"],
            "clips": self.data.counts,
            "seconds": round(self.seconds, 1),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "device": str(self.fabric.device),
            "processes": self.fabric.world_size,
            "precision": self.recipe.precision,
            "torch": torch.__version__,
        }
        if finished:
            chosen = load_model(self.folder.folder / CHECKPOINT)
            clips, labels = self.data.test
            metrics = measure(classify(chosen.to(self.fabric.device), clips, self.fabric.device), labels)
            last = measure(classify(self.network, clips, self.fabric.device), labels)
            result |= {"test_top1": metrics.top1, "test_top5": metrics.top5, "last_epoch_test_top1": last.top1}
            result["test_mean_recall"] = metrics.mean_recall
        write_json(self.folder.folder / RESULT, result)
        return result


def _check_processes(recipe: Recipe, fabric: Any) -> None:
    if recipe.batch_size % fabric.world_size:
        raise BadInput(
            f"batch_size {recipe.batch_size} does not divide among {fabric.world_size} processes; change one of them"
        )


def keep_memory() -> None:
    """Let glibc keep freed blocks: fresh pages for every activation cost a third of a training step on a CPU."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        mmap_threshold, trim_threshold = -3, -1
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):  # another C library
        return
