"""Buffers and a stream through PyCUDA; no CUDA graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from .device_buffers import Pair

__all__ = ["PyCudaBuffers"]


class PyCudaBuffers:
    """See :class:`.device_buffers.DeviceBuffers`.

    Raises:
        ImportError: PyCUDA is not installed.
        OSError: there is no driver or no GPU.
    """

    name = "pycuda"

    def __init__(self) -> None:
        from pycuda import driver

        self._driver = driver
        try:
            driver.init()
            self._context = driver.Device(0).retain_primary_context()
        except driver.Error as error:
            raise OSError(str(error)) from error
        self._pairs: list[Pair] = []
        with self._current():
            self._stream = driver.Stream()
        self.stream = int(self._stream.handle)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The GPU's primary context, which TensorRT uses too, on this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def pair(self, shape: tuple[int, ...], dtype: np.dtype) -> Pair:
        """Allocate a tensor on both sides."""
        with self._current():
            try:
                host = self._driver.pagelocked_empty(shape, dtype)
                device = self._driver.mem_alloc(max(1, host.nbytes))
            except self._driver.MemoryError as error:
                raise MemoryError(str(error)) from error
        pair = Pair(host, int(device), device)
        self._pairs.append(pair)
        return pair

    def upload(self, pair: Pair) -> None:
        """Copy to the device."""
        with self._current():
            self._driver.memcpy_htod_async(pair.owner, pair.host, self._stream)

    def download(self, pair: Pair) -> None:
        """Copy to the host."""
        with self._current():
            self._driver.memcpy_dtoh_async(pair.host, pair.owner, self._stream)

    def synchronize(self) -> None:
        """Wait for the stream."""
        with self._current():
            self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """PyCUDA has no graphs."""
        return None

    def release(self) -> None:
        """Free the device's side of every pair; the rest goes with its last reference."""
        with self._current():
            for pair in self._pairs:
                pair.owner.free()
            self._pairs.clear()
            del self._stream
        self._context.detach()
