"""`--weights`: random, a checkpoint folder, an official file, or an open_clip tag -> a model."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ski_edge.errors import BadInput
from ski_edge.models.archs import OPEN_CLIP
from ski_edge.models.checkpoint import load_model
from ski_edge.models.convert import convert
from ski_edge.models.registry import create_model, entry
from ski_edge.models.vificlip import ViFiCLIP

CHOICES = "random, a checkpoint folder, an official checkpoint file, openclip:TAG (vificlip only)"
DEFAULT_ARCH = "ViT-B-16"
SHIPPED = Path(__file__).parent / "shipped"  # checkpoint folders by model name, weights stored as float16


def refuse_teacher(model: str) -> None:
    """A model that only teaches has nothing a device could run."""
    if entry(model).task == "skeleton-text":
        raise BadInput(
            f"{model} is a teacher and becomes no bundle; export the ski-* student it taught, or a classifier trained "
            "on its backbone"
        )


def resolve_weights(model: str, weights: str | None, arch: str | None) -> nn.Module:
    """The model `model` with the weights that were asked for, in eval mode.

    weights None means the ones shipped under that name.
    """
    refuse_teacher(model)
    pose = entry(model).task == "skeleton"
    if weights is None:
        return _shipped(model, arch)
    if weights == "random" and pose:
        provenance = {"weights": "random (seed 0)", "licence": "Apache-2.0"}
        found = create_model(model, arch=arch or "base", num_classes=60, layout="ntu25", seed=0, **provenance)
    elif weights == "random":
        found = create_model(model, arch=arch or DEFAULT_ARCH, seed=0, weights="random (seed 0)", licence="Apache-2.0")
    elif weights.startswith("openclip:"):
        if model != "vificlip":
            raise BadInput(f"open_clip has no {model} weights; use --model vificlip, or convert a trained checkpoint")
        found = _from_open_clip(weights.removeprefix("openclip:"), arch or DEFAULT_ARCH)
    elif Path(weights).is_dir():
        found = load_model(weights)
    elif Path(weights).is_file():
        found = convert(weights)
    else:
        raise BadInput(f"weights {weights!r} is no file or folder; the choices are: {CHOICES}")
    refuse_teacher(found.config.model)
    if found.config.model != model:
        raise BadInput(f"{weights} holds a {found.config.model}, not a {model}; use --model {found.config.model}")
    if arch and found.config.arch != arch:
        raise BadInput(f"{weights} is {found.config.arch}, not {arch}; leave --arch away")
    return found


def _shipped(model: str, arch: str | None) -> nn.Module:
    """The weights that come with this package under that name."""
    if not (SHIPPED / model).is_dir():
        known = ", ".join(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))
        raise BadInput(f"no weights ship for {model} (there are some for: {known}); say --weights: {CHOICES}")
    found = load_model(SHIPPED / model)
    if arch not in (None, found.config.arch):
        raise BadInput(
            f"no weights ship for {model} {arch}, only {found.config.arch}; "
            f"leave --arch away, or say --weights: {CHOICES}"
        )
    return found


def _from_open_clip(tag: str, arch: str) -> ViFiCLIP:
    """CLIP weights that open_clip knows by tag (it downloads them), with their own activation and pixel statistics."""
    import open_clip

    if arch not in OPEN_CLIP:
        raise BadInput(f"open_clip has no weights for arch {arch!r}; use one of {', '.join(OPEN_CLIP)}")
    settings = open_clip.get_pretrained_cfg(arch, tag)
    if not settings:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(arch))
        raise BadInput(f"open_clip has no {arch} weights called {tag!r}; it has: {tags}")
    quick = bool(settings.get("quick_gelu", False))
    name = f"{arch}-quickgelu" if quick else arch
    try:
        source = open_clip.create_model(name, pretrained=tag)
    except Exception as error:  # network, hub and file errors of several libraries
        message = " ".join(str(error).split())[:200]
        raise BadInput(f"openclip:{tag} cannot be fetched: {message}; go online or give a local file") from error
    mean, std = (tuple(255 * x for x in getattr(source.visual, f"image_{part}")) for part in ("mean", "std"))
    model = create_model(
        "vificlip",
        arch=arch,
        activation="quickgelu" if quick else "gelu",
        weights=f"openclip:{tag} ({arch})",
        licence=str(settings.get("license", "see the weights' own page")),
    )
    spec = model.config.preprocessing.model_copy(update={"mean": mean, "std": std})
    model.config = model.config.model_copy(update={"preprocessing": spec})
    model.clip.load_state_dict(source.state_dict())
    return model.eval()
