"""Calls that are under way: some at a time, and all of them ended when nobody wants them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ..errors import ClrError, InputError, ServerError

__all__ = ["UnderWay", "bounded", "check_concurrency", "end", "outcome"]

_T = TypeVar("_T")


class UnderWay:
    """The calls of one client, which end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task] = set()
        self._closed = False

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for work that ends with the client.

        Raises:
            ServerError: the client was closed, before or meanwhile.
        """
        if self._closed:
            work.close()
            raise ServerError("the client is closed")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not self._closed or (caller is not None and caller.cancelling()):
                raise
            raise ServerError("the client was closed before the answer came") from None
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """End what is under way; nothing can be begun any more."""
        self._closed = True
        await end(self._tasks)


async def end(tasks: Iterable[asyncio.Future]) -> None:
    """Cancel tasks and wait for their end."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def check_concurrency(concurrency: int) -> None:
    """Refuse to do nothing at a time.

    Raises:
        InputError: it is not a whole number of at least 1.
    """
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InputError(f"concurrency must be a whole number from 1 on, not {concurrency!r}")


async def outcome(index: int, do: Callable[[Any], Awaitable[Any]], item: object) -> tuple[int, Any]:
    """The index of an item, and the result of doing something with it or the error of ours."""
    try:
        return index, await do(item)
    except ClrError as error:
        return index, error


async def bounded(
    items: Iterable[Any], do: Callable[[Any], Awaitable[Any]], concurrency: int
) -> AsyncGenerator[tuple[int, Any], None]:
    """Do something with each item, some at a time; outcomes as they come, failures included.

    An item is taken when there is room for it. What is under way when the generator is closed is
    cancelled and waited for.
    """
    under_way: set[asyncio.Task] = set()
    try:
        for index, item in enumerate(items):
            under_way.add(asyncio.create_task(outcome(index, do, item)))
            for task in await _done(under_way, wait=len(under_way) >= concurrency):
                under_way.discard(task)
                yield task.result()
        while under_way:
            for task in await _done(under_way, wait=True):
                under_way.discard(task)
                yield task.result()
    finally:
        await end(under_way)


async def _done(tasks: set[asyncio.Task], wait: bool) -> set[asyncio.Task]:
    """Those that have ended, or the first that does."""
    timeout_s = None if wait else 0.0
    return (await asyncio.wait(tasks, timeout=timeout_s, return_when="FIRST_COMPLETED"))[0]
