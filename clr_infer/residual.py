"""Adding a residual to an image at native size and exact strength: its only home."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from .specs import not_finite

__all__ = ["mean_squared_error", "merge_residual", "psnr_of_mse", "residual_psnr_db"]

_STRIP_ROWS = 256


def psnr_of_mse(mse: float) -> float:
    """PSNR in dB of a mean squared error on the 0-255 scale, at most 100."""
    return min(100.0, 10.0 * float(np.log10(255.0**2 / max(mse, 1e-12))))


def _squares(difference: np.ndarray) -> float:
    """The sum of squares of whole numbers, HxWx3 float32; of small ones exact within a row."""
    return float(np.einsum("ywc,ywc->y", difference, difference).sum(dtype=np.float64))


def mean_squared_error(a: np.ndarray, b: np.ndarray) -> float:
    """That of two images HxWx3 uint8, on the 0-255 scale."""
    error = 0.0
    for top in range(0, len(a), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        error += _squares(np.subtract(a[rows], b[rows], dtype=np.float32))
    return error / a.size


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
        strip = np.empty((rows, width, 3), np.float32)
        for channel, plane in enumerate(planes):
            part = plane.resize((width, rows), Image.Resampling.BILINEAR, box=box)
            strip[..., channel] = np.asarray(part)
        yield slice(top, top + rows), strip


@functools.lru_cache(maxsize=32)
def _gram(size: int, length: int) -> tuple[np.ndarray, ...]:
    """The diagonals, from the main one up, of U^T U, where U resizes S samples to ``length``."""
    identity = Image.fromarray(np.eye(size, dtype=np.float32))
    filters = np.asarray(identity.resize((size, length), Image.Resampling.BILINEAR))
    diagonals: list[np.ndarray] = []
    while len(diagonals) < size:
        step = len(diagonals)
        products = filters[:, step:] * filters[:, : size - step]
        if not products.any():
            break
        diagonals.append(products.sum(0, dtype=np.float64).astype(np.float32))
    return tuple(diagonals)


def _banded(diagonals: Sequence[np.ndarray], planes: np.ndarray) -> np.ndarray:
    """A symmetric band matrix times each column of planes, 3xSxN."""
    product = diagonals[0][:, None] * planes
    for step, diagonal in enumerate(diagonals[1:], 1):
        product[:, :-step] += diagonal[:, None] * planes[:, step:]
        product[:, step:] += diagonal[:, None] * planes[:, :-step]
    return product


def _stretched_power(residual: np.ndarray, width: int, height: int) -> float:
    """The sum of squares of a residual, 3xSxS, resized to an image; no pass at its size.

    With the filters U and V of both axes, |U R V^T|^2 = <(U^T U) R, R (V^T V)>, and both products
    are narrow bands.
    """
    size = residual.shape[1]
    down = _banded(_gram(size, height), residual)
    across = _banded(_gram(size, width), residual.transpose(0, 2, 1)).transpose(0, 2, 1)
    return float((down * across).sum(dtype=np.float64))


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

    Raises:
        ModelError: the residual is zero, or not finite.
    """
    height, width = pixels.shape[:2]
    power = _stretched_power(residual, width, height)
    if not 0.0 < power < np.inf:
        raise not_finite("protect", "a residual that is zero or not finite")
    gain = np.float32(255.0 * 10 ** (-psnr_db / 20) / np.sqrt(power / pixels.size))
    scaled = residual * gain
    merged = np.empty_like(pixels)
    error = 0.0
    for rows, strip in _strips(scaled, width, height):
        original = pixels[rows]
        strip += original
        np.clip(np.rint(strip, out=strip), 0.0, 255.0, out=strip)
        merged[rows] = strip
        strip -= original
        error += _squares(strip)
    return merged, psnr_of_mse(error / pixels.size)
