"""Adding a residual to an image at native size and exact strength: its only home."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["merge_residual", "psnr_of_mse", "residual_psnr_db"]

_STRIP_ROWS = 256


def psnr_of_mse(mse: float) -> float:
    """PSNR in dB of a mean squared error on the 0-255 scale, at most 100."""
    return min(100.0, 10.0 * float(np.log10(255.0**2 / max(mse, 1e-12))))


def residual_psnr_db(residual: np.ndarray) -> float:
    """The strength of a residual of the protect network as it is, as PSNR in dB."""
    return psnr_of_mse(255.0**2 * float(np.square(residual, dtype=np.float64).mean()))


def _strips(residual: np.ndarray, width: int, height: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The residual, 3xSxS, bilinearly resized to the image, a strip of rows at a time."""
    planes = [Image.fromarray(plane) for plane in residual]
    size = residual.shape[1]
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        box = (0.0, top * size / height, float(size), (top + rows) * size / height)
        parts = [p.resize((width, rows), Image.Resampling.BILINEAR, box=box) for p in planes]
        yield slice(top, top + rows), np.stack([np.asarray(part) for part in parts], axis=-1)


def merge_residual(
    pixels: np.ndarray, residual: np.ndarray, psnr_db: float
) -> tuple[np.ndarray, float]:
    """Add a residual to an image so that its PSNR is what was asked for.

    Args:
        pixels: the original, HxWx3 uint8.
        residual: 3xSxS float32, from the protect network, of any strength.
        psnr_db: strength of the residual at native size, before clipping and rounding.

    Returns:
        The protected image, HxWx3 uint8, and its measured PSNR in dB.
    """
    height, width = pixels.shape[:2]
    power = sum(
        float(np.square(part, dtype=np.float64).sum())
        for _, part in _strips(residual, width, height)
    )
    gain = np.float32(255.0 * 10 ** (-psnr_db / 20) / np.sqrt(power / pixels.size))
    merged = np.empty_like(pixels)
    error = 0.0
    for rows, part in _strips(residual, width, height):
        strip = np.rint(pixels[rows] + gain * part)
        merged[rows] = np.clip(strip, 0.0, 255.0, out=strip)
        difference = merged[rows].astype(np.float32) - pixels[rows]
        error += float(np.square(difference).sum(dtype=np.float64))
    return merged, psnr_of_mse(error / pixels.size)
