"""Shared memory between a client and a server on the same host: who uses which regions when."""

import itertools
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ServerError
from .regions import CudaRegion, Region, SystemRegion

__all__ = ["PREFIX", "Lease", "Place", "SharedMemory"]

PREFIX = "clr_infer_"
"""What the names of all regions start with, followed by the process that made them."""

Place = tuple[str, int, int]
"""Where a tensor lies: the name of the region, bytes, and the first of them."""

_Ask = Callable[..., Awaitable[Any]]


class Lease:
    """Two regions, for the inputs and the outputs of one request at a time.

    Args:
        kind: of both.
        name: unique.
        input_bytes: size of one.
        output_bytes: size of the other; may be 0.
    """

    def __init__(
        self,
        kind: type[SystemRegion] | type[CudaRegion],
        name: str,
        input_bytes: int,
        output_bytes: int,
    ) -> None:
        self._in: Region = kind(f"{name}_in", input_bytes)
        self._out: Region | None = None
        try:
            if output_bytes:
                self._out = kind(f"{name}_out", output_bytes)
        except BaseException:
            self._in.destroy()
            raise

    def fits(self, input_bytes: int, output_bytes: int) -> bool:
        """Is there room for such a request?"""
        room = self._out.size if self._out else 0
        return self._in.size >= input_bytes and room >= output_bytes

    def place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Place]:
        """Write the inputs; returns where each lies."""
        self._in.write(list(arrays.values()))
        return _in_a_row(self._in, {name: array.nbytes for name, array in arrays.items()})

    def rooms(self, sizes: Mapping[str, int]) -> dict[str, Place]:
        """Where outputs of at most these sizes go."""
        return _in_a_row(self._out, sizes) if self._out else {}

    def fetch(self, place: Place, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """Read an output, a copy."""
        assert self._out is not None
        return self._out.read(place[2], dtype, shape)

    @property
    def regions(self) -> list[Region]:
        """The regions that exist."""
        return [self._in, self._out] if self._out else [self._in]

    def destroy(self) -> None:
        """Free the regions on this side."""
        for region in self.regions:
            region.destroy()


def _in_a_row(region: Region, sizes: Mapping[str, int]) -> dict[str, Place]:
    ends = itertools.accumulate(sizes.values())
    return {
        name: (region.name, size, end - size)
        for (name, size), end in zip(sizes.items(), ends, strict=True)
    }


class SharedMemory:
    """The regions of one client; each request in flight has its own.

    Args:
        kind: of all regions.
        ask: calls the server's methods of shared memory.
    """

    def __init__(self, kind: type[SystemRegion] | type[CudaRegion], ask: _Ask) -> None:
        self._kind, self._ask = kind, ask
        self._free: list[Lease] = []
        self._all: list[Lease] = []
        self._names = (
            f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}_{count}" for count in itertools.count()
        )

    async def lease(self, input_bytes: int, output_bytes: int) -> Lease:
        """Regions of at least these sizes.

        Raises:
            ServerError: the server takes no such memory, or is on another host.
            ModelError: a GPU has no room.
        """
        for index, lease in enumerate(self._free):
            if lease.fits(input_bytes, output_bytes):
                return self._free.pop(index)
        if self._free:
            await self._drop(self._free.pop())
        lease = Lease(self._kind, next(self._names), input_bytes, output_bytes)
        self._all.append(lease)
        try:
            await self._register(lease)
        except BaseException:
            await self._drop(lease)
            raise
        return lease

    async def _register(self, lease: Lease) -> None:
        for region in lease.regions:
            await self._ask(region.register, **region.registration())

    def give_back(self, lease: Lease) -> None:
        """Offer regions to the next request."""
        self._free.append(lease)

    async def renew(self, lease: Lease) -> None:
        """Register regions again with a server that was started anew."""
        for region in lease.regions:
            await self._unregister(region)
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
        lease.destroy()
        for region in lease.regions:
            await self._unregister(region)

    async def _unregister(self, region: Region) -> None:
        try:
            await self._ask(region.unregister, name=region.name)
        except ServerError:  # a server that is gone holds no regions
            pass
