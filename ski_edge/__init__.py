"""ski-edge: recognition of Activities of Daily Living on the device beside the camera.

    model   = ski_edge.create_model("ski-vificlip", arch="ViT-B-16")    # torch, random weights
    bundle  = ski_edge.export_model(model, "out/b")                     # verified folder for the device
    session = ski_edge.open_bundle("out/b")                             # no torch from here on

Names are resolved on first use, so importing this package loads neither torch nor a runtime.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "create_model": "ski_edge.models",
    "load_model": "ski_edge.models",
    "export_model": "ski_edge.export",
    "open_bundle": "ski_edge.runtime",
    "FrameStream": "ski_edge.runtime",
    "SkeletonStream": "ski_edge.runtime",
    "LabelBank": "ski_edge.bundle",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ski_edge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
