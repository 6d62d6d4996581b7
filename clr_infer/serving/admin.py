"""What a supervisor may ask of its server, and nobody else: load, unload, wait."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..client.failures import failure
from ..errors import ServerError

__all__ = ["Admin"]

_CALL_S, _LEAST_S = 30.0, 0.1


class Admin:
    """A connection with the secret that opens the model repository's protocol.

    Args:
        address: host and port of gRPC.
        secret: as the server was started with.
    """

    def __init__(self, address: str, secret: str) -> None:
        import tritonclient.grpc

        self._client = tritonclient.grpc.InferenceServerClient(address)
        self._headers = {"triton-grpc-protocol-admin": secret}

    def __enter__(self) -> "Admin":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def ready(self) -> bool:
        """Are the server and all its models ready?

        Raises:
            ServerError: nobody answers.
        """
        return self._ask(self._client.is_server_ready)

    def reload(self, model: str) -> None:
        """Load a model afresh; requests that come meanwhile are told to come again.

        Raises:
            ServerError: it cannot be loaded.
        """
        self._ask(self._client.unload_model, model_name=model, headers=self._headers)
        self._ask(self._client.load_model, model_name=model, headers=self._headers)

    def drain(self, models: list[str], until: float) -> None:
        """Let models finish what they work on and take nothing new.

        Args:
            models: their names.
            until: when to give up, on the clock of ``time.monotonic``.

        Raises:
            ServerError: they are not done by then.
        """
        for model in models:
            unload = self._client.unload_model
            self._ask(unload, _left_s(until), model_name=model, headers=self._headers)
        while busy := self._loaded(until) & set(models):
            if time.monotonic() > until:
                raise ServerError(f"still at work: {', '.join(sorted(busy))}")
            time.sleep(0.05)

    def _loaded(self, until: float) -> set[str]:
        index = self._client.get_model_repository_index
        answer = self._ask(index, _left_s(until), headers=self._headers)
        return {m.name for m in answer.models if m.state in ("READY", "UNLOADING")}

    def _ask(self, method: Callable[..., Any], call_s: float = _CALL_S, **arguments: Any) -> Any:
        from tritonclient.utils import InferenceServerException

        try:
            return method(client_timeout=call_s, **arguments)
        except InferenceServerException as error:
            raise failure(error.status(), error.message() or "") from error


def _left_s(until: float) -> float:
    return min(max(until - time.monotonic(), _LEAST_S), _CALL_S)
