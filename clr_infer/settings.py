"""Limits that guard against hostile or hopeless input."""

from dataclasses import dataclass

__all__ = ["DEFAULT_SETTINGS", "Settings"]


@dataclass(frozen=True)
class Settings:
    """Limits of what is accepted.

    Attributes:
        max_pixels: most pixels of an image, received, protected or recovered.
        max_file_bytes: largest file that is read.
        side_min: least side of an image in pixels.
        aspect_max: longest side over shortest.
        threshold: confidence from which an image is called protected.
        feather_px: width of the soft edge between received and recovered pixels.
    """

    max_pixels: int = 64_000_000
    max_file_bytes: int = 512 * 1024 * 1024
    side_min: int = 32
    aspect_max: float = 10.0
    threshold: float = 0.5
    feather_px: int = 6


DEFAULT_SETTINGS = Settings()
