"""Shared memory between a client and a server on the same host: who uses which regions when."""

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from ..errors import ClrError, InputError, ModelNotServed, RequestRefused
from .regions import CudaRegion, Region, SystemRegion
from .retry import left_s

__all__ = ["PREFIX", "Lease", "Place", "SharedMemory"]

PREFIX = "clr_infer_"
"""What the names of all regions start with, followed by the process that made them."""

Place = tuple[str, int, int]
"""Where a tensor lies: the name of the region, bytes, and the first of them."""

_FORGET_S, _BUSY_S = 5.0, 120.0
"""The time for the server to forget a region, and to go on with a request that was given up."""

_IN_USE, _AGAIN_S = "in use", 0.2
"""What it says of regions that such a request still works with, and when to ask it again."""

_LATE_S = 1.0
"""When a region whose registration was not answered is known to the server, if it ever will be."""

_Ask = Callable[..., Awaitable[Any]]


class Lease:
    """Two regions, for the inputs and the outputs of one request at a time.

    Attributes:
        usable: false where the server has forgotten the regions, or may still write there.

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
        self.usable = True
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
        ask: calls the server's methods of shared memory: a name, the time for it in seconds, and
            arguments.
        close_s: how long :meth:`close` waits for the server to forget regions; nobody else does.
    """

    def __init__(
        self,
        kind: type[SystemRegion] | type[CudaRegion],
        ask: _Ask,
        close_s: float,
    ) -> None:
        self._kind, self._ask, self._close_s = kind, ask, close_s
        self._free: list[Lease] = []
        self._all: list[Lease] = []
        self._forgetting: set[asyncio.Task] = set()
        self._names = (
            f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}_{count}" for count in itertools.count()
        )

    @asynccontextmanager
    async def leased(
        self, input_bytes: int, output_bytes: int, until: float
    ) -> AsyncIterator[Lease]:
        """Regions of at least these sizes, for one request.

        The next request may have them if the server has answered this one. Else they are removed.

        Args:
            input_bytes: for the inputs.
            output_bytes: for the outputs; may be 0.
            until: when they must be there, of :func:`time.monotonic`.

        Raises:
            ServerError: the server takes no such memory, is on another host, or does not answer.
            ModelError: a GPU has no room.
        """
        lease = await self._lease(input_bytes, output_bytes, until)
        try:
            yield lease
        except (InputError, ModelNotServed, RequestRefused):  # an answer
            raise
        except BaseException:
            lease.usable = False
            raise
        finally:
            if not lease.usable:
                self._drop(lease)
            elif lease in self._all:  # not closed meanwhile
                self._free.append(lease)

    async def _lease(self, input_bytes: int, output_bytes: int, until: float) -> Lease:
        for index, lease in enumerate(self._free):
            if lease.fits(input_bytes, output_bytes):
                return self._free.pop(index)
        if self._free:
            self._drop(self._free.pop())
        lease = Lease(self._kind, next(self._names), input_bytes, output_bytes)
        self._all.append(lease)
        try:
            for region in lease.regions:
                await self._ask(region.register, left_s(until), **region.registration())
        except RequestRefused:
            self._drop(lease)
            raise
        except BaseException:  # not answered: the server may be about to make them known
            self._drop(lease, _LATE_S)
            raise
        return lease

    async def close(self) -> None:
        """Remove all regions, here and from the server."""
        self._free.clear()
        for lease in list(self._all):
            self._drop(lease)
        if self._forgetting:
            _, late = await asyncio.wait(self._forgetting, timeout=self._close_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _drop(self, lease: Lease, after_s: float = 0.0) -> None:
        """Remove regions here at once, and from the server in the background, after a while."""
        if lease not in self._all:
            return
        self._all.remove(lease)
        lease.destroy()
        task = asyncio.create_task(self._forget(lease, after_s))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, lease: Lease, after_s: float) -> None:
        await asyncio.sleep(after_s)
        until = time.monotonic() + _BUSY_S
        for region in lease.regions:
            while True:
                try:
                    await self._ask(region.unregister, _FORGET_S, name=region.name)
                    break
                except ClrError as error:  # a server that is gone holds no regions
                    if _IN_USE not in str(error) or time.monotonic() > until:
                        break
                await asyncio.sleep(_AGAIN_S)
