"""A recipe: everything a training run depends on, in one YAML file. `ski-edge train RECIPE [key=value ...]`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.files import parse_yaml, read_text
from ski_edge.skeleton import SkeletonInput

RECIPES = Path(__file__).parent / "recipes"


class LiveWindows(Contract):
    """Windows from artificial streams instead of whole clips: actions between pauses, and *other* beside them."""

    other: str = "other"  # name of the class for everything that is no action
    other_share: float = Field(0.3, ge=0, lt=1)  # of the windows
    windows: int = Field(3000, gt=0)  # per epoch
    min_action: float = Field(0.7, gt=0, le=1)  # of an action's moving part (or of the window) must be inside
    max_other: float = Field(0.25, ge=0, lt=1)  # of an action may be inside a window that is called other


class Recipe(Contract):
    """One training run of a skeleton classifier."""

    model: str
    arch: str = "base"
    options: dict[str, Any] = Field(default_factory=dict)  # further fields of the model's config
    data: Path  # folder that `ski-edge data prepare` wrote
    split: str  # see ski_edge.data.splits
    skeleton: SkeletonInput
    live: LiveWindows | None = None

    # Augmentation, per clip
    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0)  # radians: largest turn about x, y, z
    rotate_order: Literal["xyz", "zyx"] = "xyz"  # which axis turns first
    noise: float = Field(0.0, ge=0)  # standard deviation, in what the arranged clip counts: metres, or mean bones
    drop_joints: float = Field(0.0, ge=0, lt=1)  # chance that a joint stays where it was in the first frame
    stretch_bones: float = Field(0.0, ge=0, lt=1)  # every bone longer or shorter by up to this share (other people)
    change_speed: float = Field(0.0, ge=0, lt=1)  # live windows: time faster or slower by up to this share

    # Optimisation: SGD, as in all the original codes
    epochs: int = Field(gt=0, le=10_000)
    repeat: int = Field(1, ge=1)  # passes over the data per epoch (NW-UCLA: 5)
    batch_size: int = Field(64, gt=1)
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(4e-4, ge=0)
    warmup_epochs: int = Field(5, ge=0)  # linear, per epoch
    schedule: Literal["steps", "cosine"] = "steps"
    drops: tuple[int, ...] = ()  # epochs at which lr falls to a tenth
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    seed: int = Field(1, ge=0, lt=2**31)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the arithmetic in training; weights stay fp32
    # validation: a part of the training data chooses the epoch; test: the originals' habit, which flatters; last: none
    select: Literal["validation", "test", "last"] = "validation"
    # of the training clips: whole subjects where other people are tested, else every class in proportion
    validation_share: float = Field(0.1, gt=0, lt=0.5)

    @model_validator(mode="after")
    def _drops_inside(self) -> Recipe:
        if list(self.drops) != sorted(set(self.drops)) or any(not 0 < drop < self.epochs for drop in self.drops):
            raise ValueError(f"drops must be ascending epochs below {self.epochs}, got {list(self.drops)}")
        if self.live is not None and self.skeleton.resample.name != "fixed-seconds":
            raise ValueError("live windows need skeleton.resample.name: fixed-seconds")
        if self.live is not None and (self.skeleton.centre != "each-frame" or self.skeleton.scale == "box"):
            raise ValueError("live windows need skeleton.centre: each-frame and no box: a stream has no first frame")
        if taken := sorted(self.options.keys() & {"model", "seed", "classes", "num_classes", "weights", "layout"}):
            raise ValueError(f"options.{taken[0]} is not for options; the recipe or the data decide it")
        if taken := sorted(self.options.keys() & set(type(self).model_fields)):
            raise ValueError(f"options.{taken[0]} is a field of the recipe itself; write it there")
        return self

    def lr_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return self.lr * (epoch + 1) / self.warmup_epochs
        if self.schedule == "cosine":
            done = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
            return self.lr * (0.001 + 0.999 * (1 + math.cos(math.pi * done)) / 2)
        return self.lr * 0.1 ** sum(epoch >= drop for drop in self.drops)


def read_recipe(name: str, overrides: list[str] | None = None) -> Recipe:
    """A recipe by name (those in ski_edge/train/recipes) or path, with changes such as `skeleton.modality=bone`."""
    path = RECIPES / f"{name}.yaml" if "/" not in name and not name.endswith((".yaml", ".yml")) else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise BadInput(f"recipe {name!r} is not known; the choices are: {known}, or a .yaml file")
    fields = parse_yaml(read_text(path, "recipe"), f"recipe {path}")
    if not isinstance(fields, dict):
        raise BadInput(f"recipe {path} must be a list of key: value lines")
    for item in overrides or []:
        _override(fields, item)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"recipe {path}: {where}: {message} (got {str(first['input'])[:60]!r})") from error


def _override(fields: dict[str, Any], item: str) -> None:
    key, equals, value = item.partition("=")
    if not equals or not key:
        raise BadInput(f"{item!r} must be KEY=VALUE, for example seed=2 or skeleton.modality=bone")
    *parents, last = key.split(".")
    place: Any = fields
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise BadInput(f"{key} does not name a field: {part} holds a value, not fields")
    place[last] = parse_yaml(value, f"{key}={value[:40]}")
