"""The client for asyncio; the other one, :class:`.Client`, runs it in a thread."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, nullcontext
from pathlib import Path
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import Any

from ..errors import (
    ClrError,
    DeadlineExceeded,
    ModelNotServed,
    RequestRefused,
    ServerUnavailable,
    UsageError,
)
from ..results import Located, Protected, Recovered, Simulated
from ..serving.contract import IMAGE_MODELS, REFINE_MODEL
from ..settings import DEFAULT_SETTINGS, Settings
from ..specs import SPECS
from .calls import Call, Encoded, encoded_call, parameters, pixels_call
from .regions import region_kind
from .retry import Budget, Retry, left_s
from .shared import SharedMemory
from .statistics import model_statistics
from .transports import Transport, open_transport
from .under_way import UnderWay, bounded, check_concurrency

__all__ = ["DEFAULT_CONCURRENCY", "DEFAULT_TIMEOUT_S", "AsyncClient"]

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_CONCURRENCY = 16
_CLOSE_S = 5.0  # for a server to forget regions of shared memory; a client's end waits for it
_NOT_REFINING = "this server does not refine: it was set up without --refine"

_log = logging.getLogger(__name__)


class AsyncClient:
    """Protect, locate and recover on a server.

    The methods and results are those of :class:`clr_infer.Session`; images may also be the bytes
    of an image file, which are sent as they are.

    Args:
        url: ``grpc://host:8001``, ``grpcs://``, ``http://host:8000`` or ``https://``.
        timeout_s: the time that a call may take, retries included; every call has one.
        retry: how to ask again while the server is unavailable.
        shared_memory: ``True`` or ``"system"`` passes pixels through system shared memory,
            ``"cuda"`` through the first GPU's; client and server share a host.
        token: sent as ``Authorization: Bearer``, whatever ``headers`` say; use it with TLS only.
        headers: sent with every request.
        tls_ca: PEM file of the authority behind the server's certificate.
        tls_cert: PEM files of a client certificate and its key.
        settings: limits, checked before anything is sent; the server has its own, and its own
            threshold, feather and secret of copies.

    Raises:
        UsageError: no such address, or no such time.
        RuntimeUnavailable: tritonclient is not installed, or there is no such shared memory here.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = Retry(),  # noqa: B008 - frozen
        shared_memory: bool | str = False,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        tls_ca: Path | None = None,
        tls_cert: tuple[Path, Path] | None = None,
        settings: Settings = DEFAULT_SETTINGS,
    ) -> None:
        if not 0 < timeout_s <= TIMEOUT_MAX:
            raise UsageError(f"timeout_s must be above 0 and finite, not {timeout_s!r}")
        kind = region_kind(shared_memory)
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self._transport: Transport = open_transport(
            url, headers={**(headers or {}), **bearer}, tls_ca=tls_ca, tls_cert=tls_cert
        )
        self.url, self.timeout_s, self.settings = url, timeout_s, settings
        self._retry, self._budget = retry, Budget(retry)
        self._under_way = UnderWay()
        close_s, ask = min(timeout_s, _CLOSE_S), self._transport.ask
        self._shared = SharedMemory(kind, ask, close_s) if kind else None

    async def protect(
        self, image: object, *, psnr_db: float | None = None, refine: int = 0, copy: bool = False
    ) -> Protected:
        """Protect an image, see :meth:`clr_infer.Session.protect`.

        A server refines if it was told to serve that, one image after the other, and until nobody
        waits any more: ``timeout_s`` has to hold the seconds or minutes of an image.
        """
        options = _protecting(psnr_db, refine, copy)
        return await self.call(pixels_call("protect", image, self.settings, options))

    async def locate(self, image: object, *, turned: bool = False) -> Located:
        """Locate a fragment, see :meth:`clr_infer.Session.locate`."""
        return await self.call(pixels_call("locate", image, self.settings, {"turned": turned}))

    async def recover(self, image: object, *, turned: bool = False) -> Recovered:
        """Recover the original of a fragment, see :meth:`clr_infer.Session.recover`."""
        return await self.call(pixels_call("recover", image, self.settings, {"turned": turned}))

    async def fg_jpeg(self, image: object, qf: float) -> Simulated:
        """Simulate JPEG, see :meth:`clr_infer.Session.fg_jpeg`."""
        return await self.call(pixels_call("fg_jpeg", image, self.settings, {"qf": qf}))

    async def protect_encoded(
        self,
        image: object,
        *,
        psnr_db: float | None = None,
        refine: int = 0,
        copy: bool = False,
        format: str = "png",
        quality: int | None = None,
        strip: bool = False,
    ) -> Encoded:
        """Protect an image file and take an image file back; EXIF, profile and alpha are kept.

        Args:
            image: the file's bytes, or pixels.
            psnr_db: strength, see :meth:`protect`.
            refine: steps to improve the payload by, likewise.
            copy: also write a copy of the original, which only lossless formats keep.
            format: ``"png"``, ``"jpeg"``, ``"webp"``, ``"tiff"`` or ``"bmp"``.
            quality: 1 to 100, of jpeg and webp.
            strip: drop EXIF and the colour profile.
        """
        writing = {"format": format, "quality": quality, "strip": strip}
        options = _protecting(psnr_db, refine, copy)
        return await self.call(encoded_call("protect", image, self.settings, options, **writing))

    async def recover_encoded(
        self,
        image: object,
        *,
        turned: bool = False,
        format: str = "png",
        quality: int | None = None,
        strip: bool = False,
    ) -> Encoded:
        """Recover from an image file to an image file.

        See :meth:`recover` and :meth:`protect_encoded`.
        """
        writing = {"format": format, "quality": quality, "strip": strip}
        options = {"turned": turned}
        return await self.call(encoded_call("recover", image, self.settings, options, **writing))

    async def protect_batch(
        self,
        images: Sequence[object],
        *,
        psnr_db: float | None = None,
        refine: int = 0,
        copy: bool = False,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: bool = False,
    ) -> list[Protected]:
        """Protect several images at once, see :meth:`batch`."""
        how = _protecting(psnr_db, refine, copy)
        calls = (pixels_call("protect", image, self.settings, how) for image in images)
        return await self.batch(calls, len(images), concurrency, progress)

    async def locate_batch(
        self,
        images: Sequence[object],
        *,
        turned: bool = False,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: bool = False,
    ) -> list[Located]:
        """Locate several fragments at once, see :meth:`batch`."""
        how = {"turned": turned}
        calls = (pixels_call("locate", image, self.settings, how) for image in images)
        return await self.batch(calls, len(images), concurrency, progress)

    async def recover_batch(
        self,
        images: Sequence[object],
        *,
        turned: bool = False,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: bool = False,
    ) -> list[Recovered]:
        """Recover several originals at once, see :meth:`batch`."""
        how = {"turned": turned}
        calls = (pixels_call("recover", image, self.settings, how) for image in images)
        return await self.batch(calls, len(images), concurrency, progress)

    async def fg_jpeg_batch(
        self,
        images: Sequence[object],
        qf: float,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: bool = False,
    ) -> list[Simulated]:
        """Simulate JPEG on several images at once, see :meth:`batch`."""
        calls = (pixels_call("fg_jpeg", image, self.settings, {"qf": qf}) for image in images)
        return await self.batch(calls, len(images), concurrency, progress)

    async def batch(
        self, calls: Iterable[Call], count: int, concurrency: int, progress: bool
    ) -> list[Any]:
        """Send calls, some at a time, which the server batches; results come in order.

        Args:
            calls: made one by one, as they are sent.
            count: how many there are, for the progress bar.
            concurrency: how many may be under way.
            progress: draw a bar on standard error.

        Raises:
            ClrError: the first failure; calls that are under way are given up.
        """
        check_concurrency(concurrency)
        results: dict[int, Any] = {}
        outcomes = bounded(calls, self.call, concurrency)
        with _bar(count, progress) as bar:
            async with aclosing(outcomes):
                async for index, outcome in outcomes:
                    if isinstance(outcome, ClrError):
                        raise outcome
                    results[index] = outcome
                    bar.update()
        return [results[index] for index in sorted(results)]

    def stream(
        self,
        method: str,
        images: Iterable[object],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        **options: float,
    ) -> AsyncGenerator[tuple[int, Any], None]:
        """Results as they come, each with the index of its image; failures are among them.

        What is under way when the generator is closed (``aclose()``) is given up.

        Args:
            method: ``"protect"``, ``"locate"``, ``"recover"`` or ``"fg_jpeg"``.
            images: taken as there is room; may be endless.
            concurrency: how many may be under way.
            **options: ``psnr_db``, ``refine``, ``copy``, ``turned`` or ``qf``.

        Returns:
            A generator of the index, and the result or the :class:`~clr_infer.errors.ClrError` of
            that image.

        Raises:
            InputError: there is no such method or option, or the concurrency is under 1.
        """
        check_concurrency(concurrency)
        parameters(method, options)

        async def one(image: object) -> Any:
            return await self.call(pixels_call(method, image, self.settings, options))

        return bounded(images, one, concurrency)

    async def health(self) -> dict[str, Any]:
        """Is the server live, is it ready, and which of our models are?

        The ready flag of a model may be wrong; :func:`clr_infer.serving.golden.check` is not. The
        one that refines is named where it is ready; not every server has it.

        Raises:
            DeadlineExceeded: not all of it was told within the client's time.
        """
        names = [spec.name for spec in IMAGE_MODELS.values()]
        names += [spec.model_name for spec in SPECS.values()]
        until = time.monotonic() + self.timeout_s
        try:
            live = await self._state("is_server_live", until)
            ready = await self._state("is_server_ready", until)
            models = {
                name: await self._state("is_model_ready", until, model_name=name)
                for name in (*names, REFINE_MODEL.name)
            }
        except ServerUnavailable:
            return {"live": False, "ready": False, "models": dict.fromkeys(names, False)}
        except DeadlineExceeded as error:
            raise DeadlineExceeded(self._too_late(None)) from error
        if not models[REFINE_MODEL.name]:
            del models[REFINE_MODEL.name]
        return {"live": live, "ready": ready and all(models.values()), "models": models}

    async def stats(self) -> dict[str, dict[str, float]]:
        """Requests, executions and mean times of each model since the server started."""
        until = time.monotonic() + self.timeout_s
        return model_statistics(await self._state("get_inference_statistics", until))

    async def close(self) -> None:
        """Drop connections and shared memory; calls that are under way end with a ServerError."""
        await self._under_way.close()
        if self._shared is not None:
            await self._shared.close()
        await self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _state(self, method: str, until: float, **arguments: Any) -> Any:
        asked = self._transport.ask(method, left_s(until), **arguments)
        return await self._under_way.run(asked)

    async def call(self, call: Call) -> Any:
        """Send a call until it is answered, its time is over or the budget is spent.

        Raises:
            ServerError: no answer, not the one that was asked for, or the client was closed.
            InputError: the server cannot use the image or an option.
        """
        return await self._under_way.run(self._answer(call, time.monotonic() + self.timeout_s))

    async def _answer(self, call: Call, until: float) -> Any:
        attempt = 0
        unavailable: ServerUnavailable | None = None
        while True:
            try:
                result = call.parse(await self._send(call, until))
            except DeadlineExceeded as error:
                raise DeadlineExceeded(self._too_late(unavailable)) from error
            except ModelNotServed as error:
                if call.model == REFINE_MODEL.name:
                    raise ModelNotServed(_NOT_REFINING) from error
                raise
            except ServerUnavailable as error:
                unavailable = error
                pause_s = self._retry.pause_s(attempt)
                if time.monotonic() + pause_s >= until or not self._budget.take():
                    raise
                _log.info("%s: trying again in %.2f s: %s", call.model, pause_s, error)
                await asyncio.sleep(pause_s)
                if time.monotonic() >= until:  # it slept longer than it was told to
                    raise
                attempt += 1
            else:
                self._budget.succeeded()
                return result

    def _too_late(self, unavailable: ServerUnavailable | None) -> str:
        before = f"; before, it was unavailable: {unavailable}" if unavailable else ""
        return f"no answer of {self.url} within {self.timeout_s:g} s{before}"

    async def _send(self, call: Call, until: float) -> Any:
        if self._shared is not None:
            sizes = sum(a.nbytes for a in call.inputs.values()), sum(call.output_bytes.values())
            async with self._shared.leased(*sizes, until) as lease:
                try:
                    return await self._transport.infer(call, left_s(until), lease)
                except (ModelNotServed, RequestRefused) as error:
                    # The server forgot the regions, or the result has no room in them.
                    if "shared memory" not in str(error):
                        raise
                    lease.usable = False
        return await self._transport.infer(call, left_s(until), None)


def _protecting(psnr_db: float | None, refine: int, copy: bool) -> dict[str, Any]:
    strength = {} if psnr_db is None else {"psnr_db": psnr_db}
    return {**strength, "refine": refine, "copy": copy}


class _NoBar(nullcontext):
    def update(self) -> None:
        pass

    def __enter__(self) -> "_NoBar":
        return self


def _bar(count: int, shown: bool) -> Any:
    if not shown:
        return _NoBar()
    from tqdm import tqdm

    return tqdm(total=count, unit="image")
