"""Write a bundle: graphs, labels, tokenizer, reference, manifest; open it, verify it, and only then ship it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import ski_edge
from ski_edge.bundle.labels import Label, label_set, labels_json
from ski_edge.bundle.manifest import (
    SCHEMA_VERSION,
    Cost,
    Graph,
    Manifest,
    Precision,
    Provenance,
    TensorSpec,
    file_entries,
    file_entry,
    is_bundle,
    write_manifest,
)
from ski_edge.bundle.tokenizer import build_clip_tokenizer
from ski_edge.errors import BadInput, PrecisionNotRealised
from ski_edge.export.graphs import FrameEncoder, TextEncoder
from ski_edge.export.live import expected_live, reference_frames
from ski_edge.export.onnx_file import (
    DEFAULT_OPSET,
    check_layer_norms,
    check_opset,
    realised_precision,
    write_onnx,
)
from ski_edge.files import check_replaceable, new_folder, write_json
from ski_edge.models import ViFiCLIP
from ski_edge.models.checkpoint import state_digest
from ski_edge.runtime import open_bundle
from ski_edge.runtime.verify import REFERENCE, Expected, compare

FRAME_FILE, TEXT_FILE, PARITY = "model.onnx", "text_encoder.onnx", "parity.json"
PRECISIONS = ("fp32",)
Progress = Callable[[str], None]


def export_model(
    model: ViFiCLIP,
    out: str | Path,
    *,
    classes: list[Label] | None = None,
    precision: str = "fp32",
    opset: int = DEFAULT_OPSET,
    clips: str | Path | None = None,
    progress: Progress = lambda step: None,
) -> Path:
    """Export a video-text model as a verified bundle folder; nothing is left behind when verification fails.

    classes: labels whose embeddings are stored (default: the model's own classes, else NTU-60); clips: folder of
    videos for the parity check (default: generated frames). Raises ParityFailed (exit 3), PrecisionNotRealised (4).
    """
    out = Path(out)
    if precision not in PRECISIONS:
        raise BadInput(f"precision {precision!r} is not available; this version exports: {', '.join(PRECISIONS)}")
    check_opset(opset)
    check_replaceable(out, is_bundle)
    labels = _choose_labels(model, classes)
    frames, inputs = reference_frames(clips)
    with evaluating(model), new_folder(out, is_bundle) as work:
        progress("embedding labels and reference frames")
        expected = expected_live(model, frames, labels)
        metadata = _metadata(model, opset, labels, expected.labels)
        _write_data(work, labels, frames, inputs, expected)
        progress("writing the frame encoder")
        frame_graph = _write_frame_encoder(model, work, opset, metadata)
        text_graph = None
        if model.config.reads_text:
            progress("writing the text encoder")
            text_graph = _write_text_encoder(model, work, opset, metadata)
        manifest = _describe(model, work, frame_graph, text_graph, precision, opset)
        write_manifest(work, manifest)
        progress("comparing with the live model")
        parity = compare(open_bundle(work, device="cpu"), frames, inputs, expected)
        parity.check()
        write_json(work / PARITY, parity.as_dict())
        write_manifest(
            work, manifest.model_copy(update={"files": {**manifest.files, PARITY: file_entry(work / PARITY)}})
        )
    return out


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every module gets back the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _choose_labels(model: ViFiCLIP, classes: list[Label] | None) -> list[Label]:
    own = [Label(name) for name in model.config.classes]
    if not model.config.reads_text:
        if classes is not None and classes != own:
            raise BadInput(
                f"these weights cannot encode new labels (no token embedding); leave --classes away to use their "
                f"{len(own)} own, or convert again with --set base=openclip:openai"
            )
        return own
    return classes or own or label_set("ntu60")


def _metadata(model: ViFiCLIP, opset: int, labels: list[Label], embeddings: np.ndarray) -> dict[str, str]:
    """Keys inside the ONNX files, so that they explain themselves when they travel alone."""
    config = model.config
    return {
        "ski_edge.schema": str(SCHEMA_VERSION),
        "task": "video-text",
        "model": config.model,
        "arch": config.arch,
        "embed_dim": str(embeddings.shape[1]),
        "preprocessing": config.preprocessing.model_dump_json(),
        "video": config.video.model_dump_json(),
        "text": config.text.model_dump_json(),
        "labels": json.dumps([label.name for label in labels], ensure_ascii=False),
        "text_embeddings_sha256": hashlib.sha256(embeddings.tobytes()).hexdigest(),
        "score_scale": repr(model.score_scale),
        "cost": frame_cost(model).model_dump_json(),
        "precision": "fp32",
        "opset": str(opset),
        "weights": config.weights,
        "license": config.licence,
        "exporter": f"ski-edge {ski_edge.__version__}, torch {torch.__version__}",
        "created": _now(),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _write_data(work: Path, labels: list[Label], frames: list[np.ndarray], inputs: str, expected: Expected) -> None:
    """labels.json, labels.npy and reference.npz."""
    write_json(work / "labels.json", labels_json(labels))
    np.save(work / "labels.npy", expected.labels)
    np.savez_compressed(
        work / REFERENCE,
        frames=np.stack(frames),
        inputs=inputs,
        embedding=expected.frames,
        labels=expected.labels,
        score_scale=expected.score_scale,
    )


def _write_frame_encoder(model: ViFiCLIP, work: Path, opset: int, metadata: dict[str, str]) -> Graph:
    size = model.config.preprocessing.crop
    encoder = FrameEncoder(model)
    path = work / FRAME_FILE
    write_onnx(
        encoder,
        torch.zeros(2, 3, size, size),
        path,
        names=("frames", "embedding"),
        dynamic={0: "B"},
        opset=opset,
        metadata={**metadata, "ski_edge.part": "frame_encoder"},
    )
    check_layer_norms(path, 2 + 2 * len(encoder.visual.transformer.resblocks))
    dim = encoder.visual.proj.shape[1]
    frames = TensorSpec(name="frames", dtype="float32", shape=("B", 3, size, size), units="(RGB 0-255 - mean) / std")
    embedding = TensorSpec(name="embedding", dtype="float32", shape=("B", dim), units="raw feature, not normalised")
    return Graph(file=FRAME_FILE, inputs=(frames,), outputs=(embedding,))


def _write_text_encoder(model: ViFiCLIP, work: Path, opset: int, metadata: dict[str, str]) -> Graph:
    from open_clip.tokenizer import default_bpe

    encoder = TextEncoder(model)
    path = work / TEXT_FILE
    write_onnx(
        encoder,
        torch.tensor([[49406, 320, 49407, 0], [49406, 320, 1125, 49407]]),
        path,
        names=("tokens", "text_embedding"),
        dynamic={0: "K", 1: "L"},
        opset=opset,
        metadata={**metadata, "ski_edge.part": "text_encoder"},
    )
    check_layer_norms(path, 1 + 2 * len(model.clip.transformer.resblocks))
    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    pairs = [tuple(line.split()) for line in merges]
    build_clip_tokenizer(pairs).save(str(work / "tokenizer.json"), pretty=False)
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("K", "L"), units="CLIP token ids, L <= context_length")
    dim = model.clip.text_projection.shape[1]
    embedding = TensorSpec(name="text_embedding", dtype="float32", shape=("K", dim), units="L2-normalised")
    return Graph(file=TEXT_FILE, inputs=(tokens,), outputs=(embedding,))


def _describe(
    model: ViFiCLIP, work: Path, frame_graph: Graph, text_graph: Graph | None, precision: str, opset: int
) -> Manifest:
    config = model.config
    realised = realised_precision(work / FRAME_FILE)
    if realised.get("float32", 0) < model.clip.visual.conv1.weight.numel() or set(realised) - {"float32", "int64"}:
        raise PrecisionNotRealised(f"asked for {precision}, the frame encoder holds {realised}")
    packages = ("ski-edge", "torch", "onnx", "onnxscript", "onnxruntime", "open_clip_torch", "numpy")
    return Manifest(
        model=config.model,
        arch=config.arch,
        embed_dim=model.clip.visual.proj.shape[1],
        frame_encoder=frame_graph,
        text_encoder=text_graph,
        preprocessing=config.preprocessing,
        video=config.video,
        text=config.text,
        precision=Precision(asked=precision, realised=realised),
        cost=frame_cost(model),
        score_scale=model.score_scale,
        provenance=Provenance(
            weights=config.weights,
            weights_sha256=state_digest(model),
            created=_now(),
            tools={name: _version(name) for name in packages},
            opset=opset,
        ),
        licence=config.licence,
        files=file_entries(work),
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@torch.no_grad()
def frame_cost(model: ViFiCLIP) -> Cost:
    """Multiply-adds of one frame through the exported frame encoder, as torch counts them."""
    encoder: nn.Module = FrameEncoder(model)
    size = model.config.preprocessing.crop
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        encoder(torch.zeros(1, 3, size, size))
    gflops = counter.get_total_flops() / 1e9
    return Cost(
        gmacs=gflops / 2,
        gflops=gflops,
        convention="one frame through the frame encoder; matrix products and convolutions, 2 FLOPs per multiply-add",
        parameters=sum(p.numel() for p in encoder.parameters()),
    )
