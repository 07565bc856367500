"""A pose bundle, open and ready: skeletons in, logits, scores and labels out. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ski_edge.bundle.labels import read_labels
from ski_edge.bundle.manifest import SkeletonManifest
from ski_edge.errors import BadInput
from ski_edge.files import member
from ski_edge.runtime.cuda import CudaGraph
from ski_edge.runtime.native import EngineGraph, NativeGraph
from ski_edge.runtime.ort import Device, OrtGraph
from ski_edge.runtime.session import Prediction
from ski_edge.skeleton import prepare

_LONGEST = 1 << 20  # frames: what the native engine takes
_BATCH = 16  # clips per graph run; more buys no speed on a CPU and costs memory


class PoseSession:
    """Opened by `open_bundle`."""

    task = "skeleton"

    def __init__(
        self,
        folder: Path,
        manifest: SkeletonManifest,
        device: Device,
        threads: int,
        backend: str = "onnxruntime",
        precision: str = "fp32",
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.device = device
        self.backend = backend
        self.precision = precision if precision != "fp32" else manifest.precision.asked
        if backend == "native":
            self._network: OrtGraph | EngineGraph = NativeGraph(folder, manifest, device, threads, precision)
        elif backend == "cuda":
            self._network = CudaGraph(folder, manifest, device, precision)
        else:
            self._network = _onnx(folder, manifest, device, threads)
        self.classes = tuple(label.name for label in read_labels(str(member(folder, "labels.json"))))
        if len(self.classes) != manifest.num_classes:
            raise BadInput(
                f"{folder / 'labels.json'} has {len(self.classes)} names, the manifest says {manifest.num_classes} "
                "classes; export the bundle again"
            )

    @property
    def backend_version(self) -> str:
        return self._network.version

    def run(self, **tensors: np.ndarray) -> dict[str, np.ndarray]:
        """The graph as it is: skeleton float32 [N, 3, T, V, M], preprocessed (and `persons` int64 [], where it is
        taken; M if left out) -> {"logits": [N, K], "embedding": [N, D]}."""
        slots = self.manifest.skeleton.persons
        if self.manifest.takes_persons:
            tensors["persons"] = np.array(_checked_persons(tensors.get("persons", slots), slots), np.int64)
        if "skeleton" in tensors:
            tensors["skeleton"] = self._checked(tensors["skeleton"])
        found = self._network.run(**tensors)
        if not np.isfinite(found["logits"]).all():
            clip = int(np.argwhere(~np.isfinite(found["logits"]))[0][0])
            raise BadInput(f"clip {clip} makes the network overflow; are its joints in metres?")
        return found

    def run_device(self, clip: Any) -> tuple[Any, Any]:
        """`run` for a CUDA array of torch or CuPy on backend cuda, read where it is, without waiting: float32
        [N, 3, T, V, M], preprocessed -> (logits, embedding) of the same library, on its current stream. Numbers are
        not looked at: NaN and overflow come out as they may."""
        if not isinstance(self._network, CudaGraph):
            raise BadInput(f"backend {self.backend} takes arrays of the host; open the bundle with backend cuda")
        return self._network.run_device(clip)

    def _checked(self, skeleton: np.ndarray) -> np.ndarray:
        """One rule for all backends: a ReLU would make zeros of NaN, and a confident answer."""
        spec = self.manifest.skeleton
        wanted = f"float32 [N, 3, T, {spec.layout.num_joints}, {spec.persons}]"
        remedy = "`run` takes it prepared, `classify` takes clips in metres"
        try:
            clip = np.asarray(skeleton)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors elsewhere or with gradients
            raise BadInput(f"skeleton must be an array, {wanted}: {error}") from error
        fits = clip.ndim == 5 and (clip.shape[1], *clip.shape[3:]) == (3, spec.layout.num_joints, spec.persons)
        if clip.dtype != np.float32 or not fits or not 0 < clip.shape[2] <= _LONGEST:
            raise BadInput(
                f"skeleton must be {wanted}, T 1 to {_LONGEST}, got {clip.dtype} {list(clip.shape)}; {remedy}"
            )
        if not np.isfinite(clip).all():
            raise BadInput(
                f"clip {int(np.argwhere(~np.isfinite(clip))[0][0])} of skeleton holds NaN or infinity; give finite "
                "numbers, and zeros for a missing body"
            )
        return np.require(clip, requirements="A")  # whole floats, which native code reads

    def outputs(
        self, clips: Sequence[np.ndarray], timestamps: Sequence[np.ndarray | None] | None = None
    ) -> dict[str, np.ndarray]:
        """Skeletons in metres, float [T, M, V, 3] each, any T and M -> logits [N, K] and embeddings [N, D].

        timestamps: seconds [T] of each clip's frames; what fixed-seconds windows are cut by. Clips with one person go
        together, without the empty body, where the graph can leave it out.
        """
        times = timestamps if timestamps is not None else [None] * len(clips)
        if len(times) != len(clips):
            raise BadInput(f"{len(clips)} clips need as many timestamps, got {len(times)}")
        spec = self.manifest.skeleton
        inputs = [prepare(clip, spec, at) for clip, at in zip(clips, times, strict=True)]
        result = {
            "logits": np.zeros((len(clips), self.manifest.num_classes), np.float32),
            "embedding": np.zeros((len(clips), self.manifest.embed_dim), np.float32),
        }
        for persons, group in self._groups(clips).items():
            for i in range(0, len(group), _BATCH):
                part = group[i : i + _BATCH]
                tensors = {"skeleton": np.stack([inputs[k] for k in part])}
                if self.manifest.takes_persons:
                    tensors["persons"] = np.array(persons, np.int64)
                for name, rows in self.run(**tensors).items():
                    result[name][part] = rows
        return result

    def _groups(self, clips: Sequence[np.ndarray]) -> dict[int, list[int]]:
        """Persons in the clip -> clips, where it matters; all in one group where it does not."""
        slots = self.manifest.skeleton.persons
        if not self.manifest.takes_persons:
            return {slots: list(range(len(clips)))}
        groups: dict[int, list[int]] = {}
        for number, clip in enumerate(clips):
            bodies = np.flatnonzero((np.asarray(clip)[:, :slots] != 0).any(axis=(0, 2, 3)))
            groups.setdefault(int(bodies[-1]) + 1, []).append(number)
        return groups

    def classify(
        self, clips: Sequence[np.ndarray], timestamps: Sequence[np.ndarray | None] | None = None
    ) -> np.ndarray:
        """`outputs`, logits only: float32 [N, K]."""
        return self.outputs(clips, timestamps)["logits"]

    def score(self, logits: np.ndarray) -> np.ndarray:
        """[..., K] -> softmax, float32."""
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return shifted / shifted.sum(axis=-1, keepdims=True)

    def predict(self, skeleton: np.ndarray, timestamps: np.ndarray | None = None) -> Prediction:
        """Labels and scores of one clip: skeleton in metres, float [T, M, V, 3]; timestamps: seconds [T]."""
        logits = self.classify([skeleton], [timestamps])[0]
        order = np.argsort(-logits)
        return Prediction([self.classes[i] for i in order], self.score(logits)[order], logits[order])


def _onnx(folder: Path, manifest: SkeletonManifest, device: Device, threads: int) -> OrtGraph:
    network = OrtGraph(folder / manifest.network.file, device, threads)
    spec = manifest.skeleton
    inputs = {"skeleton": (3, None, spec.layout.num_joints, spec.persons)}
    if manifest.takes_persons:
        inputs["persons"] = ()
    network.check_shapes(inputs, {"logits": (manifest.num_classes,), "embedding": (manifest.embed_dim,)})
    return network


def _checked_persons(given: object, slots: int) -> int:
    """Bodies in every clip of a batch, as a number."""
    value = np.asarray(given)
    if value.dtype.kind not in "iu" or value.ndim or not 1 <= value <= slots:
        raise BadInput(f"persons must be one whole number from 1 to {slots}, got {given!r}")
    return int(value)
