"""Plain borders around a received image: screenshots, letterboxes, slides, frames of a site."""

from collections.abc import Iterator

import numpy as np

from .errors import ImageError
from .image_checks import check_size
from .settings import Settings

__all__ = ["inside_border"]

_FLAT, _PLAIN = 1.0, 6.0
"""Most mean deviation from its colour, in levels of 255, of the outermost line, and of those after
it: JPEG leaves a flat colour flat, but for what rings where the picture begins."""

_SOFT = 2
"""Lines that resizing or JPEG has mixed with the border; they are cut off with it."""


def _depth(lines: Iterator[np.ndarray]) -> int:
    """How many lines, each Nx3, from the outermost inwards, are of one plain colour."""
    colour, depth = None, 0
    for line in lines:
        if colour is None:
            colour = np.median(line, axis=0)
        if np.abs(line - colour).mean() > (_PLAIN if depth else _FLAT):
            break
        depth += 1
    return depth + _SOFT if depth else 0


def inside_border(pixels: np.ndarray, settings: Settings) -> tuple[int, int, int, int] | None:
    """Find the picture within a plain border, which each side may have or not.

    Args:
        pixels: HxWx3 uint8.
        settings: limits that the picture has to keep, too.

    Returns:
        x0, y0, x1, y1 in whole pixels, or ``None`` where there is no border, or nothing inside.
    """
    height, width = pixels.shape[:2]
    y0 = _depth(pixels[y] for y in range(height))
    y1 = height - _depth(pixels[y] for y in range(height - 1, y0, -1))
    if y1 <= y0:
        return None
    rows = pixels[y0:y1]
    x0 = _depth(rows[:, x] for x in range(width))
    x1 = width - _depth(rows[:, x] for x in range(width - 1, x0, -1))
    if (x0, y0, x1, y1) == (0, 0, width, height) or x1 <= x0:
        return None
    try:
        check_size(x1 - x0, y1 - y0, settings)
    except ImageError:
        return None
    return x0, y0, x1, y1
