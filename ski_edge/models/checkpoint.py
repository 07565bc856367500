"""A checkpoint is a folder: `model.safetensors` and `config.json`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ski_edge.errors import BadInput
from ski_edge.files import new_folder, read_json, write_json
from ski_edge.models.registry import REGISTRY, build, entry, parse_config

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_model(model: nn.Module, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a checkpoint folder (an existing checkpoint is replaced); dtype: of the floating-point numbers in it."""
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state_of(model).items()}
    with new_folder(Path(folder), is_checkpoint) as work:
        save_file(state, work / WEIGHTS)
        (work / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone; another user may run the device
        write_json(work / CONFIG, model.config.model_dump(mode="json"))


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint of ours and holds nothing else."""
    try:
        fields = read_json(folder / CONFIG, "config")
    except BadInput:
        return False
    known = isinstance(fields, dict) and fields.get("model") in REGISTRY
    return known and {path.name for path in folder.iterdir()} <= {CONFIG, WEIGHTS}


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The tensors a checkpoint holds: the model's own choice (`checkpoint_state`), or all it has but step counters."""
    if hasattr(model, "checkpoint_state"):
        state = model.checkpoint_state()
    else:
        state = {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}


def state_digest(model: nn.Module) -> str:
    """sha256 over all tensors by name: which weights a bundle was made from, whatever file they came in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state_of(model).items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_model(folder: str | Path) -> nn.Module:
    """The model of a checkpoint folder, in eval mode, float32, on the CPU."""
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        state = "has no config.json" if folder.is_dir() else "is not a folder"
        raise BadInput(f"checkpoint {folder} {state}; make one with: ski-edge convert FILE --out DIR")
    fields = read_json(path, "config")
    name = fields.get("model") if isinstance(fields, dict) else None
    if name not in REGISTRY:
        raise BadInput(f"{path}: model {name!r} is not known; the choices are: {', '.join(REGISTRY)}")
    config = parse_config(entry(name).config_class, fields, str(path))
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder / WEIGHTS} cannot be read: {error}; copy the checkpoint again") from error
    model = build(config)
    load_state(model, state, str(folder))
    return model


def load_state(model: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Fill a model with checkpoint tensors: every name and shape must fit, every number must be finite."""
    wanted = state_of(model)
    kind = f"{model.config.model} {model.config.arch}"
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise BadInput(
            f"{where}: not the tensors of a {kind}: "
            f"missing {missing[:3]} ({len(missing)}), unknown {extra[:3]} ({len(extra)})"
        )
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise BadInput(f"{where}: {name} is {list(tensor.shape)}, {kind} needs {list(wanted[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise BadInput(f"{where}: {name} holds NaN or infinity; the checkpoint is damaged or training diverged")
    state = {name: tensor.float() for name, tensor in state.items()}
    if hasattr(model, "load_checkpoint_state"):
        model.load_checkpoint_state(state)
    else:
        model.load_state_dict(state, strict=False)  # step counters are not stored; all else was checked above
