"""OpenVINO on the CPU: int8 and bfloat16 layers, where the processor has the instructions."""

import threading
from typing import Any

import numpy as np

from ..errors import ModelError, RuntimeUnavailable, WeightsError
from ..pixels import HostPixels, Pixels
from ..processor import multiplies_int8
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors

__all__ = ["OpenVinoCpu"]


class _Network:
    """A compiled network of batch 1 and its one request."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.lock = threading.Lock()


class OpenVinoCpu:
    """Runs exported networks image by image; each is compiled when first used.

    Int8 graphs are taken where there are any and the processor multiplies int8, see
    :func:`..processor.multiplies_int8`. Otherwise the precision is that of the graph: nothing that
    is float32 there is rounded. A processor without bfloat16 instructions computes bfloat16 layers
    in float32.

    Args:
        weights: where the ONNX files are.
        threads: threads within one call; ``None`` takes all cores.

    Raises:
        RuntimeUnavailable: OpenVINO is not installed.
    """

    name = "openvino"
    pixels: Pixels = HostPixels()

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise RuntimeUnavailable(
                'the openvino runtime needs OpenVINO: pip install "clr_infer[openvino]"'
            ) from error
        self._core = openvino.Core()
        self._weights, self._int8 = weights, multiplies_int8()
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # or all of a graph is rounded, high passes too
        }
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._networks: dict[str, _Network] = {}
        self._lock = threading.Lock()
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def _network(self, name: str) -> _Network:
        with self._lock:
            if name not in self._networks:
                self._networks[name] = _Network(self._compiled(name).create_infer_request())
            return self._networks[name]

    def _compiled(self, name: str) -> Any:
        spec, graph = SPECS[name], self._weights.read(self._weights.graph_name(name, self._int8))
        try:
            model = self._core.read_model(graph)
            found = [port.get_any_name() for port in (*model.inputs, *model.outputs)]
            if found != [t.name for t in (*spec.inputs, *spec.outputs)]:
                raise WeightsError(f"{name}.onnx is another network: it has {', '.join(found)}")
            model.reshape({t.name: [1, *t.dims(self.size)] for t in spec.inputs})
            _hold_rounding(model)
            return self._core.compile_model(model, "CPU", self._options)
        except RuntimeError as error:  # all that OpenVINO raises
            raise WeightsError(f"OpenVINO cannot load {name}: {_first_line(error)}") from error

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`; one call a network at a time."""
        spec = SPECS[network]
        check_inputs(spec, self.size, tensors)
        opened, names = self._network(network), [t.name for t in spec.outputs]
        feed = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        rows: list[list[np.ndarray]] = []
        try:
            with opened.lock:
                for i in range(len(next(iter(feed.values())))):
                    own = {name: value[i : i + 1] for name, value in feed.items()}
                    found = opened.request.infer(own, share_inputs=True)
                    rows.append([found[name] for name in names])
        except (MemoryError, RuntimeError) as error:
            raise ModelError(f"OpenVINO failed on {network}: {_first_line(error)}") from error
        columns = zip(*rows, strict=True)
        return {n: np.concatenate(parts) for n, parts in zip(names, columns, strict=True)}

    def close(self) -> None:
        """Free the networks and their threads; what is running ends first."""
        with self._lock:
            for opened in self._networks.values():
                with opened.lock:
                    pass
            self._networks.clear()


def _hold_rounding(model: Any) -> None:
    """Keep OpenVINO from moving a rounding to 8 bits in front of joins and sums.

    It would give the parts of a joined tensor one rounding, also for those of their readers that
    are float32: high passes of a residual of a few levels, and the image itself (12 dB of the
    cropped-out area). A maximum that changes nothing stands in its way; behind an activation,
    where there is nothing to move past, it would only stop the two from becoming one step.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        source = node.input_value(0)
        if source.get_node().get_type_name() not in ("PRelu", "Constant"):
            least = ops.constant(np.float32(np.finfo(np.float32).min))
            node.input(0).replace_source_output(ops.maximum(source, least).output(0))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
