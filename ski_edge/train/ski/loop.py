"""The run of a SKI recipe on Lightning Fabric: one process on a CPU or GPU, several by torchrun.

All randomness of a step follows from (seed, epoch, step), and a saved state holds the step it belongs to: a run that
was killed and resumed ends with the weights of one that was not (same machine, same number of threads and processes).
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ski_edge.errors import BadInput
from ski_edge.evaluate.scores import Scores, write_scores
from ski_edge.files import write_json
from ski_edge.models import save_model
from ski_edge.models.clip import ClipModel
from ski_edge.models.skeletonclip import SkeletonCLIP
from ski_edge.train.fabric import clip_sharded, gathered, open_fabric, scattered_optimiser, share_loose
from ski_edge.train.loop import keep_memory
from ski_edge.train.run import CHECKPOINT, RESULT, RunFolder
from ski_edge.train.ski.batches import PairBatch, PairBatches
from ski_edge.train.ski.losses import top1
from ski_edge.train.ski.networks import Stage, build_pair, join_video_space
from ski_edge.train.ski.optim import Average, lr_at, parameter_groups
from ski_edge.train.ski.pair import Pair
from ski_edge.train.ski.recipe import SkiRecipe
from ski_edge.train.ski.score import report, report_phrases, score
from ski_edge.train.ski.world import World, open_world

_LARGEST_LOG_SCALE = math.log(100)  # CLIP's limit of temperatures
_HUGE = 1e6  # no pixel, no joint and no similarity is so far from 0
TEACHER = "teacher"  # folder of the skeleton side's checkpoint, where both sides learn
Report = Callable[[dict[str, Any], int], None]  # (row of log.csv, epochs in all)


def train_ski(
    recipe: SkiRecipe,
    out: Path,
    stage: Stage,
    *,
    resume: bool = False,
    stop_after_s: float | None = None,
    threads: int = 0,
    report: Report = lambda row, epochs: None,
    drawing: Callable[[int, int], None] = lambda done, total: None,
    before: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Train, keep the last weights (or their mean) as `out/checkpoint`, measure them; returns result.json's content.

    stage: gives the checkpoint folder of a recipe that comes before; drawing: told how many clips are drawn;
    before: folders of these recipes by name, which a run that goes on must find again.
    """
    folder = RunFolder(out)
    first = os.environ.get("RANK", "0") == "0"
    if first:
        folder.check(recipe, resume, before)
    if resume and (done := folder.result()):
        return done if first else {}
    began = time.monotonic()
    if threads:
        torch.set_num_threads(threads)
    keep_memory()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if recipe.optim.batch_size % size:
        raise BadInput(f"optim.batch_size {recipe.optim.batch_size} does not divide among {size} processes")
    fabric = open_fabric(recipe.optim.precision, recipe.optim.shard)
    world = open_world(recipe, drawing)
    pair = build_pair(recipe, world, stage)
    state = folder.open(recipe, resume, before) if fabric.is_global_zero else None
    state = fabric.broadcast(state)
    run = _Run(recipe, world, pair, fabric, folder, state)
    finished = run.train(began, stop_after_s, report)
    trained = run.trained(finished)
    return run.conclude(finished, trained) if trained is not None else {}


class _Run:
    """One run in progress."""

    def __init__(
        self, recipe: SkiRecipe, world: World, pair: Pair, fabric: Any, folder: RunFolder, state: dict[str, Any] | None
    ) -> None:
        self.recipe, self.world, self.network, self.fabric, self.folder = recipe, world, pair, fabric, folder
        optim = recipe.optim
        spec = pair.teacher.config.backbone.skeleton if isinstance(pair.teacher, SkeletonCLIP) else None
        self.batches = PairBatches(recipe, world, spec, fabric.device)
        self.steps = -(-len(self.batches) // optim.accumulate)  # of the optimiser, per epoch
        groups = parameter_groups(pair, optim)  # freezes, so it comes before the network is shared
        if optim.checkpoint_activations:
            pair.checkpoint_activations()
        self.epoch, self.step, self.seconds = 0, 0, 0.0  # step: batches of the epoch that are done
        if state is not None:
            pair.load_state_dict(state["model"])
            self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
            if fabric.is_global_zero:
                folder.trim_log(self.epoch)
        # Measuring needs a whole network: the one that was there before it was sharded
        self.whole = copy.deepcopy(pair) if optim.shard and fabric.is_global_zero else pair
        self.model = fabric.setup_module(torch.compile(pair) if optim.compile else pair)
        if optim.shard:
            groups = parameter_groups(pair, optim)  # its parameters are new objects
        optimiser = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
        self.optimiser = fabric.setup_optimizers(optimiser)
        self.average = None
        if optim.average != "none":
            self.average = Average(pair, optim.ema_decay if optim.average == "ema" else None)
        self.totals: dict[str, float] = {}
        if state is not None:
            self.optimiser.load_state_dict(scattered_optimiser(state["optimiser"], optimiser))
            self.totals = state["totals"]
            if state["scaler"]:
                fabric.strategy.precision.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])

    def train(self, began: float, stop_after_s: float | None, report: Report) -> bool:
        """Epochs to the end (True), or until the time is over (False)."""
        self.stop_at = None if stop_after_s is None else began + stop_after_s
        while self.epoch < self.recipe.optim.epochs:
            row = self._epoch()
            if row is None:
                return False
            if self.fabric.is_global_zero:
                report(row, self.recipe.optim.epochs)
            if self._over() and self.epoch < self.recipe.optim.epochs:
                return False
        return True

    def _over(self) -> bool:
        """Whether the first process's time is over. All must ask together."""
        return self.fabric.broadcast(self.stop_at is not None and time.monotonic() > self.stop_at)

    def _epoch(self) -> dict[str, Any] | None:
        """The epoch's row of log.csv; None where the time was over at a save inside it."""
        started, optim, fabric = time.monotonic(), self.recipe.optim, self.fabric
        self.model.train()
        count = len(self.batches)
        for batch in self.batches.epoch(self.epoch, fabric.global_rank, fabric.world_size, self.step):
            self._forward_backward(batch)
            self.step += 1
            if self.step % optim.accumulate == 0 or self.step == count:
                self._update()
                if optim.save_every and (self.step // optim.accumulate) % optim.save_every == 0 and self.step < count:
                    self._save()
                    if self._over():
                        return None
        row: dict[str, Any] = {"epoch": self.epoch + 1, "lr": self.optimiser.param_groups[0]["lr"]}
        row |= {name: total / count for name, total in self._totals().items()}
        self.epoch, self.step, self.totals = self.epoch + 1, 0, {}
        self._check_weights()
        if self.average is not None and optim.average == "epochs" and self.epoch >= optim.average_from:
            self.average.add(self.network)
        row["seconds"] = round(time.monotonic() - started, 2)
        self.seconds += row["seconds"]
        if fabric.is_global_zero:
            self.folder.log(row, first=self.epoch == 1)
        self._save()
        return row

    def _forward_backward(self, batch: PairBatch) -> None:
        """One batch: gradients added, losses summed; a loss that is not finite stops the run and names its clips."""
        recipe, fabric = self.recipe, self.fabric
        seed = np.random.SeedSequence([recipe.seed, self.epoch, self.step, fabric.global_rank]).generate_state(1)
        torch.manual_seed(int(seed[0]))  # dropout
        count, step, every = len(self.batches), self.step, recipe.optim.accumulate
        last = (step + 1) % every == 0 or step + 1 == count
        # The last accumulation of an epoch may be shorter; it counts its own batches.
        size = every if step < count - count % every else count % every
        with nullcontext() if last else fabric.no_backward_sync(self.model), self._attention():
            out = self.model(batch.frames, batch.skeleton, batch.target, batch.skeleton_target)
            loss = out["loss"]
            value = float(loss.detach())
            if not np.isfinite(value):
                raise BadInput(
                    f"the loss became {value} in epoch {self.epoch + 1}, batch {step + 1} "
                    f"({_suspects(out, batch)}); lower optim.lr (now {recipe.optim.lr:g}) or look at these clips"
                )
            fabric.backward(loss / size)
        rows = {name: float(part.detach()) for name, part in out.items() if name == "loss" or name.endswith("_loss")}
        for side in ("video", "skeleton"):
            if side in out:
                rows[f"{side}_top1"] = top1(out[side], batch.labels, self.network.groups)
        for name, number in rows.items():
            self.totals[name] = self.totals.get(name, 0.0) + number

    def _attention(self) -> Any:
        """On a CPU torch's fused attention is slow in bfloat16 (its backward pass ten times); the plain one is not."""
        if self.fabric.device.type == "cpu" and self.recipe.optim.precision == "bf16":
            return sdpa_kernel(SDPBackend.MATH)
        return nullcontext()

    def _update(self) -> None:
        optim = self.recipe.optim
        done = self.epoch * self.steps + (self.step - 1) // optim.accumulate
        lr = lr_at(optim, done, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        if optim.shard:
            share_loose(self.network, self.fabric.world_size)
        if optim.clip_norm and optim.shard:
            clip_sharded(self.network, optim.clip_norm)
        elif optim.clip_norm:
            self.fabric.clip_gradients(self.model, self.optimiser, max_norm=optim.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if name.endswith(("logit_scale", "log_scale")) and parameter.requires_grad:
                    parameter.clamp_(max=_LARGEST_LOG_SCALE)
        if self.average is not None and optim.average == "ema":
            self.average.add(self.network)

    def _check_weights(self) -> None:
        """A loss can stay finite while a clip of huge numbers has spoilt BatchNorm's statistics."""
        for name, tensor in self.network.state_dict().items():
            own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
            if not torch.isfinite(own).all():
                raise BadInput(
                    f"{name} is not finite after epoch {self.epoch}; lower optim.lr (now {self.recipe.optim.lr:g}) or "
                    "look for clips with huge numbers: ski-edge data check"
                )

    def _totals(self) -> dict[str, float]:
        """Sums over the epoch's batches so far, the mean over processes."""
        if not self.totals:
            return {}
        sums = torch.tensor(list(self.totals.values()), dtype=torch.float64)
        means = self.fabric.all_reduce(sums.to(self.fabric.device), reduce_op="mean")
        return dict(zip(self.totals, means.tolist(), strict=True))

    def _save(self) -> None:
        state = {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),  # of fp16's loss scale; else empty
            "average": self.average.state_dict() if self.average is not None else {},
            "epoch": self.epoch,
            "step": self.step,
            "totals": self._totals(),
            "seconds": self.seconds,
        }
        if self.recipe.optim.shard:
            state = gathered(state)
        if self.fabric.is_global_zero:
            self.folder.save_state(state)

    def trained(self, finished: bool) -> Pair | None:
        """The whole network, with averaged weights if the run is over, in the first process; all must come here."""
        if finished and self.average is not None:
            self.average.apply(self.network)
        if self.recipe.optim.shard:
            weights = gathered(self.network.state_dict())
            if self.fabric.is_global_zero:
                self.whole.load_state_dict(weights)
                self.whole.to(self.fabric.device)
        return self.whole if self.fabric.is_global_zero else None

    def conclude(self, finished: bool, pair: Pair) -> dict[str, Any]:
        """Write the checkpoints, measure them on classes seen and unseen, write result.json."""
        out = self.folder.folder
        result: dict[str, Any] = {
            "finished": finished,
            "epochs": self.epoch,
            "objective": self.recipe.objective,
            "seconds": round(self.seconds, 1),
            "pairs": {part: len(getattr(self.world, part)) for part in ("train", "seen_test", "unseen_test")},
            "classes": {"seen": len(self.world.seen), "unseen": len(self.world.unseen)},
            "parameters": sum(p.numel() for p in pair.parameters()),
            "device": str(self.fabric.device),
            "processes": self.fabric.world_size,
            "torch": torch.__version__,
        }
        if finished:
            if self.recipe.objective == "cross-projection":
                join_video_space(pair)
            self._save_models(pair, out)
            parts = {"unseen": self.world.unseen_test, "seen": self.world.seen_test}
            scored = {name: score(pair, self.world, part) for name, part in parts.items()}
            if self.recipe.objective == "captions":
                result["held_out_top1"] = report_phrases(scored["seen"], self.world)
                scored = {}
            else:
                result |= report(scored, self.world)
            for name, item in scored.items():
                for head in ("video", "skeleton"):
                    logits = getattr(item, head)
                    if logits is not None and len(item.labels):
                        clips = self.world.skeleton[parts[name]]
                        names = self.world.skeletons.column("name")[clips]
                        write_scores(out / f"{name}-{head}.npz", Scores(logits, item.labels, names, self.world.classes))
        write_json(out / RESULT, result)
        return result

    @staticmethod
    def _save_models(pair: nn.Module, out: Path) -> None:
        models = [model for model in (pair.student, pair.teacher) if isinstance(model, (ClipModel, SkeletonCLIP))]
        for model, name in zip(models, (CHECKPOINT, TEACHER), strict=False):
            save_model(model, out / name)


def _suspects(out: dict[str, Tensor], batch: PairBatch) -> str:
    """Names of the clips that are huge or not finite, as input or as output; else of the whole batch."""
    names = list(batch.names)
    for rows in (batch.frames, batch.skeleton, out.get("video"), out.get("skeleton")):
        if rows is not None and rows.is_floating_point():
            bad = (~(rows.abs() < _HUGE)).flatten(1).any(dim=1).tolist()
            if any(bad):
                names = [name for name, strange in zip(batch.names, bad, strict=True) if strange]
                break
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
