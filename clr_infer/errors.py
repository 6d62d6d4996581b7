"""Everything that this package raises on purpose.

::

    ClrError                    anything below; has ``exit_code``
    |-- InputError              an argument or an image cannot be used (also a ValueError)
    |   |-- ImageError          a file or its pixels
    |   `-- UsageError          a combination of options
    |-- OutputError             a result cannot be written (also an OSError)
    `-- ModelError              weights or networks
        |-- EngineMismatch      an engine that was not built for this machine
        |-- WeightsError        missing, damaged or foreign weights
        `-- RuntimeUnavailable  the runtime asked for does not work here
"""

__all__ = [
    "ClrError",
    "EngineMismatch",
    "ImageError",
    "InputError",
    "ModelError",
    "OutputError",
    "RuntimeUnavailable",
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
    """Options that do not go together."""

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
