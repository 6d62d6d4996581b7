"""ONNX Runtime on the CPU: the embedded default. No torch."""

import threading

import numpy as np

from ..errors import RuntimeUnavailable, WeightsError
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors

__all__ = ["OnnxRuntimeCpu"]


class OnnxRuntimeCpu:
    """Runs the exported networks; each is loaded when first used.

    Args:
        weights: where the ONNX files are.
        threads: threads within one call; ``None`` takes all cores.
    """

    name = "onnxruntime"
    pixels: Pixels = HostPixels()

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise RuntimeUnavailable(
                "the onnxruntime runtime needs the package onnxruntime: pip install onnxruntime"
            ) from error
        if weights.manifest.get("precision") == "bf16":
            raise RuntimeUnavailable(
                "ONNX Runtime has no bfloat16 layers on a CPU: take fp16 or int8 here, "
                "and bf16 for engines"
            )
        self._onnxruntime = onnxruntime
        self._weights = weights
        self._threads = threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def _session(self, network: str):  # noqa: ANN202 - the type belongs to a lazy import
        with self._lock:
            if network not in self._sessions:
                options = self._onnxruntime.SessionOptions()
                options.log_severity_level = 3
                options.enable_cpu_mem_arena = False  # keeps the peak of memory low
                if self._threads is not None:
                    options.intra_op_num_threads = self._threads
                graph = self._weights.read(f"{network}.onnx")
                try:
                    self._sessions[network] = self._onnxruntime.InferenceSession(
                        graph, options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:
                    raise WeightsError(f"ONNX Runtime cannot load {network}: {error}") from error
            return self._sessions[network]

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`."""
        spec = SPECS[network]
        check_inputs(spec, self.size, tensors)
        names = [tensor.name for tensor in spec.outputs]
        feed = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        return dict(zip(names, self._session(network).run(names, feed), strict=True))
