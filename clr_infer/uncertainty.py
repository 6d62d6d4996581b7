"""How far off reconstructed pixels may be, from the recover network's cells to the canvas."""

import numpy as np
from PIL import Image

from .geometry import Box
from .preprocess import strips_of
from .residual import psnr_of_mse

__all__ = ["expected_psnr_db", "spread_cells"]


def spread_cells(cells: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Stretch the uncertainty of a frame's cells to the canvas.

    Args:
        cells: rows x columns float32, in levels of 255.
        mask: canvas height x width uint8, not 0 where pixels were received.

    Returns:
        Canvas height x width uint8: the standard deviation of each reconstructed pixel's error in
        levels, at least 1; 0 where pixels were received.
    """
    stretched = Image.fromarray(cells).resize(mask.shape[::-1], Image.Resampling.BILINEAR)
    levels = np.empty(mask.shape, np.uint8)
    for rows, strip in strips_of(stretched):
        levels[rows] = np.clip(np.rint(strip), 1.0, 255.0)
    levels[mask > 0] = 0
    return levels


def _covered(start: float, stop: float, count: int) -> np.ndarray:
    """The share of each of ``count`` equal parts of [0, 1] that an interval covers."""
    edges = np.linspace(0.0, 1.0, count + 1)
    overlap = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
    return np.clip(overlap, 0.0, None) * count


def expected_psnr_db(cells: np.ndarray, crop_box: Box) -> float | None:
    """The PSNR in dB that the cropped-out area should have, if the box is right.

    Args:
        cells: rows x columns, the uncertainty in levels of 255.
        crop_box: what was kept.

    Returns:
        ``None`` where nothing was cropped away.
    """
    rows, columns = cells.shape
    kept_rows = _covered(crop_box.y0, crop_box.y1, rows)
    kept_columns = _covered(crop_box.x0, crop_box.x1, columns)
    missing = 1.0 - np.outer(kept_rows, kept_columns)
    if missing.sum() < 0.5:  # half a cell: only rounding
        return None
    return psnr_of_mse(float((np.square(cells, dtype=np.float64) * missing).sum() / missing.sum()))
