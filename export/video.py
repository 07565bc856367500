"""A video-text model becomes a verified bundle: graphs, labels, tokenizer, reference, manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
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
from ski_edge.bundle.tokenizer import WORDS, build_clip_tokenizer
from ski_edge.errors import BadInput, PrecisionNotRealised
from ski_edge.evaluate.classify import evaluating
from ski_edge.export.fold import folded_stem
from ski_edge.export.graphs import FrameEncoder, JointScorer, NeighbourClipEncoder, TextEncoder
from ski_edge.export.live import expected_live, reference_frames
from ski_edge.export.onnx_file import check_layer_norms, realised_precision, store_half, write_onnx
from ski_edge.export.ship import common_metadata, provenance, ship, write_card
from ski_edge.files import new_folder, write_json
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import ClipModel, tokenize
from ski_edge.runtime.verify import REFERENCE, Expected, compare

VIDEO_FILE, TEXT_FILE = "model.onnx", "text_encoder.onnx"
PRECISIONS = ("fp32", "fp16-storage")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """The video half of a model as a graph."""

    encoder: type[nn.Module]
    part: str  # its name in the manifest and in the file
    batch: str  # name of the first axis
    output: str
    units: str


# By `video.pooling`.
KINDS = {
    "mean-then-norm": _Kind(FrameEncoder, "frame_encoder", "B", "embedding", "raw feature, not normalised"),
    "norm-then-mean": _Kind(
        *(NeighbourClipEncoder, "clip_encoder", "N", "embedding"),
        "mean of L2-normalised frame features; norm at most 1, not normalised again",
    ),
    "joint": _Kind(JointScorer, "clip_encoder", "N", "logits", "cosines in [-1, 1], before score_scale"),
}


def export_video(
    model: ClipModel,
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
        cost = video_cost(model, len(labels))
        metadata = _metadata(model, precision, opset, labels, expected.labels, cost)
        _write_data(model, work, labels, frames, inputs, expected)
        write_card(work, card)
        progress(f"writing the {KINDS[model.config.video.pooling].part.replace('_', ' ')}")
        video_graph = _write_video_encoder(model, work, opset, metadata)
        text_graph = None
        if model.config.reads_text:
            progress("writing the text encoder")
            text_graph = _write_text_encoder(model, work, opset, metadata)
        if precision == "fp16-storage":
            for graph in (video_graph, text_graph):
                if graph is not None:
                    store_half(work / graph.file)
        manifest = _describe(model, work, video_graph, text_graph, precision, opset, cost)
        progress("comparing with the live model")
        ship(work, manifest, lambda session: compare(session, frames, inputs, expected))
    return out


def _choose_labels(model: ClipModel, classes: list[Label] | None) -> list[Label]:
    own = [Label(name) for name in model.config.classes]
    if not model.config.reads_text:
        if classes is not None and classes != own:
            raise BadInput(
                f"these weights cannot encode new labels (no token embedding); leave --classes away to use their "
                f"{len(own)} own, or convert again with --set base=openclip:openai"
            )
        return own
    return classes or own or label_set("ntu60")


def _metadata(
    model: ClipModel, precision: str, opset: int, labels: list[Label], embeddings: np.ndarray, cost: Cost
) -> dict[str, str]:
    """Keys inside the ONNX files, so that they explain themselves when they travel alone."""
    config = model.config
    return {
        **common_metadata(model, "video-text", opset, precision),
        "ski_edge.schema": str(SCHEMA_VERSION),
        "embed_dim": str(embeddings.shape[1]),
        "preprocessing": config.preprocessing.model_dump_json(),
        "video": config.video.model_dump_json(),
        "text": config.text.model_dump_json(),
        "labels": json.dumps([label.name for label in labels], ensure_ascii=False),
        "text_embeddings_sha256": hashlib.sha256(embeddings.tobytes()).hexdigest(),
        "score_scale": repr(model.score_scale),
        "cost": cost.model_dump_json(),
    }


def _write_data(
    model: ClipModel, work: Path, labels: list[Label], frames: list[np.ndarray], inputs: str, expected: Expected
) -> None:
    """labels.json, labels.npy and reference.npz."""
    write_json(work / "labels.json", labels_json(labels))
    np.save(work / "labels.npy", expected.labels)
    arrays = {
        "frames": np.stack(frames),
        KINDS[model.config.video.pooling].output: expected.outputs,
        "labels": expected.labels,
        "score_scale": np.array(expected.score_scale),
        "inputs": np.array(inputs),
    }
    np.savez_compressed(work / REFERENCE, **arrays)


def _examples(model: ClipModel, batch: int, labels: int) -> dict[str, Tensor]:
    """Inputs of the video half's graph, by name: `batch` frames or clips, and `labels` text features where it reads
    them."""
    size, video = model.config.preprocessing.crop, model.config.video
    frames = (batch, 3, size, size) if video.mode == "frame" else (batch, video.window_frames, 3, size, size)
    examples = {"frames": torch.zeros(frames)}
    if video.raw_text:
        examples["text"] = torch.zeros(labels, _dim(model))
    return examples


def _dim(model: ClipModel) -> int:
    return model.clip.visual.proj.shape[1]


def _write_video_encoder(model: ClipModel, work: Path, opset: int, metadata: dict[str, str]) -> Graph:
    kind = KINDS[model.config.video.pooling]
    # Sizes that the reference does not have, so that the comparison would show a graph that fixes them.
    encoder, examples = kind.encoder(folded_stem(model)), _examples(model, 3, 5)
    path = work / VIDEO_FILE
    axes = {"frames": {0: kind.batch}, "text": {0: "K"}}
    write_onnx(
        encoder,
        examples,
        path,
        output_names=(kind.output,),
        dynamic=axes,
        opset=opset,
        metadata={**metadata, "ski_edge.part": kind.part},
    )
    check_layer_norms(path, sum(isinstance(module, nn.LayerNorm) for module in encoder.modules()))
    units = {"frames": "(RGB 0-255 - mean) / std", "text": _text_units(model)}
    inputs = tuple(
        TensorSpec(name=name, dtype="float32", shape=(axes[name][0], *tensor.shape[1:]), units=units[name])
        for name, tensor in examples.items()
    )
    shape = (kind.batch, "K" if kind.output == "logits" else _dim(model))
    output = TensorSpec(name=kind.output, dtype="float32", shape=shape, units=kind.units)
    return Graph(file=VIDEO_FILE, inputs=inputs, outputs=(output,))


def _text_units(model: ClipModel) -> str:
    return "raw: as the text tower gives it, not normalised" if model.config.video.raw_text else "L2-normalised"


def _write_text_encoder(model: ClipModel, work: Path, opset: int, metadata: dict[str, str]) -> Graph:
    encoder = TextEncoder(model)
    path = work / TEXT_FILE
    write_onnx(
        encoder,
        {"tokens": tokenize(["a", "a photo"], model.config.arch)[:, :4]},
        path,
        output_names=("text_embedding",),
        dynamic={"tokens": {0: "K", 1: "L"}},
        opset=opset,
        metadata={**metadata, "ski_edge.part": "text_encoder"},
    )
    check_layer_norms(path, 1 + 2 * len(model.clip.transformer.resblocks))
    _write_tokenizer(model.config.arch, work / "tokenizer.json")
    units = "ids by tokenizer.json, L <= context_length"
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("K", "L"), units=units)
    dim = model.clip.text_projection.shape[1]
    embedding = TensorSpec(name="text_embedding", dtype="float32", shape=("K", dim), units=_text_units(model))
    return Graph(file=TEXT_FILE, inputs=(tokens,), outputs=(embedding,))


def _write_tokenizer(arch: str, path: Path) -> None:
    if clip_arch(arch).tokenizer == "words":
        path.write_bytes((files("ski_edge.bundle") / WORDS).read_bytes())
        return
    from open_clip.tokenizer import default_bpe

    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    build_clip_tokenizer([tuple(line.split()) for line in merges]).save(str(path), pretty=False)


def _describe(
    model: ClipModel,
    work: Path,
    video_graph: Graph,
    text_graph: Graph | None,
    precision: str,
    opset: int,
    cost: Cost,
) -> VideoManifest:
    config = model.config
    realised = realised_precision(work / VIDEO_FILE)
    wide, half = realised.get("float32", 0), realised.get("float16", 0)
    most = half if precision == "fp16-storage" else wide
    other = (half > 0) != (precision == "fp16-storage")
    if other or most < model.clip.visual.proj.numel() or min(wide, half) > 0.1 * most:
        raise PrecisionNotRealised(f"asked for {precision}, {VIDEO_FILE} holds {realised}")
    return VideoManifest(
        model=config.model,
        arch=config.arch,
        embed_dim=_dim(model),
        frame_encoder=video_graph if config.video.mode == "frame" else None,
        clip_encoder=video_graph if config.video.mode == "clip" else None,
        text_encoder=text_graph,
        preprocessing=config.preprocessing,
        video=config.video,
        text=config.text,
        precision=Precision(asked=precision, realised=realised),
        cost=cost,
        score_scale=model.score_scale,
        provenance=provenance(model, opset),
        licence=config.licence,
        files=file_entries(work),
    )


@torch.no_grad()
def video_cost(model: ClipModel, labels: int) -> Cost:
    """Multiply-adds of one frame, or of one clip, through the exported graph, as torch counts them.

    labels: how many, where the graph reads them.
    """
    video = model.config.video
    encoder = KINDS[video.pooling].encoder(model)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        encoder(**_examples(model, 1, labels))
    gflops = counter.get_total_flops() / 1e9
    if video.mode == "frame":
        run = "one frame through the frame encoder"
    else:
        against = f" against {labels} labels" if video.raw_text else ""
        run = f"one clip of {video.window_frames} frames{against} through the clip encoder"
    return Cost(
        gmacs=gflops / 2,
        gflops=gflops,
        convention=f"{run}; matrix products and convolutions, 2 FLOPs per multiply-add",
        parameters=sum(p.numel() for p in encoder.parameters()),
    )
