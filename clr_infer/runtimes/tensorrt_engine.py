"""TensorRT engines, both flavours: on a GPU, several threads at once, a CUDA graph per batch size.

Each network has a few lanes; a lane has, for every batch size that was seen, an execution context,
a stream, pinned and device buffers, and a graph of copy, run, copy. A call takes a free lane, or
waits for one: memory is bounded by lanes times batch sizes, and threads never share a context.
"""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import ModuleType
from typing import Any

import numpy as np

from ..engine_files import (
    Sidecar,
    check_engine,
    device_capability,
    import_flavour,
    plan_name,
    sidecar_name,
)
from ..errors import EngineMismatch, ModelError, WeightsError
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, NetworkSpec, check_inputs
from ..weights import Weights
from .base import Tensors, in_pieces
from .device_buffers import DeviceBuffers, Pair, choose_backend

__all__ = ["EngineLanes", "TensorRtEngines"]

_log = logging.getLogger(__name__)

_BATCH_SIZES_MAX = 4
"""Batch sizes that a lane keeps buffers for; the one that was not used for longest goes first."""

_FLOAT = np.dtype(np.float32)


class _Slot:
    """Everything for one batch size on one lane: a context, a stream, memory and a graph."""

    def __init__(
        self, context: Any, spec: NetworkSpec, size: int, batch: int, buffers: DeviceBuffers
    ) -> None:
        self._context, self._spec, self._buffers = context, spec, buffers
        self._launch: Callable[[], None] | None = None
        self._runs = 0
        self._pairs: dict[str, Pair] = {}
        try:
            for tensor in (*spec.inputs, *spec.outputs):
                shape = (batch, *tensor.dims(size))
                self._pairs[tensor.name] = buffers.pair(shape, _FLOAT)
                if tensor in spec.inputs and not context.set_input_shape(tensor.name, shape):
                    raise ValueError(
                        f"the engine takes no batch of {batch}; build it with a least batch of 1"
                    )
                context.set_tensor_address(tensor.name, self._pairs[tensor.name].address)
        except BaseException:
            buffers.release()
            raise

    def _enqueue(self) -> None:
        for tensor in self._spec.inputs:
            self._buffers.upload(self._pairs[tensor.name])
        if not self._context.execute_async_v3(self._buffers.stream):
            raise RuntimeError(f"TensorRT could not run {self._spec.name}")
        for tensor in self._spec.outputs:
            self._buffers.download(self._pairs[tensor.name])

    def run(self, tensors: Tensors) -> Tensors:
        """Run one batch of the slot's size."""
        for tensor in self._spec.inputs:
            np.copyto(self._pairs[tensor.name].host, tensors[tensor.name])
        if self._runs == 1:  # the first run compiled and allocated what a graph cannot
            self._launch = self._buffers.capture(self._enqueue)
        if self._launch is not None:
            self._launch()
        else:
            self._enqueue()
        self._buffers.synchronize()
        self._runs += 1
        return {t.name: self._pairs[t.name].host.copy() for t in self._spec.outputs}

    def release(self) -> None:
        """Free the graph, the memory and the stream; the context goes with its last reference."""
        self._launch = None
        self._pairs.clear()
        self._buffers.release()


class _Lane:
    """The slots of one caller at a time."""

    def __init__(self, open_slot: Callable[[int], _Slot]) -> None:
        self._open_slot = open_slot
        self._slots: OrderedDict[int, _Slot] = OrderedDict()

    def run(self, tensors: Tensors) -> Tensors:
        """Run one batch within the profile."""
        batch = len(next(iter(tensors.values())))
        if batch not in self._slots:
            while len(self._slots) >= _BATCH_SIZES_MAX:
                self._slots.popitem(last=False)[1].release()
            self._slots[batch] = self._open_slot(batch)
        self._slots.move_to_end(batch)
        return self._slots[batch].run(tensors)

    def release(self) -> None:
        """Free every slot."""
        with ExitStack() as stack:  # what cannot be freed keeps none of the others
            while self._slots:
                stack.callback(self._slots.popitem()[1].release)


class EngineLanes:
    """One engine and its lanes.

    Args:
        engine: deserialised, ``ICudaEngine``.
        spec: its network's.
        size: side of the frame in pixels.
        batch_max: largest batch of the profile; larger ones are run in pieces.
        open_buffers: opens one stream and its memory.
        lanes: how many calls run at once; more wait.
    """

    def __init__(
        self,
        engine: Any,
        spec: NetworkSpec,
        size: int,
        batch_max: int,
        open_buffers: Callable[[], DeviceBuffers],
        lanes: int = 2,
    ) -> None:
        self._engine, self._spec, self._size = engine, spec, size
        self._batch_max, self._open_buffers = batch_max, open_buffers
        self._config = _shared_config(engine)
        self._lanes: list[_Lane] = []
        self._free: queue.LifoQueue[_Lane | None] = queue.LifoQueue()
        for _ in range(lanes):
            self._free.put(None)  # opened when first needed

    def _open_slot(self, batch: int) -> _Slot:
        create = self._engine.create_execution_context
        context = create() if self._config is None else create(self._config)
        if context is None:
            raise MemoryError("no execution context could be made")
        return _Slot(context, self._spec, self._size, batch, self._open_buffers())

    def run(self, tensors: Tensors) -> Tensors:
        """Run a batch of any size.

        Raises:
            ModelError: TensorRT or CUDA failed, or memory ran out; the lane is closed, and the
                next call opens another.
        """
        lane = self._free.get()
        try:
            if lane is None:
                lane = _Lane(self._open_slot)
                self._lanes.append(lane)
            return in_pieces(lane.run, tensors, self._batch_max)
        except Exception as error:  # the libraries of the device share no base
            broken, lane = lane, None
            if broken is not None:
                self._lanes.remove(broken)
                with suppress(Exception):  # in a broken context freeing fails as well
                    broken.release()
            hint = "; use smaller batches" if isinstance(error, MemoryError) else ""
            raise ModelError(f"{self._spec.name} failed on the GPU: {error}{hint}") from error
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Free everything; nothing may be running."""
        for lane in self._lanes:
            lane.release()
        self._lanes.clear()


def _names(engine: Any) -> set[str]:
    return {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}


def _names_of(spec: NetworkSpec) -> set[str]:
    return {tensor.name for tensor in (*spec.inputs, *spec.outputs)}


def _shared_config(engine: Any) -> Any:
    """One cache of compiled kernels for all contexts of an engine, where the library has one."""
    if not hasattr(engine, "create_runtime_config"):
        return None
    config = engine.create_runtime_config()
    if not hasattr(config, "create_runtime_cache"):
        return None
    config.set_runtime_cache(config.create_runtime_cache())
    return config


def _checked(weights: Weights, flavour: str, version: str, capability: str | None) -> None:
    """Hold every engine's sidecar against its plan, its ONNX file and this machine."""
    files = weights.manifest["files"]
    missing = [name for name in SPECS if plan_name(name) not in files]
    if missing:
        raise WeightsError(
            f"{weights.folder} holds no engine of {', '.join(missing)}; "
            f"make a folder of engines: clr-infer export tensorrt -o DIR --flavour {flavour}"
        )
    for name in SPECS:
        check_engine(
            Sidecar.from_json(weights.read(sidecar_name(name))),
            weights.read(plan_name(name)),
            network=name,
            onnx_sha256=files.get(f"{name}.onnx", ""),
            flavour=flavour,
            version=version,
            capability=capability,
        )


class TensorRtEngines:
    """Runs engines that ``clr-infer export tensorrt`` built; each is opened when first used.

    Args:
        weights: a folder with engines.
        flavour: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        device_library: ``"cuda-python"``, ``"torch"`` or ``"pycuda"``; ``None`` takes the first
            that works.
        lanes: calls of one network that run at once.

    Raises:
        RuntimeUnavailable: no library of the flavour, no GPU, or nothing to reach it with.
        WeightsError: the folder holds no engines, or damaged ones.
        EngineMismatch: an engine is not for this library or this machine; none was opened.
    """

    pixels: Pixels = HostPixels()

    def __init__(
        self,
        weights: Weights,
        flavour: str,
        device_library: str | None = None,
        lanes: int = 2,
    ) -> None:
        self.name = flavour
        self._trt: ModuleType = import_flavour(flavour)
        _checked(weights, flavour, self._trt.__version__, device_capability())
        self._open_buffers = choose_backend(device_library)
        self._weights, self._lane_count = weights, lanes
        self._engines: dict[str, EngineLanes] = {}
        self._lock = threading.Lock()
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._logger)
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def _lanes(self, network: str) -> EngineLanes:
        with self._lock:
            if network not in self._engines:
                sidecar = Sidecar.from_json(self._weights.read(sidecar_name(network)))
                if sidecar.version_compatible:  # the plan carries a runtime of its own
                    self._runtime.engine_host_code_allowed = True
                plan = self._weights.read(plan_name(network))
                engine = self._runtime.deserialize_cuda_engine(plan)
                if engine is None or _names(engine) != _names_of(SPECS[network]):
                    raise EngineMismatch(
                        f"{self.name} refuses the engine of {network} although its sidecar fits; "
                        "build engines on this machine: clr-infer export tensorrt"
                    )
                self._engines[network] = EngineLanes(
                    engine,
                    SPECS[network],
                    self.size,
                    sidecar.batch_max,
                    self._open_buffers,
                    self._lane_count,
                )
                _log.info("%s: %s opened", self.name, network)
            return self._engines[network]

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`."""
        check_inputs(SPECS[network], self.size, tensors)
        return self._lanes(network).run(tensors)

    def close(self) -> None:
        """Free the GPU's memory; nothing may be running."""
        with self._lock:
            for lanes in self._engines.values():
                lanes.close()
            self._engines.clear()
