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


class SkeletonAugment(Contract):
    """What is varied in a skeleton clip, each time it is seen."""

    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0)  # radians: largest turn about x, y, z
    rotate_order: Literal["xyz", "zyx"] = "xyz"  # which axis turns first
    noise: float = Field(0.0, ge=0)  # standard deviation, in what the arranged clip counts: metres, or mean bones
    drop_joints: float = Field(0.0, ge=0, lt=1)  # chance that a joint stays where it was in the first frame
    stretch_bones: float = Field(0.0, ge=0, lt=1)  # every bone longer or shorter by up to this share (other people)


class Recipe(SkeletonAugment):
    """One training run of a skeleton classifier."""

    model: str
    arch: str = "base"
    options: dict[str, Any] = Field(default_factory=dict)  # further fields of the model's config
    data: Path  # folder that `ski-edge data prepare` wrote
    split: str  # see ski_edge.data.splits
    skeleton: SkeletonInput
    live: LiveWindows | None = None

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


def read_recipe(name: str, overrides: list[str] | None = None) -> Any:
    """A recipe by name (those in ski_edge/train/recipes) or path, with changes such as `skeleton.modality=bone`.

    `kind: ski` makes it a SkiRecipe, no kind a Recipe. `extends: NAME` begins with another recipe's fields.
    """
    fields = _fields(name, ())
    for item in overrides or []:
        _override(fields, item)
    return parse_recipe(fields, f"recipe {name}")


def parse_recipe(fields: dict[str, Any], where: str) -> Any:
    """The recipe that these fields describe, or one line about the first that is wrong."""
    if fields.get("kind") == "ski":
        from ski_edge.train.ski.recipe import SkiRecipe as kind
    elif "kind" in fields:
        raise BadInput(f"{where}: kind {fields['kind']!r} is not known; write kind: ski, or leave it away")
    else:
        kind = Recipe
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "recipe"
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{where}: {field}: {message} (got {str(first['input'])[:60]!r})") from error


def _fields(name: str, above: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a recipe file over those of the one it extends."""
    path = RECIPES / f"{name}.yaml" if "/" not in name and not name.endswith((".yaml", ".yml")) else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise BadInput(f"recipe {name!r} is not known; the choices are: {known}, or a .yaml file")
    fields = parse_yaml(read_text(path, "recipe"), f"recipe {path}")
    if not isinstance(fields, dict):
        raise BadInput(f"recipe {path} must be a list of key: value lines")
    parent = fields.pop("extends", None)
    if parent is None:
        return fields
    if not isinstance(parent, str) or parent in above:
        raise BadInput(f"recipe {path}: extends must name another recipe that does not extend this one, got {parent!r}")
    return _over(_fields(parent, (*above, name)), fields)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced; null removes."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _over(merged[key], value)
        else:
            merged[key] = value
    return merged


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
