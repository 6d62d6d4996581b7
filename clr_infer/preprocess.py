"""Images of any size to the network's frame and back: the only home of that arithmetic."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from .image_checks import check_pixels, check_size

__all__ = [
    "check_pixels",
    "check_size",
    "from_frame",
    "reduce_pixels",
    "resize_pixels",
    "strips_of",
    "to_frame",
    "to_pixels",
]

_STRIP_ROWS = 64


def to_frame(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretch an image, HxWx3 uint8, to the frame: 3xSxS float32 in [0, 1], antialiased."""
    frame = Image.fromarray(pixels)
    if frame.size != (size, size):
        frame = frame.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(frame, np.float32).transpose(2, 0, 1) / np.float32(255.0)


def resize_pixels(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image, HxWx3 or HxW uint8, with antialiasing (bicubic)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return to_pixels(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def reduce_pixels(pixels: np.ndarray, area_max: float) -> np.ndarray:
    """Reduce an image, HxWx3 uint8, to so many pixels, about; a smaller one stays as it is."""
    height, width = pixels.shape[:2]
    scale = min(1.0, (area_max / (width * height)) ** 0.5)
    return resize_pixels(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def from_frame(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """Stretch a frame, 3xSxS float32 in [0, 1], to an 8-bit RGB image of any size."""
    pixels = np.rint(np.clip(frame, 0.0, 1.0).transpose(1, 2, 0) * 255.0).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def strips_of(picture: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a picture, some at a time: Pillow would hand over a large one in three copies."""
    width, height = picture.size
    for top in range(0, height, _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS, height))
        yield rows, np.asarray(picture.crop((0, rows.start, width, rows.stop)))


def to_pixels(picture: Image.Image) -> np.ndarray:
    """The pixels of an 8-bit RGB or gray picture, HxWx3 or HxW uint8, of nobody else."""
    width, height = picture.size
    pixels = np.empty((height, width, 3) if picture.mode == "RGB" else (height, width), np.uint8)
    for rows, strip in strips_of(picture):
        pixels[rows] = strip
    return pixels
