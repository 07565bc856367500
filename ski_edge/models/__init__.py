"""Torch models, their names, their checkpoints. Never imported on the device."""

from ski_edge.models.checkpoint import load_model, save_model
from ski_edge.models.registry import REGISTRY, create_model
from ski_edge.models.vificlip import ViFiCLIP, ViFiCLIPConfig
from ski_edge.models.weights import resolve_weights

__all__ = ["REGISTRY", "ViFiCLIP", "ViFiCLIPConfig", "create_model", "load_model", "resolve_weights", "save_model"]
