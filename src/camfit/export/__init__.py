"""Packed file -> what other tool chains take: C sources for firmware, ONNX."""

from camfit.export.c_sources import export_c
from camfit.export.files import Exported
from camfit.export.onnx import export_onnx

__all__ = ["Exported", "export_c", "export_onnx"]
