"""Who answers whole images: this process, the server by each way, and the FastAPI peer."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..client import AsyncClient
from ..errors import ServerError
from ..image_io import read_image
from ..session import Session

__all__ = ["Contestant", "Stats", "in_process", "peer_service", "server"]

_TIMEOUT_S = 120.0

Ask = Callable[[str], Awaitable[Any]]
Stats = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Contestant:
    """One who answers.

    Attributes:
        facts: what tells it from the others in a result file.
        pid: its topmost process, ``None`` if that is not ours to look at.
        open: gives what asks it one call by name, and what asks for its statistics, if any.
    """

    facts: dict[str, Any]
    pid: int | None
    open: Callable[[], contextlib.AbstractAsyncContextManager[tuple[Ask, Stats | None]]]

    @property
    def label(self) -> str:
        """For people."""
        words = [str(self.facts["contestant"]), self.facts["transport"]]
        words.append("shared memory" if self.facts["shared_memory"] else None)
        words.append(f"{self.facts['threads'] or 'all'} cores a call")
        return ", ".join(word for word in words if word)


def _facts(name: str, transport: str | None, shared_memory: bool, threads: int) -> dict[str, Any]:
    return {
        "contestant": name,
        "transport": transport,
        "shared_memory": shared_memory,
        "threads": threads,
    }


def in_process(session: Session, threads: int, content: dict[str, bytes], most: int) -> Contestant:
    """A session in this process: threads in place of a server.

    Args:
        session: with so many threads to a call.
        threads: 0 for all cores.
        content: the image file of each call.
        most: calls at the same time.
    """

    def answered(call: str) -> Any:
        return getattr(session, call)(read_image(content[call]).pixels)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Ask, Stats | None]]:
        with ThreadPoolExecutor(most) as pool:
            loop = asyncio.get_running_loop()
            yield (lambda call: loop.run_in_executor(pool, answered, call)), None

    return Contestant(_facts("session", None, False, threads), os.getpid(), opened)


def server(
    url: str, pid: int | None, shared_memory: bool, threads: int, content: dict[str, bytes]
) -> Contestant:
    """The server, asked by our client: files, or with shared memory pixels decoded in every call.

    Args:
        url: whose scheme is the transport.
        pid: of the server, if it is on this host.
        shared_memory: pass pixels so.
        threads: of each network instance, 0 for all cores.
        content: the image file of each call.
    """

    async def given(call: str) -> Any:
        if not shared_memory:
            return content[call]
        return (await asyncio.to_thread(read_image, content[call])).pixels

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Ask, Stats | None]]:
        async with AsyncClient(url, shared_memory=shared_memory, timeout_s=_TIMEOUT_S) as client:

            async def ask(call: str) -> Any:
                return await getattr(client, call)(await given(call))

            yield ask, client.stats

    transport = url.partition(":")[0]
    return Contestant(_facts("server", transport, shared_memory, threads), pid, opened)


def peer_service(url: str, pid: int, threads: int, content: dict[str, bytes]) -> Contestant:
    """The FastAPI service of :mod:`.peer`.

    Args:
        url: its address.
        pid: its process.
        threads: of each call, 0 for all cores.
        content: the image file of each call.
    """
    import aiohttp

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Ask, Stats | None]]:
        every_caller, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=every_caller, timeout=timeout) as http:

            async def ask(call: str) -> bytes:
                try:
                    async with http.post(f"{url}/{call}", data=content[call]) as answer:
                        answer.raise_for_status()
                        return await answer.read()
                except (aiohttp.ClientError, TimeoutError) as error:  # counted, as the server's
                    raise ServerError(f"the FastAPI peer did not answer: {error}") from error

            yield ask, None

    return Contestant(_facts("FastAPI", "http", False, threads), pid, opened)
