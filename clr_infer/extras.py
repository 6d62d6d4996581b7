"""Libraries of the extras, imported when they are asked for."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .errors import RuntimeUnavailable

__all__ = ["load_extra", "require_installed", "unavailable"]


def unavailable(
    library: str, what: str, extra: str, why: object = "it is not installed"
) -> RuntimeUnavailable:
    """What to raise where a library is missing, or broken."""
    return RuntimeUnavailable(f'{what} needs {library}: pip install "clr_infer[{extra}]" ({why})')


def load_extra(module: str, what: str, extra: str) -> Any:
    """Import a module.

    Args:
        module: its name.
        what: needs it, for the message.
        extra: of the package that brings it.

    Raises:
        RuntimeUnavailable: it is not installed, or broken.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise unavailable(module.partition(".")[0], what, extra, error) from error


def require_installed(module: str, what: str, extra: str) -> None:
    """Say before long work that a module is missing, without importing it, see :func:`load_extra`.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    try:
        found = find_spec(module) is not None
    except ValueError:  # something that is no module stands in its place
        found = False
    if not found:
        raise unavailable(module, what, extra)
