"""Protocols and metrics: how good a model is, on data it has not seen."""

from ski_edge.evaluate.metrics import Metrics, measure

__all__ = ["Metrics", "measure"]
