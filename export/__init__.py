"""Trained networks to artifacts that are fast and can be trusted."""

from .package import write_weights
from .to_onnx import export_onnx
from .validate import validate_onnx

__all__ = ["export_onnx", "validate_onnx", "write_weights"]
