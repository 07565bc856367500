"""A video-text model becomes a verified bundle: graphs, labels, tokenizer, reference, manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ski_edge.bundle.labels import Label, label_set, labels_json
from ski_edge.bundle.manifest import (
    SCHEMA_VERSION,
    Cost,
    Graph,
    Precision,
    TensorSpec,
    VideoManifest,
    file_entries,
    is_bundle,
)
from ski_edge.bundle.tokenizer import build_clip_tokenizer
from ski_edge.errors import BadInput, PrecisionNotRealised
from ski_edge.evaluate.classify import evaluating
from ski_edge.export.graphs import FrameEncoder, TextEncoder
from ski_edge.export.live import expected_live, reference_frames
from ski_edge.export.onnx_file import check_layer_norms, realised_precision, write_onnx
from ski_edge.export.ship import common_metadata, provenance, ship, write_card
from ski_edge.files import new_folder, write_json
from ski_edge.models import ViFiCLIP
from ski_edge.runtime.verify import REFERENCE, Expected, compare

FRAME_FILE, TEXT_FILE = "model.onnx", "text_encoder.onnx"
PRECISIONS = ("fp32",)
Progress = Callable[[str], None]


def export_video(
    model: ViFiCLIP,
    out: Path,
    *,
    classes: list[Label] | None,
    precision: str,
    opset: int,
    clips: str | Path | None,
    card: str | None,
    progress: Progress,
) -> Path:
    """Write, verify, ship; see `export_model`. clips: folder of videos for the parity check."""
    if precision not in PRECISIONS:
        raise BadInput(f"precision {precision!r} is not available; this version exports: {', '.join(PRECISIONS)}")
    labels = _choose_labels(model, classes)
    frames, inputs = reference_frames(clips)
    with evaluating(model), new_folder(out, is_bundle) as work:
        progress("embedding labels and reference frames")
        expected = expected_live(model, frames, labels)
        metadata = _metadata(model, opset, labels, expected.labels)
        _write_data(work, labels, frames, inputs, expected)
        write_card(work, card)
        progress("writing the frame encoder")
        frame_graph = _write_frame_encoder(model, work, opset, metadata)
        text_graph = None
        if model.config.reads_text:
            progress("writing the text encoder")
            text_graph = _write_text_encoder(model, work, opset, metadata)
        manifest = _describe(model, work, frame_graph, text_graph, precision, opset)
        progress("comparing with the live model")
        ship(work, manifest, lambda session: compare(session, frames, inputs, expected))
    return out


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
        **common_metadata(model, "video-text", opset, "fp32"),
        "ski_edge.schema": str(SCHEMA_VERSION),
        "embed_dim": str(embeddings.shape[1]),
        "preprocessing": config.preprocessing.model_dump_json(),
        "video": config.video.model_dump_json(),
        "text": config.text.model_dump_json(),
        "labels": json.dumps([label.name for label in labels], ensure_ascii=False),
        "text_embeddings_sha256": hashlib.sha256(embeddings.tobytes()).hexdigest(),
        "score_scale": repr(model.score_scale),
        "cost": frame_cost(model).model_dump_json(),
    }


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
        input_name="frames",
        output_names=("embedding",),
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
        input_name="tokens",
        output_names=("text_embedding",),
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
) -> VideoManifest:
    config = model.config
    realised = realised_precision(work / FRAME_FILE)
    if realised.get("float32", 0) < model.clip.visual.conv1.weight.numel() or set(realised) - {"float32", "int64"}:
        raise PrecisionNotRealised(f"asked for {precision}, the frame encoder holds {realised}")
    return VideoManifest(
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
        provenance=provenance(model, opset),
        licence=config.licence,
        files=file_entries(work),
    )


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
