"""The libraries that training needs, asked for before its hours and not after them."""

from importlib import import_module

from ..errors import RuntimeUnavailable

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
        try:
            import_module(library)
        except ImportError as error:
            raise RuntimeUnavailable(
                f'training needs {library}: pip install "clr_infer[train]" ({error})'
            ) from error
