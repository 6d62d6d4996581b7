"""Is the uncertainty honest? Expected errors of reconstructed pixels against those they have."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["EDGES", "agreement", "count_pixels", "expected_and_measured", "pixel_reliability"]

EDGES = (0, 4, 6, 9, 13, 19, 28, 40, 256)
"""Classes of the uncertainty in levels of 255: from each number up to the next."""


def count_pixels(uncertainty: np.ndarray, squared_error: np.ndarray) -> list[list[float]]:
    """Sort reconstructed pixels by what is expected of them.

    Args:
        uncertainty: N values in levels.
        squared_error: of the same pixels, in squared levels, the mean of RGB.

    Returns:
        For each class of :data:`EDGES`: pixels, the sum of the squared uncertainty, that of the
        squared error.
    """
    which = np.digitize(uncertainty, EDGES[1:-1])
    weights = (None, np.square(uncertainty, dtype=np.float64), squared_error)
    sums = [np.bincount(which, weight, len(EDGES) - 1) for weight in weights]
    return np.stack(sums, axis=1).round(1).tolist()


def pixel_reliability(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Expected and measured error of each class that occurs, over all cases.

    Args:
        rows: cases of a report; those without a reconstruction are left out.

    Returns:
        ``low``, ``high`` (levels), ``share`` of all reconstructed pixels, ``expected`` and
        ``measured`` error (levels, root mean square).
    """
    counted = [row["uncertainty"] for row in rows if row["uncertainty"] is not None]
    if not counted:
        return []
    total = np.sum(counted, axis=0)
    return [
        {
            "low": low,
            "high": high,
            "share": pixels / total[:, 0].sum(),
            "expected": (expected / pixels) ** 0.5,
            "measured": (measured / pixels) ** 0.5,
        }
        for low, high, (pixels, expected, measured) in zip(
            EDGES[:-1], EDGES[1:], total.tolist(), strict=True
        )
        if pixels
    ]


def expected_and_measured(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """The PSNR that was expected of the cropped-out area and the one that it has: Nx2, in dB.

    Args:
        rows: cases of a report; those without either are left out.
    """
    pairs = [(row["expected_psnr_out"], row["predicted_psnr_out"]) for row in rows]
    return np.array([pair for pair in pairs if None not in pair]).reshape(-1, 2)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 0 where one of the two never changes."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


def agreement(rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """How well what was expected of cropped-out areas came true.

    Args:
        rows: cases of a report.

    Returns:
        ``cases``, mean ``expected`` and ``measured`` PSNR in dB, ``off`` (the mean distance of the
        two) and their ``correlation``; ``None`` without at least two cases.
    """
    expected, measured = expected_and_measured(rows).T
    if len(expected) < 2:
        return None
    return {
        "cases": len(expected),
        "expected": float(expected.mean()),
        "measured": float(measured.mean()),
        "off": float(np.abs(expected - measured).mean()),
        "correlation": _correlation(expected, measured),
    }
