"""Everything that this package raises on purpose.

::

    ClrError                    anything below; has ``exit_code``
    |-- InputError              an argument or an image cannot be used (also a ValueError)
    |   |-- ImageError          a file or its pixels
    |   `-- UsageError          a combination of options
    |-- OutputError             a result cannot be written (also an OSError)
    |-- ModelError              weights or networks
    |   |-- EngineMismatch      an engine that was not built for this machine
    |   |-- WeightsError        missing, damaged or foreign weights
    |   `-- RuntimeUnavailable  the runtime asked for does not work here
    `-- ServerError             a server's answer, or none
        |-- ServerUnavailable   not there, shutting down or overloaded; asking again may help
        |-- DeadlineExceeded    no answer within the time given (also a TimeoutError)
        |-- ModelNotServed      the server has no such model
        |-- AccessDenied        the server wants other credentials
        `-- RequestRefused      the server takes no such request: other versions on the two sides
"""

__all__ = [
    "AccessDenied",
    "ClrError",
    "DeadlineExceeded",
    "EngineMismatch",
    "ImageError",
    "InputError",
    "ModelError",
    "ModelNotServed",
    "OutputError",
    "RequestRefused",
    "RuntimeUnavailable",
    "ServerError",
    "ServerUnavailable",
    "UsageError",
    "WeightsError",
]


class ClrError(Exception):
    """Base of all errors; the message says what to do."""

    exit_code = 1


class InputError(ClrError, ValueError):
    """An argument cannot be used."""


class ImageError(InputError):
    """An image file or array cannot be used."""


class UsageError(InputError):
    """An option that is unknown or out of range, or options that do not go together."""

    exit_code = 2


class OutputError(ClrError, OSError):
    """A result cannot be written; nothing was left half-written."""


class ModelError(ClrError):
    """Weights or networks cannot be used."""

    exit_code = 3


class WeightsError(ModelError):
    """Weights are missing, damaged, or not those of this manifest."""


class EngineMismatch(ModelError):
    """An engine was not built from this network, by this library, or for this machine."""


class RuntimeUnavailable(ModelError):
    """The runtime asked for does not work here."""


class ServerError(ClrError):
    """A server did not do what it was asked to."""

    exit_code = 4


class ServerUnavailable(ServerError):
    """No server there, or one that cannot answer now; the same request may succeed later."""


class DeadlineExceeded(ServerError, TimeoutError):
    """No answer within the time given."""


class ModelNotServed(ServerError):
    """The server has no such model."""


class AccessDenied(ServerError):
    """The server wants other credentials."""


class RequestRefused(ServerError):
    """The server takes no such request: it is not of this version."""
