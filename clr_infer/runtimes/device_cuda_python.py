"""Buffers and a stream through NVIDIA's cuda-python."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from .device_buffers import Pair

__all__ = ["CudaPythonBuffers"]


class CudaPythonBuffers:
    """See :class:`.device_buffers.DeviceBuffers`.

    Raises:
        ImportError: cuda-python is not installed.
        OSError: there is no driver or no GPU.
    """

    name = "cuda-python"

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self._pairs: list[tuple[int, int]] = []
        self._graphs: list[Any] = []
        self._do(runtime.cudaSetDevice(0))
        # One that blocks would wait for the default stream, and let it wait.
        flags = runtime.cudaStreamNonBlocking
        (self._stream,) = self._do(runtime.cudaStreamCreateWithFlags(flags))
        self.stream = int(self._stream)

    def _do(self, answer: tuple) -> tuple:
        """Take the error code off an answer."""
        code, *values = answer
        if code == self._runtime.cudaError_t.cudaErrorMemoryAllocation:
            raise MemoryError("CUDA is out of memory")
        if code != self._runtime.cudaError_t.cudaSuccess:
            raise OSError(f"CUDA: {code.name}")
        return tuple(values)

    def pair(self, shape: tuple[int, ...], dtype: np.dtype) -> Pair:
        """Allocate a tensor on both sides."""
        count = max(1, int(np.prod(shape)) * dtype.itemsize)
        (device,) = self._do(self._runtime.cudaMalloc(count))
        try:
            (pinned,) = self._do(self._runtime.cudaMallocHost(count))
        except MemoryError:
            self._do(self._runtime.cudaFree(device))
            raise
        self._pairs.append((int(device), int(pinned)))
        raw: Any = (ctypes.c_uint8 * count).from_address(int(pinned))
        host = np.ndarray(shape, dtype, raw)
        return Pair(host, int(device), self)

    def _copy(self, target: int, source: int, count: int, kind: Any) -> None:
        self._do(self._runtime.cudaMemcpyAsync(target, source, count, kind, self._stream))

    def upload(self, pair: Pair) -> None:
        """Copy to the device."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(pair.address, pair.host.ctypes.data, pair.host.nbytes, kind)

    def download(self, pair: Pair) -> None:
        """Copy to the host."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(pair.host.ctypes.data, pair.address, pair.host.nbytes, kind)

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._do(self._runtime.cudaStreamSynchronize(self._stream))

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record work as a graph."""
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(runtime.cudaStreamBeginCapture(self._stream, mode))
        failed = False
        try:
            work()
        except (OSError, RuntimeError):
            failed = True
        finally:
            code, graph = runtime.cudaStreamEndCapture(self._stream)
        if failed or code != runtime.cudaError_t.cudaSuccess:
            runtime.cudaGetLastError()  # or the next call would report it
            return None
        (executable,) = self._do(runtime.cudaGraphInstantiate(graph, 0))
        self._do(runtime.cudaGraphDestroy(graph))
        self._graphs.append(executable)

        def launch() -> None:
            self._do(runtime.cudaGraphLaunch(executable, self._stream))

        return launch

    def release(self) -> None:
        """Free everything."""
        for executable in self._graphs:
            self._runtime.cudaGraphExecDestroy(executable)
        for device, pinned in self._pairs:
            self._runtime.cudaFree(device)
            self._runtime.cudaFreeHost(pinned)
        self._graphs.clear()
        self._pairs.clear()
        self._runtime.cudaStreamDestroy(self._stream)
