"""Running a bundle on the device: sessions, streaming windows, verification, measurements. No torch."""

from ski_edge.runtime.session import Prediction, Session, open_bundle
from ski_edge.runtime.stream import FrameStream, Sampler, Update

__all__ = ["FrameStream", "Prediction", "Sampler", "Session", "Update", "open_bundle"]
