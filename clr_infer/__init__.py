"""Undo image cropping.

Protect a picture with a perturbation that nobody sees; later, from a cropped and recompressed
copy alone, find where it lay in the original frame and recover the whole::

    import clr_infer

    session = clr_infer.load()
    protected = session.protect(image)      # image: HxWx3 uint8, or a PIL image
    found = session.recover(fragment)       # found.located.crop_box, found.image

Importing this package is cheap; networks are loaded by :func:`load`, and torch never is unless
asked for.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import AsyncClient, Client
    from .errors import (
        ClrError,
        EngineMismatch,
        ImageError,
        InputError,
        ModelError,
        OutputError,
        RuntimeUnavailable,
        ServerError,
        UsageError,
        WeightsError,
    )
    from .geometry import Box
    from .results import Located, Protected, Recovered, Simulated
    from .session import Session, load
    from .settings import Settings

_HOMES = {
    "AsyncClient": "client",
    "Box": "geometry",
    "Client": "client",
    "ClrError": "errors",
    "EngineMismatch": "errors",
    "ImageError": "errors",
    "InputError": "errors",
    "Located": "results",
    "ModelError": "errors",
    "OutputError": "errors",
    "Protected": "results",
    "Recovered": "results",
    "RuntimeUnavailable": "errors",
    "ServerError": "errors",
    "Session": "session",
    "Settings": "settings",
    "Simulated": "results",
    "UsageError": "errors",
    "WeightsError": "errors",
    "load": "session",
}

__all__ = [
    "AsyncClient",
    "Box",
    "Client",
    "ClrError",
    "EngineMismatch",
    "ImageError",
    "InputError",
    "Located",
    "ModelError",
    "OutputError",
    "Protected",
    "Recovered",
    "RuntimeUnavailable",
    "ServerError",
    "Session",
    "Settings",
    "Simulated",
    "UsageError",
    "WeightsError",
    "__version__",
    "load",
]

__version__ = "0.2.0"

_checkout = os.path.dirname(__path__[0])
if os.path.exists(os.path.join(_checkout, "setup.py")):  # runs without an installation as well:
    __path__.append(_checkout)  # kernels and export lie beside this folder there, see setup.py


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
