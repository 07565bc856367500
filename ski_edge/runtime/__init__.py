"""Running a bundle on the device: sessions, streaming windows, verification, measurements. No torch."""

from ski_edge.runtime.open import find_bundle, open_bundle, shipped
from ski_edge.runtime.pose_session import PoseSession
from ski_edge.runtime.session import Prediction, Session
from ski_edge.runtime.skeleton_stream import SkeletonStream, about_streaming
from ski_edge.runtime.stream import FrameStream, Sampler, Update

__all__ = [
    "FrameStream",
    "PoseSession",
    "Prediction",
    "Sampler",
    "Session",
    "SkeletonStream",
    "Update",
    "about_streaming",
    "find_bundle",
    "open_bundle",
    "shipped",
]
