"""A trained text tower as a folder (`text.safetensors`, `text.json`), and its way into a video-text model."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ski_edge.bundle.tokenizer import WORDS
from ski_edge.errors import BadInput
from ski_edge.files import read_json, sha256_file, write_json
from ski_edge.models.clip import ClipModel
from ski_edge.train.text.distil import text_parameters

TENSORS, DESCRIPTION = "text.safetensors", "text.json"


def save_text_tower(model: ClipModel, folder: Path) -> None:
    """Write the text half of a model, and what it must meet again: its arch and its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: p.detach().contiguous().cpu() for name, p in text_parameters(model.clip).items()}
    save_file(tensors, folder / TENSORS)
    (folder / TENSORS).chmod(0o644)
    write_json(folder / DESCRIPTION, {"arch": model.config.arch, "vocabulary_sha256": _vocabulary()})


def load_text_tower(model: ClipModel, folder: str | Path) -> None:
    """Copy a trained text tower into a model of the same arch; frames and logit scale stay as they are."""
    folder = Path(folder)
    said = read_json(folder / DESCRIPTION, "description of the text tower")
    if not isinstance(said, dict) or said.get("arch") != model.config.arch:
        arch = said.get("arch") if isinstance(said, dict) else said
        raise BadInput(f"{folder} holds a text tower of arch {arch!r}, the model is {model.config.arch}")
    if said.get("vocabulary_sha256") != _vocabulary():
        raise BadInput(f"{folder} was trained with another {WORDS} than the one installed; train the tower again")
    try:
        tensors = load_file(folder / TENSORS)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder / TENSORS} cannot be read: {error}; copy the folder again") from error
    own = text_parameters(model.clip)
    if wrong := sorted(own.keys() ^ tensors.keys()):
        raise BadInput(f"{folder / TENSORS} is not a text tower: {wrong[:3]} missing or unknown ({len(wrong)})")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape or not torch.isfinite(tensor).all():
            needed = list(own[name].shape)
            raise BadInput(f"{folder / TENSORS}: {name} is {list(tensor.shape)}; needed {needed}, all numbers finite")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _vocabulary() -> str:
    with as_file(files("ski_edge.bundle") / WORDS) as path:
        return sha256_file(path)
