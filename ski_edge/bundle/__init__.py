"""The deployable artefact: manifest, hashes, labels, tokenizer. numpy only, no torch."""

from ski_edge.bundle.labels import Label, LabelBank, LabelSet, read_labels
from ski_edge.bundle.manifest import Manifest, SkeletonManifest, VideoManifest, read_manifest

__all__ = [
    "Label",
    "LabelBank",
    "LabelSet",
    "Manifest",
    "SkeletonManifest",
    "VideoManifest",
    "read_labels",
    "read_manifest",
]
