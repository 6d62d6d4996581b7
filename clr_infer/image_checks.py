"""Which images are taken, by type and size; needs no image library."""

import sys

import numpy as np

from .errors import ImageError
from .settings import Settings

__all__ = ["check_canvas", "check_pixels", "check_size"]


def check_size(width: int, height: int, settings: Settings) -> None:
    """Refuse sizes that are too small, too long or too large.

    Raises:
        ImageError: the message names the limit.
    """
    if min(width, height) < settings.side_min:
        raise ImageError(
            f"the image is {width}x{height} pixels; each side needs at least {settings.side_min}"
        )
    if max(width, height) > settings.aspect_max * min(width, height):
        raise ImageError(
            f"the image is {width}x{height} pixels; the long side may be at most "
            f"{settings.aspect_max:g} times the short one"
        )
    if width * height > settings.max_pixels:
        raise ImageError(
            f"the image is {width}x{height} = {width * height / 1e6:.0f} megapixels; the limit is "
            f"{settings.max_pixels / 1e6:g} (raise it with max_pixels)"
        )


def check_canvas(width: int, height: int, settings: Settings) -> None:
    """Refuse originals that would be larger than the limit.

    Raises:
        ImageError: the message names the limit.
    """
    if width * height > settings.max_pixels:
        raise ImageError(
            f"the original frame would be {width}x{height} pixels, over the limit of "
            f"{settings.max_pixels / 1e6:g} megapixels (raise max_pixels, or reduce the image)"
        )


def check_pixels(image: object, settings: Settings) -> np.ndarray:
    """Take an image as callers have it: a PIL image or an array HxWx3 uint8.

    A PIL image is set upright as its EXIF orientation asks for, and its alpha is left out.

    Raises:
        ImageError: wrong type, dtype, rank, channels or size; a PIL image that cannot be decoded.
    """
    pillow = sys.modules.get("PIL.Image")  # whoever holds a PIL image has imported it
    if pillow is not None and isinstance(image, pillow.Image):
        from .image_modes import upright_rgb

        width, height = image.size
        check_size(width, height, settings)
        return upright_rgb(image)[0]
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ImageError(f"an image is a uint8 array HxWx3 or a PIL image, not {kind}")
    if image.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8 (0 to 255), not {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"an image array must be HxWx3 (RGB), not {image.shape}")
    check_size(image.shape[1], image.shape[0], settings)
    return np.ascontiguousarray(image)
