"""ONNX Runtime on the CPU: the embedded default. No torch."""

import threading
from typing import Any

import numpy as np

from ..errors import RuntimeUnavailable
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors
from .onnx_sessions import import_onnxruntime, open_session, outputs_of

__all__ = ["OnnxRuntimeCpu"]


class OnnxRuntimeCpu:
    """Runs the exported networks; each is loaded when first used.

    A batch goes through one image at a time, all threads on it: on a CPU that is faster than the
    whole batch at once, whose activations fit no cache, and memory does not grow with the batch.

    Args:
        weights: where the ONNX files are.
        threads: threads within one call; ``None`` takes all cores.
    """

    name = "onnxruntime"
    pixels: Pixels = HostPixels()

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        self._onnxruntime = import_onnxruntime()
        if weights.manifest.get("precision") == "bf16":
            raise RuntimeUnavailable(
                "ONNX Runtime has no bfloat16 layers on a CPU: take another precision, "
                'or pip install "clr_infer[openvino]"'
            )
        self._weights, self._threads = weights, threads
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def _options(self) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Each network has threads of its own. Spinning after one would slow down the next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_mem_pattern = False  # as fast without, in 100 MB less
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        return options

    def _session(self, network: str) -> Any:
        with self._lock:
            if network not in self._sessions:
                self._sessions[network] = open_session(
                    self._weights, network, self._options(), ["CPUExecutionProvider"]
                )
            return self._sessions[network]

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`."""
        spec = SPECS[network]
        check_inputs(spec, self.size, tensors)
        session, names = self._session(network), [tensor.name for tensor in spec.outputs]
        feed = {name: np.ascontiguousarray(value) for name, value in tensors.items()}

        def work() -> Tensors:
            images = [
                session.run(names, {name: value[i : i + 1] for name, value in feed.items()})
                for i in range(len(next(iter(feed.values()))))
            ]
            if len(images) == 1:
                return dict(zip(names, images[0], strict=True))
            columns = zip(*images, strict=True)
            return {n: np.concatenate(parts) for n, parts in zip(names, columns, strict=True)}

        return outputs_of(network, work)

    def close(self) -> None:
        """Free the networks and their threads; what is running ends first."""
        with self._lock:
            self._sessions.clear()
