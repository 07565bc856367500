"""Tensors out of somebody else's checkpoint file, without running anything that is in it."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ski_edge.errors import BadInput

# Where training scripts put the weights inside what they save, in order of preference.
_NESTS = ("model_state", "model", "state_dict", "model_state_dict")


@dataclass(frozen=True, slots=True)
class RawCheckpoint:
    """tensors: by their original names, `module.` stripped; notes: what was found beside them, for people."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


class _Inert:
    """Stands in for every class or function a pickle names: takes any arguments, gives an empty dictionary.

    A dictionary, because what training scripts save beside weights are configs (yacs' CfgNode, a dict), and torch's
    restricted unpickler sets items and attributes of exactly this type.
    """

    def __new__(cls, *args: object, **kwargs: object) -> OrderedDict:  # type: ignore[misc]
        return OrderedDict()


def read_tensors(path: str | Path) -> RawCheckpoint:
    """Read .safetensors, or a .pt/.pth file with `weights_only=True`; classes in it become inert placeholders."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"checkpoint {path} {'is a folder' if path.is_dir() else 'does not exist'}; give a file")
    if path.stat().st_size == 0:
        raise BadInput(f"checkpoint {path} is empty")
    if path.suffix == ".safetensors":
        try:
            return _select(load_file(path), [], path)
        except SafetensorError as error:
            raise BadInput(f"checkpoint {path} is not a safetensors file: {error}") from error
    return _select(*_load_pickle(path), path)


def _load_pickle(path: Path) -> tuple[object, list[str]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise BadInput(f"{path} is a TorchScript program, not weights; for OpenAI's CLIP use openclip:openai")
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
        with torch.serialization.safe_globals([(_Inert, name) for name in foreign]):
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises nearly anything
        # torch's text recommends weights_only=False at length; the reason follows it.
        reason = " ".join(
            str(error).rpartition("WeightsUnpickler error:")[2].split("Check the documentation")[0].split()
        )
        raise BadInput(
            f"checkpoint {path} cannot be read as tensors: {reason[:200]}; no pickled code is run"
        ) from error
    return value, [f"ignored the pickled {name} (its code was not run)" for name in sorted(foreign)]


def _select(value: object, notes: list[str], path: Path) -> RawCheckpoint:
    """Step into the part that holds the weights, keep the tensors, strip DistributedDataParallel's prefix."""
    if isinstance(value, Mapping):
        for nest in _NESTS:
            inner = value.get(nest)
            if isinstance(inner, Mapping) and any(isinstance(x, Tensor) for x in inner.values()):
                others = [str(key) for key in value if key != nest]
                notes = [*notes, *([f"dropped beside {nest!r}: {', '.join(others)}"] if others else [])]
                value = inner
                break
    if not isinstance(value, Mapping) or not any(isinstance(x, Tensor) for x in value.values()):
        raise BadInput(f"checkpoint {path} holds no tensors by name (found {type(value).__name__}); nothing to convert")
    tensors = {str(k).removeprefix("module."): x for k, x in value.items() if isinstance(x, Tensor)}
    return RawCheckpoint(tensors, tuple(notes))
