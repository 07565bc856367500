"""torch -> ONNX -> bundle, verified on the way. Installed as `ski_edge.export`."""

if __name__ != "ski_edge.export":
    raise ImportError("import ski_edge.export, not export: the folder export/ is installed under that name")

from ski_edge.export.bundle import compare_live, export_model

__all__ = ["compare_live", "export_model"]
