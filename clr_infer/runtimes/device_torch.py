"""Buffers and a stream through PyTorch."""

from collections.abc import Callable

import numpy as np

from .device_buffers import Pair

__all__ = ["TorchBuffers"]


class TorchBuffers:
    """See :class:`.device_buffers.DeviceBuffers`.

    Raises:
        ImportError: PyTorch is not installed.
        OSError: PyTorch sees no GPU.
    """

    name = "torch"

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise OSError("PyTorch sees no GPU")
        self._torch = torch
        self._stream = torch.cuda.Stream(0)
        self.stream = int(self._stream.cuda_stream)

    def pair(self, shape: tuple[int, ...], dtype: np.dtype) -> Pair:
        """Allocate a tensor on both sides."""
        torch = self._torch
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        try:
            device = torch.empty(shape, dtype=kind, device="cuda:0")
            host = torch.empty(shape, dtype=kind, pin_memory=True)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        return Pair(host.numpy(), device.data_ptr(), (host, device))

    def upload(self, pair: Pair) -> None:
        """Copy to the device."""
        host, device = pair.owner
        with self._torch.cuda.stream(self._stream):
            device.copy_(host, non_blocking=True)

    def download(self, pair: Pair) -> None:
        """Copy to the host."""
        host, device = pair.owner
        with self._torch.cuda.stream(self._stream):
            host.copy_(device, non_blocking=True)

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record work as a graph."""
        torch = self._torch
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except RuntimeError:
            return None

        def launch() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return launch

    def release(self) -> None:
        """Nothing to do: PyTorch frees what nobody holds."""
