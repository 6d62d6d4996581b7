"""Network executors behind one protocol, see :mod:`.base`."""

import logging
from collections.abc import Iterable

from ..engine_files import device_capability, plan_name
from ..errors import EngineMismatch, ModelError, RuntimeUnavailable, UsageError
from ..processor import multiplies_int8
from ..specs import SPECS
from ..weights import Weights
from .base import Runtime, Tensors

__all__ = ["RUNTIMES", "Runtime", "Tensors", "open_runtime", "why_not"]

RUNTIMES = (
    "onnxruntime",
    "openvino",
    "torch",
    "tensorrt",
    "tensorrt-rtx",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
)
"""``torch`` may carry options, ``"torch+compile"``, see :class:`.torch_options.TorchOptions`."""

_log = logging.getLogger(__name__)
_logged: set[str] = set()


def open_runtime(name: str, weights: Weights, threads: int | None = None) -> Runtime:
    """Open a runtime by name; ``"auto"`` takes the fastest that works, and logs it once.

    Raises:
        UsageError: there is no runtime of this name, or ``threads`` is under 1.
        RuntimeUnavailable: it does not work here; the message says what to install.
        WeightsError: the folder does not hold what this runtime needs, or it is damaged.
        EngineMismatch: an engine was not built for this machine.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    if name == "auto":
        return _open_fastest(weights, threads)
    if name == "onnxruntime":
        from .onnxruntime_cpu import OnnxRuntimeCpu

        return OnnxRuntimeCpu(weights, threads)
    if name == "openvino":
        from .openvino_cpu import OpenVinoCpu

        return OpenVinoCpu(weights, threads)
    if name.split("+")[0] == "torch":
        from .torch_eager import TorchEager

        return TorchEager(weights, name=name, threads=threads)
    if name in ("tensorrt", "tensorrt-rtx"):
        from .tensorrt_engine import TensorRtEngines

        return TensorRtEngines(weights, name)
    if name in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        from .onnxruntime_cuda import OnnxRuntimeCuda

        return OnnxRuntimeCuda(weights, name)
    raise UsageError(f"there is no runtime {name!r}; choose auto or one of {', '.join(RUNTIMES)}")


def _open_fastest(weights: Weights, threads: int | None) -> Runtime:
    for name in _by_speed(weights):
        try:
            if name == "torch":
                runtime: Runtime = _open_torch_on_gpu(weights, threads)
            else:
                runtime = open_runtime(name, weights, threads)
        except (RuntimeUnavailable, EngineMismatch) as error:
            _log.debug("runtime %s is passed over: %s", name, error)
            continue
        if name not in _logged:
            _logged.add(name)
            _log.info("runtime: %s", name)
        return runtime
    return open_runtime("onnxruntime", weights, threads)  # which raises what is wrong


def _open_torch_on_gpu(weights: Weights, threads: int | None) -> Runtime:
    """Never on the CPU, where others are faster: PyTorch may be built without CUDA."""
    from .torch_eager import TorchEager

    return TorchEager(weights, "cuda", threads=threads)


def _by_speed(weights: Weights) -> Iterable[str]:
    """What a folder of weights can be run by, fastest first; a GPU is looked for only once.

    Without a GPU neither engines nor torch are tried: importing torch takes seconds.
    """
    files = weights.manifest["files"]
    if device_capability() is not None:
        if all(plan_name(network) in files for network in SPECS):
            yield from ("tensorrt", "tensorrt-rtx")
        if "precision" not in weights.manifest:  # those folders are of ONNX files or engines
            yield "torch"
        yield "onnxruntime-cuda"
    if weights.manifest.get("precision") == "bf16" or (weights.has_int8 and multiplies_int8()):
        yield "openvino"  # in float32 it is no faster
    yield "onnxruntime"


def why_not(name: str, weights: Weights) -> str | None:
    """Say why a runtime cannot open these weights here; ``None`` if it can."""
    try:
        open_runtime(name, weights).close()
    except ModelError as error:
        return str(error).replace(str(weights.folder), "the folder of weights")
    return None
