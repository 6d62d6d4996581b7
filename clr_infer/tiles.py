"""Pictures of any size in overlapping tiles, for networks that work on native pixels.

Tiles overlap by two MCUs of JPEG and start on the grid of MCUs, so that what a tile's border does
to its neighbourhood is never seen.
"""

from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["join_tiles", "split_tiles"]

_MCU_PX = 16


def _spans(length: int, size: int) -> list[tuple[int, int, int]]:
    """Of one axis: where each tile starts, and the first and the last pixel kept of it."""
    spans = []
    for start in range(0, length, size - 2 * _MCU_PX):
        first = start + _MCU_PX if start else 0
        if start + size >= length:
            spans.append((start, first, length))
            break
        spans.append((start, first, start + size - _MCU_PX))
    return spans


def split_tiles(pixels: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut an image, HxWx3 uint8, into tiles, row by row: 3xSxS float32 in [0, 1].

    What lies beyond the image repeats its edge, as in JPEG.
    """
    height, width = pixels.shape[:2]
    for top, _, _ in _spans(height, size):
        for left, _, _ in _spans(width, size):
            part = pixels[top : top + size, left : left + size]
            beyond = [(0, size - length) for length in part.shape[:2]]
            tile = np.pad(part, (*beyond, (0, 0)), mode="edge")
            yield tile.transpose(2, 0, 1) / np.float32(255.0)


def join_tiles(tiles: Iterable[np.ndarray], size: int, height: int, width: int) -> np.ndarray:
    """Put tiles, 3xSxS float32 in [0, 1], together again as they come: HxWx3 uint8."""
    joined = np.empty((height, width, 3), np.uint8)
    source = iter(tiles)
    for top, first_row, last_row in _spans(height, size):
        for left, first, last in _spans(width, size):
            kept = next(source)[:, first_row - top : last_row - top, first - left : last - left]
            levels = np.rint(np.clip(kept, 0.0, 1.0) * 255.0)
            joined[first_row:last_row, first:last] = levels.transpose(1, 2, 0).astype(np.uint8)
    return joined
