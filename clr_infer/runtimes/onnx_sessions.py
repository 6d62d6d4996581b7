"""ONNX Runtime's sessions: opened from a folder of weights, its failures as typed errors."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ..errors import ClrError, ModelError, RuntimeUnavailable, WeightsError
from ..specs import SPECS
from ..weights import Weights
from .base import Tensors

__all__ = ["import_onnxruntime", "open_session", "outputs_of"]

_MEMORY_WORDS = (
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "failed to allocate",
    "alloc_failed",
)


def import_onnxruntime(package: str = "onnxruntime") -> ModuleType:
    """Import ONNX Runtime.

    Args:
        package: what to install where it is missing.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable(
            f"the onnxruntime runtimes need the package {package}: pip install {package}"
        ) from error
    return onnxruntime


def open_session(weights: Weights, network: str, options: Any, providers: Sequence[Any]) -> Any:
    """Open the ONNX file of a network.

    Raises:
        WeightsError: it is missing or damaged, or not the graph of this network.
        ModelError: memory ran out.
    """
    try:
        graph = weights.read(f"{network}.onnx")
        session = import_onnxruntime().InferenceSession(graph, options, providers=providers)
    except ClrError:
        raise
    except Exception as error:  # the library's errors share no base
        if _is_memory(error):
            raise ModelError(f"not enough memory to open {network}: {_text(error)}") from error
        raise WeightsError(f"ONNX Runtime cannot load {network}: {error}") from error
    spec = SPECS[network]
    found = [t.name for t in (*session.get_inputs(), *session.get_outputs())]
    if found != [t.name for t in (*spec.inputs, *spec.outputs)]:
        raise WeightsError(f"{network}.onnx is another network: it has {', '.join(found)}")
    return session


def outputs_of(network: str, work: Callable[[], Tensors]) -> Tensors:
    """Run work of ONNX Runtime.

    Raises:
        ModelError: it failed; where memory ran out, the message says what to do.
    """
    try:
        return work()
    except Exception as error:  # the library's errors share no base
        hint = "; close other programs, or use smaller batches" if _is_memory(error) else ""
        raise ModelError(f"ONNX Runtime failed on {network}: {_text(error)}{hint}") from error


def _text(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(word in text for word in _MEMORY_WORDS)
