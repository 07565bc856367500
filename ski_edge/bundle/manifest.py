"""`manifest.json`: what is in a bundle, what its graphs take and give, how they were made. No torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ski_edge.contracts import Contract, Preprocessing, TextContract, VideoContract
from ski_edge.errors import BadInput
from ski_edge.files import member, read_json, sha256_file, write_json
from ski_edge.skeleton import SkeletonInput

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class TensorSpec(Contract):
    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | str, ...]  # a string is a size chosen at run time
    units: str  # for people: "ImageNet-normalised RGB"


class Graph(Contract):
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Precision(Contract):
    # fp16-storage: weights lie in the file as float16 and become float32 when it is loaded; arithmetic is float32
    asked: Literal["fp32", "fp16-storage"]
    realised: dict[str, int]  # parameters by dtype, read back from the file that was written


class Cost(Contract):
    gmacs: float  # of one run: a frame, a clip or a skeleton window; the convention says which
    gflops: float  # 2 per multiply-add
    convention: str
    parameters: int  # of the network that runs at every update; a text encoder is not counted


class FileEntry(Contract):
    sha256: str
    bytes: int


class Provenance(Contract):
    weights: str  # where the numbers came from: "random (seed 0)", a path's name, an open_clip tag
    weights_sha256: str  # over all tensors by name (ski_edge.models.checkpoint.state_digest)
    created: str  # ISO 8601, UTC
    tools: dict[str, str]  # package -> version
    opset: int


class Manifest(Contract):
    """What every bundle says of itself."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    model: str  # registry name
    arch: str
    embed_dim: int = Field(gt=0, le=65536)
    precision: Precision
    cost: Cost
    provenance: Provenance
    licence: str
    files: dict[str, FileEntry]  # every file of the bundle but this one

    @model_validator(mode="after")
    def _files_are_listed(self) -> Manifest:
        for name in self.needed_files():
            if name not in self.files:
                raise ValueError(f"{name!r} is not listed under files, so its hash is unknown")
        return self

    def needed_files(self) -> list[str]:
        return ["labels.json", "reference.npz"]


# The modes of `VideoContract` and the poolings that go with them.
_POOLINGS = {"frame": ("mean-then-norm",), "clip": ("norm-then-mean", "joint")}


class VideoManifest(Manifest):
    """Frames and text in, embeddings or scores out; labels are text embeddings and may change at run time.

    The graph that sees the video is one of two: `frame_encoder` (frames [B, 3, S, S] -> embedding [B, D], raw) or, in
    mode clip, `clip_encoder`: frames [N, T, 3, S, S] -> embedding [N, D], the mean of L2-normalised frame features
    (FROSTER), or frames and text [K, D], raw -> logits [N, K], cosines (pooling joint, X-CLIP). T is `window_frames`.
    """

    task: Literal["video-text"] = "video-text"
    frame_encoder: Graph | None = None
    clip_encoder: Graph | None = None
    text_encoder: Graph | None  # None: the labels are fixed (a checkpoint without token embeddings)
    preprocessing: Preprocessing
    video: VideoContract
    text: TextContract
    score_scale: float = Field(gt=0, le=1e4)  # scores are softmax(score_scale * cosine)

    # Before `_files_are_listed`, which asks for the encoder's file.
    @model_validator(mode="before")
    @classmethod
    def _one_encoder(cls, fields: Any) -> Any:
        if isinstance(fields, dict):
            given = [mode for mode in _POOLINGS if fields.get(f"{mode}_encoder") is not None]
            if len(given) != 1:
                raise ValueError(f"needs one of frame_encoder and clip_encoder, has {len(given)}")
        return fields

    @model_validator(mode="after")
    def _encoder_fits_the_mode(self) -> VideoManifest:
        mode, pooling = self.video.mode, self.video.pooling
        if pooling not in _POOLINGS[mode]:
            raise ValueError(f"video: mode {mode} goes with pooling {' or '.join(_POOLINGS[mode])}, got {pooling}")
        if (self.frame_encoder is None) == (mode == "frame"):
            raise ValueError(f"video: mode {mode} needs a {mode}_encoder")
        return self

    @property
    def encoder(self) -> Graph:
        """The graph that sees the video."""
        graph = self.frame_encoder or self.clip_encoder
        assert graph is not None  # `_one_encoder`
        return graph

    def needed_files(self) -> list[str]:
        text = [] if self.text_encoder is None else [self.text_encoder.file, "tokenizer.json"]
        return [*super().needed_files(), self.encoder.file, "labels.npy", *text]


class NativeNetwork(Contract):
    """What the native engine has to know beside tensors and names: it reads bundles on devices without Python."""

    variant: str  # of the network's family
    skip_empty: bool  # whether an empty body slot holds zeros, so that its feature is a constant
    parents: tuple[int, ...]  # [V]: of the layout; the root is its own
    centre: tuple[int, ...]  # joints whose mean a clip is centred on
    upright: tuple[int, ...] = ()  # spine base, spine mid, left and right shoulder, where the layout has them
    group_of: tuple[int, ...] = ()  # [V]: hyperedge of each joint (Hyperformer)
    hop_of: tuple[int, ...] = ()  # [V * V]: bones between two joints (Hyperformer)


class Streaming(Contract):
    """A network that also runs frame by frame (`SkeletonStream`): always without padding and stride in time."""

    receptive_field: int = Field(gt=0, le=1 << 20)  # frames that one output sees: the shortest window of a stream
    # unpadded: the weights are trained to just that, so a stream gives what the network gives on its window;
    # padded: they are not, and a stream's scores are other ones until they are fine-tuned
    trained: Literal["padded", "unpadded"]


class SkeletonManifest(Manifest):
    """A skeleton in, logits over fixed classes out."""

    task: Literal["skeleton"] = "skeleton"
    network: Graph
    weights: str  # safetensors file with the same network's tensors, for the native engine
    skeleton: SkeletonInput
    num_classes: int = Field(gt=0, le=100_000)
    # Whether the graph takes `persons`: 1 leaves the empty second body out and adds its stored feature instead
    takes_persons: bool = False
    native: NativeNetwork | None = None  # None: exported before there was a native engine
    # None: the network does not run frame by frame, or it was exported before bundles said so
    streaming: Streaming | None = None

    def needed_files(self) -> list[str]:
        return [*super().needed_files(), self.network.file, self.weights]


_BY_TASK: dict[object, type[Manifest]] = {"video-text": VideoManifest, "skeleton": SkeletonManifest}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, its own hash as the last key."""
    content = manifest.model_dump(mode="json")
    write_json(folder / MANIFEST, {**content, "sha256": _digest(content)})


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle and holds nothing else (its files may be damaged)."""
    try:
        raw = read_json(folder / MANIFEST, "manifest")
    except BadInput:
        return False
    files = raw.get("files") if isinstance(raw, dict) and "schema_version" in raw else None
    return isinstance(files, dict) and {path.name for path in folder.iterdir()} <= {MANIFEST, *files}


def _digest(content: dict[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def file_entry(path: Path) -> FileEntry:
    """Hash and size of one file."""
    return FileEntry(sha256=sha256_file(path), bytes=path.stat().st_size)


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """`file_entry` of every file in `folder`, the manifest excepted."""
    return {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest alone; `check_files` checks the files it names."""
    folder = Path(folder)
    if not folder.exists():
        raise BadInput(f"bundle {folder} does not exist; make one with: ski-edge export --out {folder}")
    if not folder.is_dir():
        raise BadInput(f"bundle {folder} is a file; a bundle is the folder that ski-edge export wrote")
    path = folder / MANIFEST
    if not path.is_file():
        raise BadInput(f"{folder} has no {MANIFEST}; a bundle is the folder that ski-edge export wrote")
    raw = read_json(path, "manifest")
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BadInput(f"{path} has schema_version {version!r}, this ski-edge reads {SCHEMA_VERSION}; export it again")
    if raw.pop("sha256", None) != _digest(raw):
        raise BadInput(
            f"{path} was changed after export (its sha256 differs); copy the bundle again, or export it anew"
        )
    kind = _BY_TASK.get(raw.get("task"))
    if kind is None:
        raise BadInput(
            f"{path}: task {raw.get('task')!r} is not known; this ski-edge runs: {', '.join(map(str, _BY_TASK))}"
        )
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {where}: {first['msg']} (got {str(first['input'])[:60]!r})") from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Every file named is there, has its size and its hash, and no other file lies beside them.

    A changed byte is an error, not a warning; so is a stranger, which a graph could name as external data.
    """
    for path in folder.iterdir():
        if path.name != MANIFEST and path.name not in manifest.files:
            raise BadInput(f"{path} does not belong to the bundle; remove it")
    for name, entry in manifest.files.items():
        path = member(folder, name)
        size = path.stat().st_size
        if size != entry.bytes:
            raise BadInput(f"{path} has {size} bytes, the manifest says {entry.bytes}; copy the bundle again")
        if sha256_file(path) != entry.sha256:
            raise BadInput(f"{path} was changed after export (its sha256 differs); copy the bundle again")
