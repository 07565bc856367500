"""Skeletons frame by frame, on the native engine. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ski_edge import _native
from ski_edge.bundle.manifest import SkeletonManifest, check_files, read_manifest
from ski_edge.errors import BadInput, DeviceRefused
from ski_edge.files import member
from ski_edge.runtime.native import network_spec, why_not_native_network
from ski_edge.runtime.open import find_bundle
from ski_edge.runtime.ort import Device


class SkeletonStream:
    """An `stgcn` bundle frame by frame: each costs one frame, whatever the window; see ski_edge/stream.h.

    What it computes is the unpadded, unstrided network with the bundle's weights (CoST-GCN*;
    `STGCN.unpadded_features` in torch), exactly as that gives it on the last `window` frames, from the first answer on:
    a stream has no start and no end where anything is padded. What that means for the scores is `trained`:

    - `unpadded` (`temporal: unpadded` in the checkpoint's config): the weights are trained to this. The scores are
      those of `open_bundle(...).run` on the last `window` frames.
    - `padded`: they are trained with padding and strides. A padded block differs near both ends of a window, a strided
      one everywhere behind it, so the scores are other ones here, throughout; train or fine-tune with
      `temporal: unpadded`.
    - `unknown`: the bundle was exported before it said so; take it for padded.
    """

    def __init__(self, folder: str | Path, window: int = 300, threads: int = 0) -> None:
        """window: frames of a prediction, all told; threads: 0 takes one per CPU this process may use."""
        if not isinstance(window, int) or isinstance(window, bool):
            raise BadInput(f"window must be a whole number of frames, got {window!r}")
        _native.check_threads(threads)
        folder = find_bundle(folder)
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        reason = why_not_native_network(manifest, Device("cpu")) or _native.why_not_stream(manifest.model)
        if reason:
            raise DeviceRefused(f"frame by frame is not available: {reason}")
        assert isinstance(manifest, SkeletonManifest)  # `why_not_native_network`
        self.manifest = manifest
        self.trained = manifest.streaming.trained if manifest.streaming is not None else "unknown"
        self._stream = _native.stream(
            member(folder, manifest.weights), window=window, threads=threads, **network_spec(manifest)
        )
        self.window, self.receptive_field = self._stream.window, self._stream.receptive_field

    def step(self, frame: np.ndarray) -> dict[str, np.ndarray] | None:
        """One preprocessed frame, float32 [3, V, M] -> logits [K], embedding [D] of the last `window` frames; None
        until as many were seen."""
        spec = self.manifest.skeleton
        wanted = (3, spec.layout.num_joints, spec.persons)
        try:
            frame = np.asarray(frame)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors elsewhere or with gradients
            raise BadInput(f"a frame must be an array, float32 {list(wanted)}: {error}") from error
        if frame.shape != wanted or frame.dtype != np.float32:
            raise BadInput(
                f"a frame must be float32 [3, V, M], here {list(wanted)}, got {frame.dtype} {list(frame.shape)}; "
                "ski_edge.skeleton.arrange makes it of joints in metres"
            )
        found = self._stream.step(np.require(frame, requirements="A")[None, :, None])
        return None if found is None else {"logits": found[0], "embedding": found[1]}

    def reset(self) -> None:
        """Forget all frames: the next one is of another person or clip."""
        self._stream.reset()


def about_streaming(manifest: object) -> str:
    """One line on how a bundle runs frame by frame; empty for those that do not."""
    if not isinstance(manifest, SkeletonManifest) or _native.why_not_stream(manifest.model):
        return ""
    if manifest.streaming is None:
        return "frame by frame: trained with or without padding is unknown; export the bundle again, and it says so"
    if manifest.streaming.trained == "unpadded":
        least = manifest.streaming.receptive_field
        return f"frame by frame: exactly the scores of a window, of at least {least} frames (trained without padding)"
    return (
        "frame by frame: other scores than those of a window (trained with padding and strides; "
        "options.temporal=unpadded trains without)"
    )
