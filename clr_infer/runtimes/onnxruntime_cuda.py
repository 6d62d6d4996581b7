"""ONNX Runtime on a GPU: its CUDA and TensorRT providers, bound tensors, CUDA graphs."""

import logging
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ..errors import ModelError, RuntimeUnavailable
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, NetworkSpec, check_inputs
from ..weights import Weights
from .base import Tensors
from .onnx_sessions import import_onnxruntime, open_session, outputs_of

__all__ = ["PROVIDERS", "BoundSession", "OnnxRuntimeCuda"]

PROVIDERS = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
"""The provider behind each of the runtimes."""

_BATCH_SIZES_MAX = 8
_log = logging.getLogger(__name__)


class BoundSession:
    """A session whose tensors stay where its provider wants them; one caller at a time.

    Each batch size has its own inputs and outputs on the device, made once: what a CUDA graph,
    which replays fixed addresses, needs.

    Args:
        session: of ONNX Runtime.
        spec: its network's.
        size: side of the frame in pixels.
        device: ``"cuda"`` or ``"cpu"``.
        graphs: whether the session was opened with CUDA graphs.
    """

    def __init__(
        self, session: Any, spec: NetworkSpec, size: int, device: str, graphs: bool = False
    ) -> None:
        self._session, self._spec, self._size = session, spec, size
        self._device, self._graphs = device, graphs
        self._bound: OrderedDict[int, tuple[Any, dict[str, Any], Any]] = OrderedDict()
        self._made = 0

    def _bind(self, batch: int) -> tuple[Any, dict[str, Any], Any]:
        onnxruntime = import_onnxruntime()

        def place(dims: tuple[int, ...]) -> Any:
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                (batch, *dims), np.float32, self._device, 0
            )

        binding = self._session.io_binding()
        inputs = {t.name: place(t.dims(self._size)) for t in self._spec.inputs}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for tensor in self._spec.outputs:
            binding.bind_ortvalue_output(tensor.name, place(tensor.dims(self._size)))
        options = onnxruntime.RunOptions()
        if self._graphs:
            self._made += 1
            options.add_run_config_entry("gpu_graph_id", str(self._made))
        return binding, inputs, options

    def run(self, tensors: Tensors) -> Tensors:
        """Run a batch; every batch size that is new is bound, and its graph recorded."""
        batch = len(next(iter(tensors.values())))
        if batch not in self._bound:
            while len(self._bound) >= _BATCH_SIZES_MAX:
                self._bound.popitem(last=False)
            self._bound[batch] = self._bind(batch)
        self._bound.move_to_end(batch)
        binding, inputs, options = self._bound[batch]
        for name, value in tensors.items():
            inputs[name].update_inplace(np.ascontiguousarray(value))
        self._session.run_with_iobinding(binding, options)
        values = zip(self._spec.outputs, binding.get_outputs(), strict=True)
        # Copied, as on a CPU the array is the bound memory, which the next call overwrites.
        return {tensor.name: np.array(value.numpy()) for tensor, value in values}


class OnnxRuntimeCuda:
    """Runs the exported networks on GPU 0; each is opened when first used.

    A network whose graph has parts that its provider leaves to the CPU runs without CUDA graphs.

    Args:
        weights: where the ONNX files are.
        name: a key of :data:`PROVIDERS`.

    Raises:
        RuntimeUnavailable: ONNX Runtime is missing, was built without the provider, or cannot
            start it.
        WeightsError: the ONNX file that this is tried with is missing or damaged.
    """

    pixels: Pixels = HostPixels()

    def __init__(self, weights: Weights, name: str = "onnxruntime-cuda") -> None:
        self.name, self._provider = name, PROVIDERS[name]
        onnxruntime = import_onnxruntime("onnxruntime-gpu")
        if self._provider not in onnxruntime.get_available_providers():
            raise RuntimeUnavailable(
                f"this ONNX Runtime has no {self._provider}: "
                "pip uninstall onnxruntime; pip install onnxruntime-gpu, and an NVIDIA driver"
            )
        self._onnxruntime, self._weights = onnxruntime, weights
        self._sessions: dict[str, BoundSession] = {}
        self._lock = threading.Lock()
        self.size, self.psnr_db = weights.size, weights.psnr_db
        self._open("align", graphs=False)  # a provider that is listed may not start

    def _open(self, network: str, graphs: bool) -> BoundSession:
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        switch = {
            "CUDAExecutionProvider": "enable_cuda_graph",
            "TensorrtExecutionProvider": "trt_cuda_graph_enable",
        }[self._provider]
        providers: list[Any] = [(self._provider, {switch: "1" if graphs else "0"})]
        providers += ["CUDAExecutionProvider"] if self._provider != "CUDAExecutionProvider" else []
        session = open_session(
            self._weights, network, options, [*providers, "CPUExecutionProvider"]
        )
        if self._provider not in session.get_providers():
            raise RuntimeUnavailable(
                f"{self._provider} does not start here: check the NVIDIA driver, CUDA and cuDNN "
                "(clr-infer env), or take another runtime"
            )
        return BoundSession(session, SPECS[network], self.size, "cuda", graphs)

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`; one call at a time."""
        check_inputs(SPECS[network], self.size, tensors)
        with self._lock:
            if network in self._sessions:
                return outputs_of(network, lambda: self._sessions[network].run(tensors))
            outputs, self._sessions[network] = self._first(network, tensors)
            return outputs

    def _first(self, network: str, tensors: Tensors) -> tuple[Tensors, BoundSession]:
        """Whether a graph can be recorded shows when the network is first run."""
        try:
            session = self._open(network, graphs=True)
            return outputs_of(network, lambda: session.run(tensors)), session
        except RuntimeUnavailable:
            raise
        except ModelError as error:
            _log.info("%s: %s runs without CUDA graphs (%s)", self.name, network, error)
        session = self._open(network, graphs=False)
        return outputs_of(network, lambda: session.run(tensors)), session

    def close(self) -> None:
        """Free the GPU's memory; nothing may be running."""
        with self._lock:
            self._sessions.clear()
