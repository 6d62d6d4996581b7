r"""Measures of images, of boxes and of verdicts. Numpy and scipy; no torch.

PSNR is taken over all three channels of 8-bit images. SSIM and MS-SSIM are those of Wang et al.
(2003, 2004) on luma: an 11x11 Gaussian window of sigma 1.5, data range 255, K1 0.01, K2 0.03::

    ssim = (2 mx my + C1) / (mx^2 + my^2 + C1)  *  (2 sxy + C2) / (sx^2 + sy^2 + C2)
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..geometry import Box
from ..residual import psnr_of_mse
from .extras import scipy_ndimage

__all__ = [
    "MS_SSIM_SIDE_MIN",
    "corner_error_px",
    "cropped_out_f1",
    "local_mean",
    "luma",
    "ms_ssim",
    "psnr",
    "psnr_of_errors",
    "psnr_outside",
    "rates",
    "roc_auc",
    "squared_error",
    "ssim",
    "ssim_map",
    "ssim_outside",
    "whole_windows",
]

_SIGMA = 1.5
_RADIUS = 5
_C1, _C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: Least side of an image for :func:`ms_ssim`: one whole window at the coarsest scale.
MS_SSIM_SIDE_MIN = (2 * _RADIUS + 1) * 2 ** (len(_MS_WEIGHTS) - 1)


def _check_pair(a: np.ndarray, b: np.ndarray, side_min: int = 1) -> None:
    if a.shape != b.shape:
        raise InputError(f"images of different shapes cannot be compared: {a.shape}, {b.shape}")
    if a.ndim not in (2, 3) or min(a.shape[:2]) < side_min:
        raise InputError(f"images are HxW or HxWx3 of at least {side_min} pixels, not {a.shape}")


def _outside(a: np.ndarray, seen: np.ndarray) -> np.ndarray:
    if seen.shape != a.shape[:2] or seen.dtype != bool:
        raise InputError(f"the mask must be bool {a.shape[:2]}, not {seen.dtype} {seen.shape}")
    if seen.all():
        raise InputError("nothing was cropped away: there is no area to measure")
    return ~seen


def squared_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared difference of two uint8 images of one shape, summed over channels: HxW int32.

    Raises:
        InputError: the shapes differ.
    """
    _check_pair(a, b)
    difference = a.astype(np.int16) - b
    squares = np.square(difference, dtype=np.int32)
    return squares if squares.ndim == 2 else squares[..., 0] + squares[..., 1] + squares[..., 2]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of two uint8 images of one shape, 100 at most.

    Raises:
        InputError: the shapes differ.
    """
    return psnr_of_errors(squared_error(a, b), a.ndim)


def psnr_outside(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> float:
    """PSNR in dB over the cropped-out area.

    Args:
        a: HxWx3 uint8.
        b: HxWx3 uint8.
        seen: HxW bool, false where content was cropped away; at least one pixel is.

    Raises:
        InputError: the shapes differ, or nothing was cropped away.
    """
    errors = squared_error(a, b)
    return psnr_of_errors(errors[_outside(a, seen)], a.ndim)


def psnr_of_errors(errors: np.ndarray, dimensions: int = 3) -> float:
    """PSNR in dB of some pixels of :func:`squared_error`, of images of so many dimensions."""
    return psnr_of_mse(float(errors.mean()) / (3 if dimensions == 3 else 1))


def luma(image: np.ndarray) -> np.ndarray:
    """Luma of HxWx3 by BT.601, float64, 0 to 255, not rounded; HxW is luma already."""
    if image.ndim == 2:
        return image.astype(np.float64)
    return image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def local_mean(plane: np.ndarray) -> np.ndarray:
    """The Gaussian-weighted mean around each pixel of a plane HxW float64."""
    return scipy_ndimage().gaussian_filter(plane, _SIGMA, truncate=_RADIUS / _SIGMA)


def _terms(
    a: np.ndarray, b: np.ndarray, mean_a: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The luminance term and the contrast-structure term at each pixel of two planes HxW."""
    mean_a, mean_b = local_mean(a) if mean_a is None else mean_a, local_mean(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    luminance = (2.0 * product + _C1) / (squares + _C1)
    covariance = local_mean(a * b) - product
    variances = local_mean(a * a + b * b) - squares
    return luminance, (2.0 * covariance + _C2) / (variances + _C2)


def whole_windows(values: np.ndarray) -> np.ndarray:
    """The part of a map whose windows lie inside the image."""
    return values[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


def ssim_map(a: np.ndarray, b: np.ndarray, mean_a: np.ndarray | None = None) -> np.ndarray:
    """SSIM at each pixel, HxW float64, -1 to 1; the images are mirrored at the frame's edge.

    Args:
        a: HxWx3 or HxW, 0 to 255.
        b: the same shape.
        mean_a: :func:`local_mean` of the first's luma, where it is at hand: saves a quarter.

    Raises:
        InputError: the shapes differ, or a side is less than 11 pixels.
    """
    _check_pair(a, b, 2 * _RADIUS + 1)
    luminance, structure = _terms(luma(a), luma(b), mean_a)
    return luminance * structure


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM on luma, over the windows that lie inside the frame; see :func:`ssim_map`."""
    return float(whole_windows(ssim_map(a, b)).mean())


def ssim_outside(similarity: np.ndarray, seen: np.ndarray) -> float:
    """Mean SSIM over the cropped-out area; windows at its edge see beyond it.

    Args:
        similarity: HxW, see :func:`ssim_map`.
        seen: HxW bool, false where content was cropped away; at least one pixel is.

    Raises:
        InputError: the shapes differ, or nothing was cropped away.
    """
    return float(similarity[_outside(similarity, seen)].mean())


def _halve(plane: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in plane.shape)
    return plane[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale SSIM on luma, five scales, 0 to 1.

    Args:
        a: HxWx3 or HxW, 0 to 255.
        b: the same shape.

    Raises:
        InputError: the shapes differ, or a side is less than ``MS_SSIM_SIDE_MIN`` pixels.
    """
    _check_pair(a, b, MS_SSIM_SIDE_MIN)
    one, other = luma(a), luma(b)
    result = 1.0
    for scale, weight in enumerate(_MS_WEIGHTS):
        luminance, structure = _terms(one, other)
        if scale == len(_MS_WEIGHTS) - 1:
            structure = luminance * structure
        # A negative mean (structure inverted) has no real power: it counts as none at all.
        result *= max(float(whole_windows(structure).mean()), 0.0) ** weight
        one, other = _halve(one), _halve(other)
    return result


def cropped_out_f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """F1 of the cropped-out area, 0 to 1; 1 if nothing was cropped away and nothing is said to be.

    Args:
        predicted: HxW crop mask, zero where content was cropped away.
        true: the same, as it is.

    Raises:
        InputError: the shapes differ.
    """
    _check_pair(predicted, true)
    said, real = predicted == 0, true == 0
    total = int(said.sum()) + int(real.sum())
    return 2.0 * int((said & real).sum()) / total if total else 1.0


def corner_error_px(predicted: Box, true: Box, width: int, height: int) -> float:
    """Distance of the worst of four edges, in pixels of a ``width`` x ``height`` original."""
    scale = (width, height, width, height)
    return max(abs(p - t) * s for p, t, s in zip(predicted, true, scale, strict=True))


def roc_auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    Raises:
        InputError: there is no positive or no negative.
    """
    if not len(positives) or not len(negatives):
        raise InputError("an AUC needs at least one positive and one negative")
    below = np.sort(np.asarray(negatives, np.float64))
    strictly = np.searchsorted(below, positives, "left")
    at_most = np.searchsorted(below, positives, "right")
    return float((strictly + at_most).mean() / 2.0 / len(below))


def rates(
    positives: Sequence[float], negatives: Sequence[float], threshold: float
) -> tuple[float, float]:
    """True and false positive rate when scores of at least ``threshold`` are called positive.

    Raises:
        InputError: there is no positive or no negative.
    """
    if not len(positives) or not len(negatives):
        raise InputError("rates need at least one positive and one negative")
    return (
        float((np.asarray(positives) >= threshold).mean()),
        float((np.asarray(negatives) >= threshold).mean()),
    )
