"""The client for ordinary code: the asynchronous one in an event loop of its own thread.

Everything that matters is written once, in :mod:`.asynchronous`; here calls are only handed over.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

from ..errors import UsageError
from ..results import Located, Protected, Recovered, Simulated
from ..settings import Settings
from .asynchronous import DEFAULT_CONCURRENCY, AsyncClient
from .calls import Call, Encoded, parameters, pixels_call
from .under_way import UnderWay, check_concurrency, outcome

__all__ = ["Client"]

_T = TypeVar("_T")

_starting = threading.RLock()


@cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="clr_infer client", daemon=True).start()
    return loop


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all clients of this process."""
    with _starting:
        return _started()


def _forked() -> None:
    """Forget the loop, whose thread the child does not have, and the lock, which may be held."""
    global _starting
    _starting = threading.RLock()
    _started.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Client:
    """Protect, locate and recover on a server; safe to use from several threads.

    A client belongs to the process that opened it: open another after a fork, over HTTP if gRPC
    was in use before.

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

        self._loop = _loop()
        self._client = self._run(opened())

    @property
    def settings(self) -> Settings:
        """The limits that are checked before anything is sent."""
        return self._client.settings

    def _submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        if self._loop is not _loop():
            work.close()
            raise UsageError("this client was opened before a fork; open one in each process")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:  # such as KeyboardInterrupt: nobody waits for the answer
            future.cancel()
            raise

    def protect(
        self, image: object, *, psnr_db: float | None = None, refine: int = 0, copy: bool = False
    ) -> Protected:
        """Protect an image."""
        return self._run(self._client.protect(image, psnr_db=psnr_db, refine=refine, copy=copy))

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
    ) -> Generator[tuple[int, Any], None, None]:
        """Results as they come, failures among them.

        The images are iterated in the caller's thread, and may come of another stream. What is
        under way when the generator is closed is given up.
        """
        check_concurrency(concurrency)
        parameters(method, options)
        return self._outcomes(method, images, concurrency, options)

    def _outcomes(
        self, method: str, images: Iterable[object], concurrency: int, options: dict[str, float]
    ) -> Generator[tuple[int, Any], None, None]:
        calls = UnderWay()

        async def one(image: object) -> Any:
            call = pixels_call(method, image, self.settings, options)
            return await calls.run(self._client.call(call))

        under_way: set[Future[tuple[int, Any]]] = set()
        try:
            for index, image in enumerate(images):
                under_way.add(self._submit(outcome(index, one, image)))
                for future in _done(under_way, wait=len(under_way) >= concurrency):
                    under_way.discard(future)
                    yield future.result()
            while under_way:
                for future in _done(under_way, wait=True):
                    under_way.discard(future)
                    yield future.result()
        finally:
            if under_way:
                self._end(calls)

    def _end(self, calls: UnderWay) -> None:
        if sys.is_finalizing() or self._loop is not _loop():
            return  # nothing runs there any more
        ending = self._submit(calls.close())
        if not self._is_here():  # where the garbage collector may close a generator
            ending.result()

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def health(self) -> dict[str, Any]:
        """Is the server live, is it ready, and which of our models are?"""
        return self._run(self._client.health())

    def stats(self) -> dict[str, dict[str, float]]:
        """Requests, executions and times of each model since the server started."""
        return self._run(self._client.stats())

    def close(self) -> None:
        """Drop connections and shared memory; calls that are under way end with a ServerError."""
        if self._loop is _loop():  # else they are those of the process that forked
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


def _done(futures: set[Future[_T]], wait: bool) -> set[Future[_T]]:
    """Those that have ended, or the first that does."""
    return wait_for(futures, None if wait else 0.0, FIRST_COMPLETED).done
