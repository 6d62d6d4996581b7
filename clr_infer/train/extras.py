"""The libraries that training needs, asked for before its hours and not after them."""

from ..extras import load_extra

__all__ = ["PIECE", "WHOLE", "require_extras"]

PIECE = ("torch", "safetensors", "onnx", "matplotlib")
"""What training itself needs."""

WHOLE = (*PIECE, "onnxscript", "scipy")
"""And what exporting and evaluating its result do."""


def require_extras(libraries: tuple[str, ...]) -> None:
    """Import libraries.

    Raises:
        RuntimeUnavailable: one is not installed, or broken.
    """
    for library in libraries:
        load_extra(library, "training", "train")
