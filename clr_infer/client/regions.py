"""Regions of memory that a client and a server on the same host both see, on the host or a GPU."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import ModelError, RuntimeUnavailable, UsageError

__all__ = ["KINDS", "CudaRegion", "Region", "SystemRegion", "region_kind"]


_SHM = "/dev/shm"


class Region(Protocol):
    """One region.

    Attributes:
        name: unique; the server knows it by this.
        size: in bytes.
        register: the server's method that makes it known there.
        unregister: and the one that makes it forgotten.
    """

    name: str
    size: int
    register: str
    unregister: str

    def registration(self) -> dict[str, Any]:
        """The arguments of ``register``."""
        ...

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy arrays in, one behind the other."""
        ...

    def read(self, offset: int, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """Copy an array out."""
        ...

    def destroy(self) -> None:
        """Free the memory."""
        ...


class SystemRegion:
    """A file in ``/dev/shm``.

    Args:
        name: unique.
        size: in bytes.

    Raises:
        ModelError: there is no room: who writes into what is not there is killed.
    """

    register, unregister = "register_system_shared_memory", "unregister_system_shared_memory"

    def __init__(self, name: str, size: int) -> None:
        from tritonclient.utils import shared_memory

        self.name, self.size, self._module = name, size, shared_memory
        try:
            free = os.statvfs(_SHM)
            if size > free.f_bavail * free.f_frsize:
                raise ModelError(f"no {size} bytes of shared memory: {_SHM} is too full")
            self._handle = shared_memory.create_shared_memory_region(
                name, f"/{name}", size, create_only=True
            )
        except (OSError, shared_memory.SharedMemoryException) as error:
            raise ModelError(f"no {size} bytes of shared memory: {error}") from error

    @staticmethod
    def check() -> None:
        """System shared memory is there on every host."""

    def registration(self) -> dict[str, Any]:
        """See :class:`Region`."""
        return {"name": self.name, "key": f"/{self.name}", "byte_size": self.size}

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """See :class:`Region`."""
        self._module.set_shared_memory_region(self._handle, list(arrays))

    def read(self, offset: int, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """See :class:`Region`."""
        view = self._module.get_contents_as_numpy(self._handle, dtype, list(shape), offset)
        return view.copy()

    def destroy(self) -> None:
        """See :class:`Region`."""
        self._module.destroy_shared_memory_region(self._handle)


class CudaRegion:
    """Memory of the first GPU, handed over by CUDA's inter-process handles.

    Args:
        name: unique.
        size: in bytes.

    Raises:
        ModelError: the GPU has no room.
    """

    register, unregister = "register_cuda_shared_memory", "unregister_cuda_shared_memory"
    _DEVICE = 0

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size, self._module = name, size, _cuda_module()
        try:
            self._handle: Any = self._module.create_shared_memory_region(name, size, self._DEVICE)
        except self._module.CudaSharedMemoryException as error:
            raise ModelError(f"no {size} bytes of CUDA shared memory: {_reason(error)}") from error

    @classmethod
    def check(cls) -> None:
        """See whether there is such memory here.

        Raises:
            RuntimeUnavailable: cuda-python, a driver or a GPU is missing; the message says which.
        """
        try:
            cls("clr_infer_check", 1).destroy()
        except ModelError as error:
            if isinstance(error, RuntimeUnavailable):
                raise
            raise RuntimeUnavailable(
                f"CUDA shared memory needs an NVIDIA GPU and its driver on this host: "
                f"{_reason(error.__cause__)}"
            ) from error

    def registration(self) -> dict[str, Any]:
        """See :class:`Region`."""
        raw = self._module.get_raw_handle(self._handle)
        return {
            "name": self.name,
            "raw_handle": raw,
            "device_id": self._DEVICE,
            "byte_size": self.size,
        }

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """See :class:`Region`."""
        self._module.set_shared_memory_region(self._handle, list(arrays))

    def read(self, offset: int, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """See :class:`Region`. The library only reads from the start of a region, a copy."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        content = self._module.get_contents_as_numpy(self._handle, np.uint8, [offset + size])
        return content[offset:].view(dtype).reshape(shape)

    def destroy(self) -> None:
        """See :class:`Region`."""
        self._module.destroy_shared_memory_region(self._handle)
        self._handle = None  # the last reference frees the memory


KINDS: dict[str, type[SystemRegion] | type[CudaRegion]] = {
    "system": SystemRegion,
    "cuda": CudaRegion,
}


def region_kind(chosen: bool | str) -> type[SystemRegion] | type[CudaRegion] | None:
    """The kind that a client's ``shared_memory`` asks for, if any; it works here.

    Raises:
        UsageError: there is no such kind.
        RuntimeUnavailable: it does not work here; it is never replaced by another.
    """
    if chosen is False:
        return None
    name = "system" if chosen is True else chosen
    if name not in KINDS:
        raise UsageError(f"there is no shared memory {name!r}; choose {' or '.join(KINDS)}")
    KINDS[name].check()
    return KINDS[name]


def _cuda_module() -> Any:
    try:
        from tritonclient.utils import cuda_shared_memory
    except (ImportError, RuntimeError) as error:  # the library says the latter of a missing one
        raise RuntimeUnavailable(
            f'CUDA shared memory needs cuda-python: pip install "cuda-python>=12.6" ({error})'
        ) from error
    return cuda_shared_memory


def _reason(error: BaseException | None) -> str:
    cause = (error.__cause__ if error else None) or error
    first = cause.args[0] if cause and cause.args else cause
    return first.decode() if isinstance(first, bytes) else str(first)
