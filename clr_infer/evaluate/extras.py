"""The libraries that only evaluation needs, imported when first used."""

from typing import Any

from ..extras import load_extra, require_installed

__all__ = ["matplotlib_figure", "require_extras", "scipy_ndimage"]


_FOR = ("evaluation", "evaluate")


def scipy_ndimage() -> Any:
    """The module ``scipy.ndimage``.

    Raises:
        RuntimeUnavailable: scipy is not installed.
    """
    return load_extra("scipy.ndimage", *_FOR)


def matplotlib_figure() -> Any:
    """The module ``matplotlib.figure``; pyplot and its global state are not needed.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    return load_extra("matplotlib.figure", *_FOR)


def require_extras() -> None:
    """Fail before a long run rather than after it, when its tables and plots are written.

    Raises:
        RuntimeUnavailable: a library is not installed.
    """
    scipy_ndimage()
    require_installed("matplotlib", *_FOR)
