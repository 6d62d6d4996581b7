"""Limits that guard against hostile or hopeless input, and the key of copies."""

import os
from dataclasses import dataclass, field

from .errors import InputError

__all__ = ["DEFAULT_SETTINGS", "KEY_VARIABLE", "Settings", "key_of_environment"]

KEY_VARIABLE = "CLR_INFER_COPY_KEY"
"""The environment variable that commands and servers take the key of copies from."""


@dataclass(frozen=True)
class Settings:
    """Limits of what is accepted, and the key of copies.

    Attributes:
        max_pixels: most pixels of an image, received, protected or recovered.
        max_file_bytes: largest file that is read.
        side_min: least side of an image in pixels.
        aspect_max: longest side over shortest.
        threshold: confidence from which an image is called protected.
        feather_px: width of the soft edge between received and recovered pixels.
        copy_key: a random secret that copies are written and read with, see :mod:`.fragile_copy`:
            only those of the same key are read, and nobody else can have written them. Without one
            anybody can.
    """

    max_pixels: int = 64_000_000
    max_file_bytes: int = 512 * 1024 * 1024
    side_min: int = 32
    aspect_max: float = 10.0
    threshold: float = 0.5
    feather_px: int = 6
    copy_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse a key that is text, as its bytes would depend on an encoding, and senseless sizes.

        Raises:
            InputError: the key is not bytes, or a size is too small.
        """
        if not isinstance(self.copy_key, bytes):
            raise InputError(f"copy_key is bytes, not {type(self.copy_key).__name__}")
        for name, least in (("side_min", 1), ("feather_px", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is at least {least}, not {getattr(self, name)}")


DEFAULT_SETTINGS = Settings()


def key_of_environment() -> bytes:
    """The key in :data:`KEY_VARIABLE`, without white space around it; empty if there is none."""
    return os.fsencode(os.environ.get(KEY_VARIABLE, "").strip())
