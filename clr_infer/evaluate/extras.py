"""The libraries that only evaluation needs, imported when first used."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import RuntimeUnavailable

__all__ = ["matplotlib_figure", "require_extras", "scipy_ndimage"]


def _unavailable(library: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f'evaluation needs {library}, which is not installed: pip install "clr_infer[evaluate]"'
    )


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise _unavailable(module.partition(".")[0]) from error


def scipy_ndimage() -> Any:
    """The module ``scipy.ndimage``.

    Raises:
        RuntimeUnavailable: scipy is not installed.
    """
    return _load("scipy.ndimage")


def matplotlib_figure() -> Any:
    """The module ``matplotlib.figure``; pyplot and its global state are not needed.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    return _load("matplotlib.figure")


def require_extras() -> None:
    """Fail before a long run rather than after it, when its tables and plots are written.

    Raises:
        RuntimeUnavailable: a library is not installed.
    """
    scipy_ndimage()
    try:
        found = find_spec("matplotlib") is not None
    except ValueError:  # something that is no module stands in its place
        found = False
    if not found:
        raise _unavailable("matplotlib")
