"""torch module -> one ONNX file, and what is in the file that was really written."""

from __future__ import annotations

import collections
import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ski_edge.errors import BadInput, PrecisionNotRealised

# 17 is the first opset in which LayerNormalization is one operator: decomposed, its squares overflow in fp16.
MIN_OPSET, MAX_OPSET, DEFAULT_OPSET = 18, 23, 18


def check_opset(opset: int) -> None:
    """Refuse opsets this exporter is not tested with."""
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise BadInput(f"opset {opset} is not supported; use {MIN_OPSET} to {MAX_OPSET} (default {DEFAULT_OPSET})")


@torch.no_grad()
def write_onnx(
    module: nn.Module,
    examples: dict[str, Tensor],
    path: Path,
    *,
    output_names: tuple[str, ...],
    dynamic: dict[str, dict[int, str]],
    opset: int,
    metadata: dict[str, str],
) -> None:
    """Export a module in eval mode. examples: by input name, in order; dynamic: input -> axis -> name of its size."""
    axes = tuple(
        {axis: torch.export.Dim(name, min=1) if axis == 0 else torch.export.Dim.AUTO for axis, name in sizes.items()}
        for sizes in (dynamic[name] for name in examples)
    )
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(examples.values()),
            dynamo=True,
            opset_version=opset,
            input_names=list(examples),
            output_names=list(output_names),
            dynamic_shapes=axes,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    for tensor in model.graph.input:
        for axis, name in dynamic[tensor.name].items():
            size = tensor.type.tensor_type.shape.dim[axis]
            # The exporter may settle on the example's size without a word (a len() of a tensor is enough).
            if size.HasField("dim_value"):
                raise PrecisionNotRealised(
                    f"{tensor.name}: {name} should be any size, the graph fixes {size.dim_value}"
                )
            size.dim_param = name
    onnx.helper.set_model_props(model, metadata)
    _strip_provenance(model)
    onnx.checker.check_model(model)
    written = model.opset_import[0].version
    if written != opset:
        raise PrecisionNotRealised(f"asked for opset {opset}, the exporter wrote {written}; use --opset {written}")
    onnx.save_model(model, path)


def _strip_provenance(model: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces: they double the graph's size and name folders of this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints progress and warns about its own internals; results here speak for themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def realised_precision(path: Path) -> dict[str, int]:
    """Parameters by dtype in the file as written: {"float32": 86192640, "int64": 12}."""
    counts: collections.Counter[str] = collections.Counter()
    for tensor in onnx.load(path).graph.initializer:
        counts[str(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))] += math.prod(tensor.dims)
    return dict(counts)


def check_layer_norms(path: Path, expected: int) -> None:
    """Every LayerNorm of the model must be one LayerNormalization node."""
    found = sum(node.op_type == "LayerNormalization" for node in onnx.load(path, load_external_data=False).graph.node)
    if found != expected:
        raise PrecisionNotRealised(f"{path.name}: {found} LayerNormalization nodes, the model has {expected}")


def store_half(path: Path) -> None:
    """Keep the weights as float16 in the file, each behind a Cast to float32, which runtimes fold when they load it.

    Small tensors (below 64 numbers: scales, constants) stay float32.
    """
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < 64:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        half = values.astype("float16")
        if (np.isfinite(values) & ~np.isfinite(half)).any():  # masks hold infinities, and float16 has them, too
            raise PrecisionNotRealised(f"{name} holds numbers beyond float16's 65504; use --precision fp32")
        graph.initializer[i].CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def check_no_operators(path: Path, forbidden: set[str]) -> None:
    """The algebra that was asked for is in the file: none of these operators is left."""
    found = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node} & forbidden
    if found:
        raise PrecisionNotRealised(f"{path.name} still holds {', '.join(sorted(found))}; report this as a bug")
