"""A skeleton network becomes a verified pose bundle."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from ski_edge.bundle.labels import Label, labels_json
from ski_edge.bundle.manifest import (
    SCHEMA_VERSION,
    Cost,
    Graph,
    NativeNetwork,
    Precision,
    SkeletonManifest,
    Streaming,
    TensorSpec,
    file_entries,
    is_bundle,
)
from ski_edge.data.clips import load_clips
from ski_edge.data.store import open_data
from ski_edge.errors import BadInput, PrecisionNotRealised
from ski_edge.evaluate.classify import evaluating
from ski_edge.export.onnx_file import check_no_operators, realised_precision, store_half, write_onnx
from ski_edge.export.pose_graph import PoseGraph, add_persons_input, leaves_out_empty
from ski_edge.export.ship import common_metadata, provenance, ship, write_card
from ski_edge.files import new_folder, write_json
from ski_edge.models.checkpoint import state_of
from ski_edge.models.pose import PoseNetwork
from ski_edge.models.stgcn import RECEPTIVE_FIELD, STGCN
from ski_edge.runtime.verify import REFERENCE, ExpectedPose, compare_pose
from ski_edge.skeleton import prepare
from ski_edge.skeleton.graphs import hops, hyperedges
from ski_edge.testing.skeletons import moving_skeleton

NETWORK_FILE, WEIGHTS_FILE = "model.onnx", "model.safetensors"
REFERENCE_CLIPS = 32
_REFERENCE_FRAMES = 60  # of a generated clip; real ones are cut to it, to keep bundles small
PRECISIONS = ("fp32", "fp16-storage")


def export_pose(
    model: PoseNetwork,
    out: Path,
    *,
    precision: str,
    opset: int,
    clips: Path | None,
    card: str | None,
    progress: Callable[[str], None],
) -> Path:
    """Write, verify, ship; see `export_model`. clips: folder of prepared data for the parity check."""
    if precision not in PRECISIONS:
        raise BadInput(f"precision {precision!r} is not available here; use {', '.join(PRECISIONS)}")
    model = copy.deepcopy(model).cpu()
    reference, inputs = reference_skeletons(model, clips)
    with evaluating(model), new_folder(out, is_bundle) as work:
        progress("running the live model")
        expected = expected_pose(model, reference)
        _write_data(model, work, reference, inputs, expected, precision)
        write_card(work, card)
        progress("writing the network")
        graph = PoseGraph(model)
        cost = pose_cost(model, graph)
        _write_network(model, graph, cost, work, precision, opset)
        manifest = _describe(model, cost, work, precision, opset)
        progress("comparing with the live model")
        ship(work, manifest, lambda session: compare_pose(session, reference, inputs, expected))
    return out


def reference_skeletons(model: PoseNetwork, clips: Path | None) -> tuple[list[np.ndarray], str]:
    """(skeletons in metres [T, M, V, 3], what they are): from prepared data when a folder is given, else generated.

    Where the network has two slots, every second generated clip shows one person.
    """
    spec = model.config.skeleton
    if clips is None:
        return [
            moving_skeleton(spec.layout, _REFERENCE_FRAMES, 1 + i % min(spec.persons, 2), seed=i)
            for i in range(REFERENCE_CLIPS)
        ], "generated skeletons"
    data = open_data(clips)
    chosen = np.unique(np.linspace(0, len(data) - 1, REFERENCE_CLIPS).round().astype(int))
    cut = [clip[:_REFERENCE_FRAMES] for clip in load_clips(data, chosen, spec)]
    found = [clip for clip in cut if clip[:, 0].any()]
    if not found:
        raise BadInput(f"--clips {clips}: body 1 is empty in all of {len(chosen)} sampled clips; give other data")
    return found, "real clips"


@torch.no_grad()
def expected_pose(model: PoseNetwork, clips: list[np.ndarray]) -> ExpectedPose:
    """What the live model gives for skeletons in metres, all slots computed."""
    spec = model.config.skeleton
    inputs = torch.from_numpy(np.stack([prepare(clip, spec) for clip in clips]))
    with evaluating(model):
        parts = [(model(part).numpy(), model.features(part).numpy()) for part in inputs.split(8)]
    logits, embeddings = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return ExpectedPose("live torch model", logits, embeddings)


def _write_data(
    model: PoseNetwork, work: Path, clips: list[np.ndarray], inputs: str, expected: ExpectedPose, precision: str
) -> None:
    """labels.json, model.safetensors and reference.npz."""
    write_json(work / "labels.json", labels_json([Label(name) for name in model.config.class_names]))
    slots = max(clip.shape[1] for clip in clips)
    padded = [np.pad(clip, ((0, 0), (0, slots - clip.shape[1]), (0, 0), (0, 0))) for clip in clips]
    np.savez_compressed(
        work / REFERENCE,
        skeletons=np.concatenate(padded).astype(np.float32),
        lengths=np.array([len(clip) for clip in clips]),
        inputs=inputs,
        logits=expected.logits,
        embedding=expected.embeddings,
    )
    state = state_of(model)
    if precision == "fp16-storage":
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(state, work / WEIGHTS_FILE)
    (work / WEIGHTS_FILE).chmod(0o644)


def _write_network(model: PoseNetwork, graph: PoseGraph, cost: Cost, work: Path, precision: str, opset: int) -> None:
    spec, config, path = model.config.skeleton, model.config, work / NETWORK_FILE
    joints, frames = spec.layout.num_joints, spec.resample.frames
    alone = leaves_out_empty(model)
    write_onnx(
        graph,
        {"skeleton": torch.zeros(2, 3, frames, joints, spec.persons)},
        path,
        output_names=("logits", "embedding"),
        dynamic={"skeleton": {0: "N", 2: "T", **({4: "B"} if alone else {})}},
        opset=opset,
        metadata={
            **common_metadata(model, "skeleton", opset, precision),
            "joint_layout": spec.layout.name,
            "clip_len": str(frames),
            "input_layout": "NCTVM",
            "skeleton": spec.model_dump_json(),
            "labels": json.dumps(config.class_names, ensure_ascii=False),
            "cost": cost.model_dump_json(),
            "ski_edge.schema": str(SCHEMA_VERSION),
        },
    )
    if alone:
        add_persons_input(path, frames, spec.persons)
    if precision == "fp16-storage":
        store_half(path)
    check_no_operators(path, {"BatchNormalization", "Einsum"})


def _describe(model: PoseNetwork, cost: Cost, work: Path, precision: str, opset: int) -> SkeletonManifest:
    config, spec = model.config, model.config.skeleton
    realised = realised_precision(work / NETWORK_FILE)
    wide, half = realised.get("float32", 0), realised.get("float16", 0)
    if (
        set(realised) - {"float32", "float16", "int64"}
        or (half > 0) != (precision == "fp16-storage")
        or half < wide * (precision == "fp16-storage")
    ):
        raise PrecisionNotRealised(f"asked for {precision}, the network holds {realised}")
    shape = ("N", 3, "T", spec.layout.num_joints, spec.persons)
    inputs = [TensorSpec(name="skeleton", dtype="float32", shape=shape, units=f"{spec.modality}, see skeleton")]
    if leaves_out_empty(model):
        inputs.append(TensorSpec(name="persons", dtype="int64", shape=(), units="bodies in every clip of the batch"))
    dim = model.head.in_features
    outputs = (
        TensorSpec(name="logits", dtype="float32", shape=("N", config.num_classes), units="before softmax"),
        TensorSpec(name="embedding", dtype="float32", shape=("N", dim), units="mean over bodies, time and joints"),
    )
    return SkeletonManifest(
        model=config.model,
        arch=config.arch,
        embed_dim=dim,
        network=Graph(file=NETWORK_FILE, inputs=tuple(inputs), outputs=outputs),
        weights=WEIGHTS_FILE,
        skeleton=spec,
        num_classes=config.num_classes,
        takes_persons=leaves_out_empty(model),
        native=native_network(model),
        streaming=streaming_of(model),
        precision=Precision(asked=precision, realised=realised),
        cost=cost,
        provenance=provenance(model, opset),
        licence=config.licence,
        files=file_entries(work),
    )


def native_network(model: PoseNetwork) -> NativeNetwork:
    """What `ski_edge/engine.h` reads beside the weights."""
    config, layout = model.config, model.config.skeleton.layout
    about = {}
    if config.model == "hyperformer":
        groups = config.hyperedges or hyperedges(layout).tolist()
        about = {"group_of": tuple(groups), "hop_of": tuple(hops(layout).ravel().tolist())}
    upright = ("spine_base", "spine_mid", "left_shoulder", "right_shoulder")
    return NativeNetwork(
        variant=getattr(config, "variant", "original"),
        skip_empty=leaves_out_empty(model),
        parents=layout.parents,
        centre=layout.centre,
        upright=tuple(map(layout.index, upright)) if set(upright) <= set(layout.joints) else (),
        **about,
    )


def streaming_of(model: PoseNetwork) -> Streaming | None:
    """How the network runs frame by frame; None where it does not."""
    if not isinstance(model, STGCN):
        return None
    return Streaming(receptive_field=RECEPTIVE_FIELD, trained=model.config.temporal)


@torch.no_grad()
def pose_cost(model: PoseNetwork, graph: PoseGraph) -> Cost:
    """Multiply-adds of one clip with one person through the exported graph, as torch counts them."""
    spec = model.config.skeleton
    bodies = 1 if leaves_out_empty(model) else spec.persons
    with FlopCounterMode(display=False) as counter:
        graph(torch.zeros(1, 3, spec.resample.frames, spec.layout.num_joints, bodies))
    gflops = counter.get_total_flops() / 1e9
    left_out = f", {spec.persons - bodies} empty body left out" if bodies < spec.persons else ""
    return Cost(
        gmacs=gflops / 2,
        gflops=gflops,
        convention=(
            f"one clip of {spec.resample.frames} frames, {bodies} of {spec.persons} body slots computed{left_out}; "
            "convolutions and matrix products, graph contraction included, 2 FLOPs per multiply-add"
        ),
        parameters=sum(p.numel() for p in model.parameters()),
    )
