"""The client for ordinary code: the asynchronous one in an event loop of its own thread.

Everything that matters is written once, in :mod:`.asynchronous`; here calls are only handed over.
"""

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

from ..results import Located, Protected, Recovered, Simulated
from ..settings import Settings
from .asynchronous import DEFAULT_CONCURRENCY, AsyncClient
from .calls import Call, Encoded

__all__ = ["Client"]

_T = TypeVar("_T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all clients of this process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="clr_infer client", daemon=True).start()
    return loop


class Client:
    """Protect, locate and recover on a server; safe to use from several threads.

    The methods and results are those of :class:`clr_infer.Session`; images may also be the bytes
    of an image file. For each method, its arguments and its errors see :class:`.AsyncClient`.

    Args:
        url: ``grpc://host:8001``, ``grpcs://``, ``http://host:8000`` or ``https://``.
        **options: those of :class:`.AsyncClient`: ``timeout_s``, ``retry``, ``shared_memory``,
            ``token``, ``headers``, ``tls_ca``, ``tls_cert`` and ``settings``.

    Raises:
        UsageError: no such address.
        RuntimeUnavailable: tritonclient is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        async def opened() -> AsyncClient:
            return AsyncClient(url, **options)

        self._client = self._run(opened())

    @property
    def settings(self) -> Settings:
        """The limits that are checked before anything is sent."""
        return self._client.settings

    @staticmethod
    def _run(work: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, _loop())
        try:
            return future.result()
        except BaseException:  # such as KeyboardInterrupt: nobody waits for the answer
            future.cancel()
            raise

    def protect(
        self, image: object, *, psnr_db: float | None = None, copy: bool = False
    ) -> Protected:
        """Protect an image."""
        return self._run(self._client.protect(image, psnr_db=psnr_db, copy=copy))

    def locate(self, image: object, *, turned: bool = False) -> Located:
        """Say whether an image is protected and where in its original it lay."""
        return self._run(self._client.locate(image, turned=turned))

    def recover(self, image: object, *, turned: bool = False) -> Recovered:
        """Recover the whole original of a fragment."""
        return self._run(self._client.recover(image, turned=turned))

    def fg_jpeg(self, image: object, qf: float) -> Simulated:
        """Show an image as JPEG 4:2:0 would leave it."""
        return self._run(self._client.fg_jpeg(image, qf))

    def protect_encoded(self, image: object, **options: Any) -> Encoded:
        """Protect an image file and take an image file back."""
        return self._run(self._client.protect_encoded(image, **options))

    def recover_encoded(self, image: object, **options: Any) -> Encoded:
        """Recover from an image file to an image file."""
        return self._run(self._client.recover_encoded(image, **options))

    def protect_batch(self, images: Sequence[object], **options: Any) -> list[Protected]:
        """Protect several images at once."""
        return self._run(self._client.protect_batch(images, **options))

    def locate_batch(self, images: Sequence[object], **options: Any) -> list[Located]:
        """Locate several fragments at once."""
        return self._run(self._client.locate_batch(images, **options))

    def recover_batch(self, images: Sequence[object], **options: Any) -> list[Recovered]:
        """Recover several originals at once."""
        return self._run(self._client.recover_batch(images, **options))

    def fg_jpeg_batch(self, images: Sequence[object], qf: float, **options: Any) -> list[Simulated]:
        """Simulate JPEG on several images at once."""
        return self._run(self._client.fg_jpeg_batch(images, qf, **options))

    def call(self, call: Call) -> Any:
        """Send a request of one's own making."""
        return self._run(self._client.call(call))

    def stream(
        self,
        method: str,
        images: Iterable[object],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        **options: float,
    ) -> Iterator[tuple[int, Any]]:
        """Results as they come, failures among them."""
        outcomes: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                source = self._client.stream(method, images, concurrency=concurrency, **options)
                async for outcome in source:
                    outcomes.put(outcome)
            finally:
                outcomes.put(None)

        pumping = asyncio.run_coroutine_threadsafe(pump(), _loop())
        try:
            while (outcome := outcomes.get()) is not None:
                yield outcome
            pumping.result()
        finally:
            pumping.cancel()

    def health(self) -> dict[str, Any]:
        """Is the server live, is it ready, and which of our models are?"""
        return self._run(self._client.health())

    def stats(self) -> dict[str, dict[str, float]]:
        """Requests, executions and times of each model since the server started."""
        return self._run(self._client.stats())

    def close(self) -> None:
        """Drop connections and shared memory."""
        self._run(self._client.close())

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
