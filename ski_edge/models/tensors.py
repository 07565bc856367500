"""Tensors out of somebody else's checkpoint file, without running anything that is in it."""

from __future__ import annotations

import warnings
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
        state = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise BadInput(f"checkpoint {path} {state}; give a file")
    if path.stat().st_size == 0:
        raise BadInput(f"checkpoint {path} is empty")
    if path.suffix == ".safetensors":
        try:
            return _select(load_file(path), [], path)
        except SafetensorError as error:
            raise BadInput(f"checkpoint {path} is not a safetensors file: {error}") from error
    return _select(*_load_pickle(path), path)


def _load_pickle(path: Path) -> tuple[object, list[str]]:
    try:
        archived = zipfile.is_zipfile(path)
        if archived:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith("constants.pkl") for name in names):
                raise BadInput(f"{path} is a TorchScript program, not weights; for OpenAI's CLIP use openclip:openai")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path) if archived else []
            with torch.serialization.safe_globals([(_Inert, name) for name in foreign]):
                value = torch.load(path, map_location="cpu", weights_only=True)
    except BadInput:
        raise
    except Exception as error:  # unpickling raises nearly anything
        raise BadInput(
            f"checkpoint {path} cannot be read as tensors{_reason(error)}; no pickled code is run"
        ) from error
    return value, [f"ignored the pickled {name} (its code was not run)" for name in sorted(foreign)]


def _reason(error: Exception) -> str:
    """torch's own words, without its advice to load the file unsafely."""
    text = " ".join(str(error).split())
    text = text.rpartition("WeightsUnpickler error:")[2].split("Check the documentation")[0]
    sentences = [part for part in text.split(". ") if part and "weights_only" not in part]
    return f" ({sentences[0].strip()[:160]})" if sentences else ""


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
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_complex():
            kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device.type}"
            raise BadInput(f"checkpoint {path}: {name} is no plain tensor of real numbers ({kind}); save it as float32")
    return RawCheckpoint(tensors, tuple(notes))
