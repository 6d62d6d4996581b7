"""Plain borders around a received image: screenshots, letterboxes, slides, frames of a site."""

from collections.abc import Callable

import numpy as np

from .errors import ImageError
from .geometry import Box
from .image_checks import check_size
from .preprocess import resize_pixels
from .settings import Settings
from .specs import CELL

__all__ = ["inside_border", "was_added"]

_FLAT, _PLAIN = 1.0, 6.0
"""Most mean deviation from its colour, in levels of 255, of the outermost line, and of those after
it: JPEG leaves a flat colour flat, but for what rings where the picture begins."""

_BLOCK = 32
"""Lines that are looked at together."""

_SOFT = 2
"""Lines that resizing or JPEG has mixed with the border; they are cut off with it."""

_OUTSIDE_MAX = 0.01
"""Share of the frame by which a border that belongs to the original may seem to lie outside it."""

_WIDTH_MIN = 2 * CELL
"""Pixels of the frame: the payload holds nothing that is narrower, so that nobody can say."""

_UNLIKELY, _LEVELS_MIN = 2.5, 10.0
"""How far from the border's colour the recovered original must be for the border to be none of its
own: in deviations of what the recover network is unsure of, and in levels of 255. On held-out
photographs that told 99.6 % of added borders, and mistook a tenth of those that were protected with
the picture, most of them after halving or JPEG 60."""


def _depth(lines: np.ndarray) -> int:
    """How many lines, DxLx3 from the outermost inwards, are of one plain colour."""
    if not len(lines):
        return 0
    colour = np.median(lines[0], axis=0).astype(np.float32)

    def far(part: np.ndarray) -> np.ndarray:
        """The mean deviation of each line from that colour."""
        return np.abs(np.subtract(part, colour, dtype=np.float32)).mean((1, 2))

    if far(lines[:1])[0] > _FLAT:
        return 0
    for start in range(1, len(lines), _BLOCK):
        other = far(lines[start : start + _BLOCK]) > _PLAIN
        if other.any():
            return start + int(other.argmax()) + _SOFT
    return len(lines) + _SOFT


def inside_border(pixels: np.ndarray, settings: Settings) -> tuple[int, int, int, int] | None:
    """Find the picture within a plain border, which each side may have or not.

    Args:
        pixels: HxWx3 uint8.
        settings: limits that the picture has to keep, too.

    Returns:
        x0, y0, x1, y1 in whole pixels, or ``None`` where there is no border, or nothing inside.
    """
    height, width = pixels.shape[:2]
    y0 = _depth(pixels)
    y1 = height - _depth(pixels[:y0:-1])
    if y1 <= y0:
        return None
    columns = pixels[y0:y1].swapaxes(0, 1)
    x0 = _depth(columns)
    x1 = width - _depth(columns[:x0:-1])
    if (x0, y0, x1, y1) == (0, 0, width, height) or x1 <= x0:
        return None
    try:
        check_size(x1 - x0, y1 - y0, settings)
    except ImageError:
        return None
    return x0, y0, x1, y1


def was_added(
    pixels: np.ndarray,
    picture_px: tuple[int, int, int, int],
    crop_box: Box,
    size: int,
    recover: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> bool:
    """Was a plain border put around a picture after it was protected?

    If not, the original shows it: its place is in the frame, and what the recover network reads
    there, from the picture alone, is the border's colour.

    Args:
        pixels: HxWx3 uint8, with the border.
        picture_px: what lies within it, see :func:`inside_border`.
        crop_box: of the picture.
        size: side of the networks' frame, S.
        recover: recovers from the picture alone, where that is asked for: the frame, 3xSxS
            float32 in [0, 1], and the standard deviation of its error, (S/4)x(S/4).
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = picture_px
    across = (crop_box.x1 - crop_box.x0) / (right - left)
    down = (crop_box.y1 - crop_box.y0) / (bottom - top)
    grown = (-left * across, -top * down, (width - right) * across, (height - bottom) * down)
    with_border = np.add(crop_box, grown)
    if np.abs(with_border - crop_box).max() * size < _WIDTH_MIN:
        return False
    if with_border.min() < -_OUTSIDE_MAX or with_border.max() > 1.0 + _OUTSIDE_MAX:
        return True
    left, top, right, bottom = np.rint(with_border.clip(0.0, 1.0) * size).astype(int).tolist()
    border = np.zeros((size, size), bool)
    border[top:bottom, left:right] = True
    inner = np.array(crop_box) * size
    (x0, y0), (x1, y1) = inner[:2].astype(int), np.ceil(inner[2:]).astype(int)
    border[y0:y1, x0:x1] = False
    if not border.any():
        return False
    recovered, uncertainty = recover()
    shown = np.zeros((size, size, 3), np.float32)
    shown[top:bottom, left:right] = resize_pixels(pixels, right - left, bottom - top)
    squared = np.square(255.0 * recovered.transpose(1, 2, 0) - shown).mean(-1)[border].mean()
    expected = np.square(255.0 * uncertainty).repeat(CELL, 0).repeat(CELL, 1)[border].mean()
    return bool(squared > max(_UNLIKELY**2 * expected, _LEVELS_MIN**2))
