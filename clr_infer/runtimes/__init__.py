"""Network executors behind one protocol, see :mod:`.base`."""

import logging

from ..errors import UsageError
from ..weights import Weights
from .base import Runtime, Tensors

__all__ = ["RUNTIMES", "Runtime", "Tensors", "open_runtime"]

RUNTIMES = ("onnxruntime", "torch", "tensorrt", "tensorrt-rtx")

_log = logging.getLogger(__name__)


def open_runtime(name: str, weights: Weights, threads: int | None = None) -> Runtime:
    """Open a runtime by name; ``"auto"`` takes the embedded one and says so in the log.

    Raises:
        UsageError: there is no runtime of this name, or ``threads`` is under 1.
        RuntimeUnavailable: it does not work here; the message says what to install.
        WeightsError: the folder does not hold what this runtime needs, or it is damaged.
        EngineMismatch: an engine was not built for this machine.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    if name == "auto":
        name = "onnxruntime"
        _log.info("runtime: %s", name)
    if name == "onnxruntime":
        from .onnxruntime_cpu import OnnxRuntimeCpu

        return OnnxRuntimeCpu(weights, threads)
    if name == "torch":
        from .torch_eager import TorchEager

        return TorchEager(weights)
    if name in ("tensorrt", "tensorrt-rtx"):
        from .tensorrt_engine import TensorRtEngines

        return TensorRtEngines(weights, name)
    raise UsageError(f"there is no runtime {name!r}; choose auto or one of {', '.join(RUNTIMES)}")
