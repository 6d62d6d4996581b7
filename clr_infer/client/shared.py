"""System shared memory between a client and a server on the same host."""

import itertools
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from ..errors import ServerError

__all__ = ["PREFIX", "Lease", "SharedMemory"]

PREFIX = "clr_infer_"
"""What the names of all regions start with, followed by the process that made them."""

_Ask = Callable[..., Awaitable[Any]]


class Lease:
    """Two regions, for the inputs and the outputs of one request at a time.

    Args:
        name: unique.
        input_bytes: size of one.
        output_bytes: size of the other; may be 0.
    """

    def __init__(self, name: str, input_bytes: int, output_bytes: int) -> None:
        from tritonclient.utils import shared_memory

        self._module = shared_memory
        self.sizes = {f"{name}_in": input_bytes, f"{name}_out": output_bytes}
        self._in, self._out = self.sizes
        self._handles = {
            key: shared_memory.create_shared_memory_region(key, f"/{key}", size, create_only=True)
            for key, size in self.sizes.items()
            if size
        }

    def fits(self, input_bytes: int, output_bytes: int) -> bool:
        """Is there room for such a request?"""
        return self.sizes[self._in] >= input_bytes and self.sizes[self._out] >= output_bytes

    def place(self, arrays: dict[str, np.ndarray]) -> dict[str, tuple[str, int, int]]:
        """Write the inputs; returns the region, size and offset of each."""
        handle, offset, places = self._handles[self._in], 0, {}
        for name, array in arrays.items():
            self._module.set_shared_memory_region(handle, [array], offset=offset)
            places[name] = (self._in, array.nbytes, offset)
            offset += array.nbytes
        return places

    def room(self) -> tuple[str, int]:
        """Where the output goes: its region and size."""
        return self._out, self.sizes[self._out]

    def fetch(self, shape: list[int]) -> np.ndarray:
        """Read the output, a copy."""
        handle = self._handles[self._out]
        return self._module.get_contents_as_numpy(handle, np.uint8, shape).copy()

    @property
    def regions(self) -> dict[str, int]:
        """The sizes of the regions that exist."""
        return {key: self.sizes[key] for key in self._handles}

    def destroy(self) -> None:
        """Remove the regions from this host."""
        for handle in self._handles.values():
            self._module.destroy_shared_memory_region(handle)
        self._handles = {}


class SharedMemory:
    """The regions of one client; each request in flight has its own.

    Args:
        ask: calls the server's methods of shared memory.
    """

    def __init__(self, ask: _Ask) -> None:
        self._ask = ask
        self._free: list[Lease] = []
        self._all: list[Lease] = []
        self._names = (
            f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}_{count}" for count in itertools.count()
        )

    async def lease(self, input_bytes: int, output_bytes: int) -> Lease:
        """Regions of at least these sizes.

        Raises:
            ServerError: the server takes no shared memory, or is on another host.
        """
        for index, lease in enumerate(self._free):
            if lease.fits(input_bytes, output_bytes):
                return self._free.pop(index)
        if self._free:
            await self._drop(self._free.pop())
        lease = Lease(next(self._names), input_bytes, output_bytes)
        self._all.append(lease)
        try:
            await self._register(lease)
        except BaseException:
            await self._drop(lease)
            raise
        return lease

    async def _register(self, lease: Lease) -> None:
        for name, size in lease.regions.items():
            await self._ask(
                "register_system_shared_memory", name=name, key=f"/{name}", byte_size=size
            )

    def give_back(self, lease: Lease) -> None:
        """Offer regions to the next request."""
        self._free.append(lease)

    async def renew(self, lease: Lease) -> None:
        """Register regions again with a server that was started anew."""
        for name in lease.regions:
            await self._unregister(name)
        await self._register(lease)

    async def discard(self, lease: Lease) -> None:
        """Remove regions whose request came to an unknown end: the server may still write there."""
        await self._drop(lease)

    async def close(self) -> None:
        """Remove all regions, here and from the server."""
        while self._all:
            await self._drop(self._all[-1])
        self._free.clear()

    async def _drop(self, lease: Lease) -> None:
        if lease in self._all:
            self._all.remove(lease)
        names = list(lease.regions)
        lease.destroy()
        for name in names:
            await self._unregister(name)

    async def _unregister(self, name: str) -> None:
        try:
            await self._ask("unregister_system_shared_memory", name=name)
        except ServerError:  # a server that is gone holds no regions
            pass
