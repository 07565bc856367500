"""Peers of a native op: its torch reference, eager, compiled, and exported to ONNX for other runtimes."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from ski_edge.skeleton import get_layout
from ski_edge.skeleton.graphs import hyperedges
from ski_edge.testing.op_layers import Layer

Run = Callable[[], Tensor]
_GROUPS = int(hyperedges(get_layout("ntu25")).max()) + 1


def call(layer: Layer, inputs: tuple[Tensor, ...], arguments: dict[str, Any]) -> Tensor:
    """The op's torch reference."""
    return layer.reference(**dict(zip(("x", "residual"), inputs, strict=False)), **arguments)


class Reference(torch.nn.Module):
    """The reference with its weights inside, so that compilers see constants, as they would in a network."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer, self._others, self._held = layer, {}, []
        for name, value in layer.arguments().items():
            if isinstance(value, Tensor):
                self.register_buffer(f"held_{name}", value)  # `graph` alone is a word of torch.fx
                self._held.append(name)
            else:
                self._others[name] = value

    def forward(self, *inputs: Tensor) -> Tensor:
        return call(self._layer, inputs, {name: getattr(self, f"held_{name}") for name in self._held} | self._others)


def _one_hot(groups: Tensor) -> Tensor:
    """Of the joints' groups of the layout that `network_layers` takes."""
    return (groups[:, None] == torch.arange(_GROUPS)).long()


class Made:
    """ONNX files of layers, made once for each size of input, and what runs them."""

    def __enter__(self) -> Made:
        # Compilers and exporters know sizes, not numbers, so they cannot tell how many classes `one_hot` will find.
        self._patch = mock.patch.object(F, "one_hot", _one_hot)
        self._patch.start()
        self._folder = tempfile.TemporaryDirectory()
        self._files: dict[tuple[str, int], Path | str] = {}
        return self

    def __exit__(self, *ignored: object) -> None:
        self._patch.stop()
        self._folder.cleanup()

    def runs(
        self, layer: Layer, inputs: tuple[Tensor, ...], threads: int, compiled: bool
    ) -> tuple[dict[str, Run], dict[str, str]]:
        """Label -> run, and label -> why it does not run."""
        torch.set_num_threads(threads)
        model, arguments = Reference(layer), layer.arguments()
        runs: dict[str, Run] = {"torch eager": lambda: call(layer, inputs, arguments)}
        missing: dict[str, str] = {}
        if compiled:
            torch._dynamo.reset()  # what was compiled for other sizes would make this one dynamic
            fast = torch.compile(model, dynamic=False)
            runs["torch.compile"] = lambda: fast(*inputs)
        else:
            missing["torch.compile"] = "left out (--no-compile)"
        path = self._exported(layer, model, inputs)
        for label, make in (
            ("onnxruntime", lambda: onnxruntime(path, inputs, threads)),
            ("openvino", lambda: openvino(path, inputs, threads, "f32")),
            ("openvino bf16", lambda: openvino(path, inputs, threads, "bf16")),
        ):
            if isinstance(path, str):
                missing[label] = path
                continue
            try:
                runs[label] = make()
            except Exception as error:  # a peer that cannot run says why, in its own words
                missing[label] = one_line(error)
        return runs, missing

    def _exported(self, layer: Layer, model: Reference, inputs: tuple[Tensor, ...]) -> Path | str:
        """The file, or why there is none."""
        key = (layer.name, len(inputs[0]))
        if key not in self._files:
            path = Path(self._folder.name) / f"{len(self._files)}.onnx"
            try:
                export(model, inputs, path)
                self._files[key] = path
            except Exception as error:
                self._files[key] = f"no ONNX export: {one_line(error)}"
        return self._files[key]


def export(model: Reference, inputs: tuple[Tensor, ...], path: Path) -> None:
    """With torch's exporter, whose report of its steps nobody needs here."""
    quiet = io.StringIO()
    logging.getLogger("torch").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, inputs, str(path), dynamo=True, external_data=False, verbose=False)


def onnxruntime(path: Path, inputs: tuple[Tensor, ...], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {node.name: x.numpy() for node, x in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


def openvino(path: Path, inputs: tuple[Tensor, ...], threads: int, precision: str) -> Run:
    import openvino

    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this CPU multiplies no bfloat16")
    network = core.read_model(str(path))
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    feed = {node.any_name: x.numpy() for node, x in zip(network.inputs, inputs, strict=True)}
    return lambda: torch.from_numpy(request.infer(feed, share_inputs=True, share_outputs=True)[0])


def one_line(error: Exception) -> str:
    while error.__cause__ is not None:  # the first of a chain is the reason
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:160]
