"""The one way to a bundle: write it, open it, verify it, and only then ship it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from ski_edge.bundle.labels import Label
from ski_edge.bundle.manifest import is_bundle
from ski_edge.errors import BadInput
from ski_edge.export.live import compare_video, reference_frames
from ski_edge.export.onnx_file import DEFAULT_OPSET, check_opset
from ski_edge.export.pose import expected_pose, export_pose, reference_skeletons
from ski_edge.export.video import export_video
from ski_edge.files import check_replaceable, read_text
from ski_edge.models.registry import entry
from ski_edge.models.weights import refuse_teacher
from ski_edge.runtime import PoseSession, Session
from ski_edge.runtime.parity import Parity
from ski_edge.runtime.verify import compare_pose


def export_model(
    model: nn.Module,
    out: str | Path,
    *,
    classes: list[Label] | None = None,
    precision: str = "fp32",
    opset: int = DEFAULT_OPSET,
    clips: str | Path | None = None,
    card: str | Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Path:
    """Export a model as a verified bundle folder; nothing is left behind when verification fails.

    classes: labels whose embeddings a video bundle stores (default: the model's own, else NTU-60; a skeleton
    network's classes are its own); precision: `fp32`, for skeleton networks also `fp16-storage`; clips: real inputs
    for the parity check, a folder of videos or of prepared skeletons (default: generated ones); card: a text on where
    the weights come from and how good they are, which travels in the bundle as README.md.
    Raises ParityFailed (exit 3), PrecisionNotRealised (4).
    """
    refuse_teacher(model.config.model)
    out = Path(out)
    check_opset(opset)
    check_replaceable(out, is_bundle)
    text = read_text(Path(card), "model card") if card is not None else None
    if entry(model.config.model).task == "skeleton":
        if classes is not None:
            raise BadInput(f"a {model.config.model} has classes of its own; leave --classes away")
        clips = Path(clips) if clips is not None else None
        return export_pose(model, out, precision=precision, opset=opset, clips=clips, card=text, progress=progress)
    return export_video(
        model, out, classes=classes, precision=precision, opset=opset, clips=clips, card=text, progress=progress
    )


def compare_live(session: Session | PoseSession, model: nn.Module, clips: str | Path | None = None) -> Parity:
    """Compare an open bundle with the live model, on generated inputs or on real clips (see `export_model`)."""
    if isinstance(session, PoseSession):
        wanted, got = session.manifest, model.config
        if (wanted.skeleton, wanted.num_classes) != (got.skeleton, got.num_classes):
            raise BadInput(
                f"these weights are another network ({got.skeleton.layout.name}, {got.num_classes} classes) than the "
                f"bundle's ({wanted.skeleton.layout.name}, {wanted.num_classes}), or expect other input"
            )
        skeletons, inputs = reference_skeletons(model, Path(clips) if clips is not None else None)
        return compare_pose(session, skeletons, inputs, expected_pose(model, skeletons))
    return compare_video(session, model, *reference_frames(clips))
