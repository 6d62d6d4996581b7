"""Images of any size to the network's frame and back: the only home of that arithmetic."""

import numpy as np
from PIL import Image

from .errors import ImageError
from .settings import Settings

__all__ = ["check_pixels", "check_size", "from_frame", "resize_pixels", "to_frame"]


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


def check_pixels(image: object, settings: Settings) -> np.ndarray:
    """Take an image as callers have it: a PIL image or an array HxWx3 uint8.

    Raises:
        ImageError: wrong type, dtype, rank, channels or size.
    """
    if isinstance(image, Image.Image):
        check_size(*image.size, settings)
        return np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ImageError(f"an image is a uint8 array HxWx3 or a PIL image, not {kind}")
    if image.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8 (0 to 255), not {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"an image array must be HxWx3 (RGB), not {image.shape}")
    check_size(image.shape[1], image.shape[0], settings)
    return np.ascontiguousarray(image)


def to_frame(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretch an image, HxWx3 uint8, to the frame: 3xSxS float32 in [0, 1], antialiased."""
    frame = Image.fromarray(pixels)
    if frame.size != (size, size):
        frame = frame.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(frame, np.float32).transpose(2, 0, 1) / np.float32(255.0)


def resize_pixels(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image, HxWx3 uint8, with antialiasing (bicubic)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def from_frame(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """Stretch a frame, 3xSxS float32 in [0, 1], to an 8-bit RGB image of any size."""
    pixels = np.rint(np.clip(frame, 0.0, 1.0).transpose(1, 2, 0) * 255.0).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
