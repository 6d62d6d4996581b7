"""tritonclient's CUDA shared memory with host memory in the GPU's place."""

import weakref
from types import SimpleNamespace

import numpy as np


class CudaSharedMemoryException(Exception):
    pass


class _Handle(str):
    """Of a region, which lives as long as anybody has it."""


class FakeCuda(SimpleNamespace):
    """Regions by name, and those that were freed; fails from ``limit`` bytes on."""

    CudaSharedMemoryException = CudaSharedMemoryException

    def __init__(self, limit: int = 1 << 30) -> None:
        super().__init__(regions={}, handles=[], freed=[], limit=limit)

    def create_shared_memory_region(self, name, size, device_id):
        if size > self.limit:
            raise CudaSharedMemoryException("no region") from Exception(b"out of memory")
        self.regions[name] = np.zeros(size, np.uint8)
        self.handles.append(_Handle(name))
        weakref.finalize(self.handles[-1], self._free, name)
        return self.handles[-1]

    def get_raw_handle(self, handle):
        return b"aGFuZGxlIG9mIA==" + handle.encode()

    def set_shared_memory_region(self, handle, arrays):
        content = np.concatenate([np.ascontiguousarray(a).view(np.uint8).ravel() for a in arrays])
        self.regions[handle][: content.size] = content

    def get_contents_as_numpy(self, handle, dtype, shape):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.regions[handle][:size].copy().view(dtype).reshape(shape)

    def destroy_shared_memory_region(self, handle):
        self.handles.remove(handle)

    def _free(self, name):
        self.freed.append(name)
        del self.regions[name]
