"""What a server's refusal means as an error of ours."""

from .. import errors
from ..errors import ClrError, InputError, ServerError

__all__ = ["failure"]

_BY_STATUS: dict[str, type[ServerError]] = {
    "UNAVAILABLE": errors.ServerUnavailable,
    "503": errors.ServerUnavailable,
    "429": errors.ServerUnavailable,
    "RESOURCE_EXHAUSTED": errors.RequestRefused,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "499": errors.DeadlineExceeded,
    "CANCELLED": errors.DeadlineExceeded,
    "NOT_FOUND": errors.ModelNotServed,
    "404": errors.ModelNotServed,
    "UNAUTHENTICATED": errors.AccessDenied,
    "401": errors.AccessDenied,
    "PERMISSION_DENIED": errors.AccessDenied,
    "403": errors.AccessDenied,
    "INVALID_ARGUMENT": errors.RequestRefused,
    "400": errors.RequestRefused,
}
_NOT_READY = ("is not ready", "is not available", "has no available versions")


def failure(status: str | None, message: str) -> ClrError:
    """The error to raise.

    Errors of our own models about an image come back as the class that a session would raise.

    Args:
        status: gRPC's name of the code, with or without ``StatusCode.``, or HTTP's number.
        message: the server's words.
    """
    code = (status or "").removeprefix("StatusCode.")
    kind = _BY_STATUS.get(code, ServerError)
    name, found, text = message.partition(": ")
    ours = getattr(errors, name, None)
    if found and isinstance(ours, type) and issubclass(ours, InputError):
        return ours(text)
    if "protocol is restricted" in message or "API is restricted" in message:
        return errors.AccessDenied(message)  # the server itself says UNAVAILABLE
    if kind in (errors.ModelNotServed, errors.RequestRefused) and _loading(message):
        return errors.ServerUnavailable(message)
    return kind(message or f"the server answered {code or 'nothing'}")


def _loading(message: str) -> bool:
    """Is this a model that is being loaded, rather than one that is not there?"""
    return any(words in message for words in _NOT_READY)
