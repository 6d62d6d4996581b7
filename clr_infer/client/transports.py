"""gRPC and HTTP by tritonclient's own clients, behind one small interface."""

import asyncio
import os
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from ..errors import (
    DeadlineExceeded,
    RuntimeUnavailable,
    ServerError,
    ServerUnavailable,
    UsageError,
)
from .calls import Call, Reply
from .failures import failure
from .shared import Lease

__all__ = ["Transport", "open_transport"]

_T = TypeVar("_T")

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Servers hang up on who asks more often than every five minutes while nothing else is said.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of one's own for each client
]
_grpc_in: set[int] = set()  # processes that used gRPC, of which the others are parents
_DTYPES = {"uint8": "UINT8", "float32": "FP32"}


class Transport(Protocol):
    """How requests reach a server. All of it raises :class:`~clr_infer.errors.ServerError`."""

    async def infer(self, call: Call, timeout_s: float, lease: Lease | None) -> Reply:
        """Send one request and wait for its answer."""
        ...

    async def ask(self, method: str, timeout_s: float, **arguments: Any) -> Any:
        """Call one of tritonclient's methods that are not about inference."""
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...


class _Triton:
    """What both of tritonclient's clients share."""

    def __init__(self, client: Any, module: Any, headers: dict[str, str]) -> None:
        self._client, self._module, self._headers = client, module, headers

    async def infer(self, call: Call, timeout_s: float, lease: Lease | None) -> Reply:
        """Send one request and wait for its answer, see :class:`Transport`."""
        places = lease.place(call.inputs) if lease is not None else {}
        inputs = []
        for name, array in call.inputs.items():
            tensor = self._module.InferInput(name, list(array.shape), _DTYPES[array.dtype.name])
            if name in places:
                tensor.set_shared_memory(*places[name])
            else:
                tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        rooms = lease.rooms(call.output_bytes) if lease is not None else {}
        outputs = []
        for name in call.outputs:
            output = self._module.InferRequestedOutput(name)
            if name in rooms:
                output.set_shared_memory(*rooms[name])
            outputs.append(output)
        result = await self._guard(
            self._infer(
                model_name=call.model,
                inputs=inputs,
                outputs=outputs,
                parameters=call.parameters,
                timeout=int(timeout_s * 1e6),
                headers=self._headers,
            ),
            timeout_s,
        )
        missing = [name for name in call.outputs if result.get_output(name) is None]
        if missing:
            raise ServerError(
                f"{call.model} answered without {', '.join(missing)}: another version?"
            )
        return {
            name: lease.fetch(rooms[name], *self._described(result, name))
            if lease is not None and name in rooms
            else result.as_numpy(name)
            for name in call.outputs
        }

    async def ask(self, method: str, timeout_s: float, **arguments: Any) -> Any:
        """Call a method of tritonclient's client, see :class:`Transport`."""
        called = getattr(self._client, method)(headers=self._headers, **arguments)
        return await self._guard(called, timeout_s)

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.close()

    async def _guard(self, answer: Awaitable[_T], timeout_s: float) -> _T:
        from tritonclient.utils import InferenceServerException

        try:
            return await asyncio.wait_for(answer, timeout_s)
        except InferenceServerException as error:
            raise failure(error.status(), error.message() or "") from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {timeout_s:.3g} s") from error

    async def _infer(self, **arguments: Any) -> Any:
        raise NotImplementedError

    def _described(self, result: Any, name: str) -> tuple[np.dtype, list[int]]:
        """The type and shape of an output that lies elsewhere."""
        raise NotImplementedError


class _Grpc(_Triton):
    async def _infer(self, **arguments: Any) -> Any:
        return await self._client.infer(**arguments)

    def _described(self, result: Any, name: str) -> tuple[np.dtype, list[int]]:
        output = result.get_output(name)
        return _numpy_dtype(output.datatype), list(output.shape)


class _Http(_Triton):
    async def _guard(self, answer: Awaitable[_T], timeout_s: float) -> _T:
        import aiohttp

        try:
            return await super()._guard(answer, timeout_s)
        except aiohttp.ClientError as error:  # refused, reset, or cut off half-way
            raise ServerUnavailable(f"{type(error).__name__}: {error}") from error
        except ConnectionError as error:
            raise ServerUnavailable(str(error)) from error

    async def _infer(self, **arguments: Any) -> Any:
        return await self._client.infer(**{**arguments, "headers": dict(arguments["headers"])})

    def _described(self, result: Any, name: str) -> tuple[np.dtype, list[int]]:
        output = result.get_output(name)
        return _numpy_dtype(output["datatype"]), list(output["shape"])


def _numpy_dtype(name: str) -> np.dtype:
    return np.dtype(next(dtype for dtype, known in _DTYPES.items() if known == name))


def open_transport(
    url: str, *, headers: dict[str, str], tls_ca: Path | None, tls_cert: tuple[Path, Path] | None
) -> Transport:
    """A transport for an address; must be called in the event loop that will use it.

    Args:
        url: ``grpc://``, ``grpcs://``, ``http://`` or ``https://`` with host and port.
        headers: sent with every request; of a name in several spellings the last counts.
        tls_ca: PEM file of the authority that vouches for the server; ``None`` takes the system's.
        tls_cert: PEM files of a certificate of one's own and its key.

    Raises:
        UsageError: not such an address, files that it has no use for, or one that is missing or no
            PEM.
        RuntimeUnavailable: tritonclient is not installed, or gRPC was in use before a fork.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("grpc", "grpcs", "http", "https") or not parts.netloc:
        raise UsageError(
            f"{url!r}: an address is grpc://host:8001 or http://host:8000 (or grpcs, https)"
        )
    secure = parts.scheme in ("grpcs", "https")
    if (tls_ca or tls_cert) and not secure:
        raise UsageError(f"{url!r} is not encrypted: certificates go with grpcs:// and https://")
    for path in (tls_ca, *(tls_cert or ())):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {str(path)!r}")
    # gRPC takes no capitals, and by HTTP the same name in other letters would be sent twice.
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        if parts.scheme.startswith("grpc"):
            return _open_grpc(parts.netloc, secure, lower, tls_ca, tls_cert)
        address = parts.netloc + parts.path.rstrip("/")
        return _open_http(address, secure, lower, tls_ca, tls_cert)
    except ImportError as error:
        raise RuntimeUnavailable(
            f'the client needs tritonclient: pip install "clr_infer[client]" ({error})'
        ) from error


def _open_grpc(
    address: str,
    secure: bool,
    headers: dict[str, str],
    tls_ca: Path | None,
    tls_cert: tuple[Path, Path] | None,
) -> Transport:
    import grpc
    import tritonclient.grpc.aio as module

    _grpc_in.add(os.getpid())
    if len(_grpc_in) > 1:
        raise RuntimeUnavailable(
            "gRPC does not survive a fork: use http:// here, or start processes by 'spawn'"
        )
    creds = None
    if secure:
        creds = grpc.ssl_channel_credentials(
            tls_ca.read_bytes() if tls_ca else None,
            tls_cert[1].read_bytes() if tls_cert else None,
            tls_cert[0].read_bytes() if tls_cert else None,
        )
    client = module.InferenceServerClient(address, creds=creds, channel_args=_CHANNEL)
    return _Grpc(client, module, headers)


def _open_http(
    address: str,
    secure: bool,
    headers: dict[str, str],
    tls_ca: Path | None,
    tls_cert: tuple[Path, Path] | None,
) -> Transport:
    import tritonclient.http.aio as module

    context = None
    if secure:
        try:
            context = ssl.create_default_context(cafile=str(tls_ca) if tls_ca else None)
            if tls_cert:
                context.load_cert_chain(*map(str, tls_cert))
        except OSError as error:
            raise UsageError(f"the certificates cannot be read: {error}") from error
    client = module.InferenceServerClient(
        address, conn_limit=1024, conn_timeout=86400.0, ssl=secure, ssl_context=context
    )
    # Else aiohttp offers gzip, and the server spends 20 ms on packing an image of a megabyte.
    return _Http(client, module, {"accept-encoding": "identity", **headers})
