"""Trained networks to artifacts that are fast and can be trusted."""

from .onnx_folder import PRECISIONS, write_onnx
from .package import write_weights
from .to_onnx import export_onnx
from .to_tensorrt import EngineOptions, write_engines
from .validate import validate_onnx

__all__ = [
    "PRECISIONS",
    "EngineOptions",
    "export_onnx",
    "validate_onnx",
    "write_engines",
    "write_onnx",
    "write_weights",
]
