"""Confidences against the truth: thresholds, ROC curves, reliability. Numpy alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["calibration_error", "reliability", "roc_curve", "threshold_at"]

_STEP = 1e-6
"""Confidences are published with so many digits."""


def threshold_at(negatives: Sequence[float], rate: float) -> float:
    """The least threshold that at most a share ``rate`` of the negatives reach.

    Args:
        negatives: confidences of unprotected images, with six digits.
        rate: 0 to 1; under ``1 / len(negatives)`` it stands for none at all.

    Raises:
        InputError: there are no negatives.
    """
    if not len(negatives):
        raise InputError("a threshold needs at least one negative")
    falling = np.sort(np.asarray(negatives, np.float64))[::-1]
    allowed = int(rate * len(falling))
    if allowed >= len(falling):
        return 0.0
    return round(float(falling[allowed]) + _STEP, 6)


def roc_curve(
    positives: Sequence[float], negatives: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold that occurs, from (0, 0) to (1, 1).

    Raises:
        InputError: there is no positive or no negative.
    """
    if not len(positives) or not len(negatives):
        raise InputError("a ROC curve needs at least one positive and one negative")
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    found = [
        np.searchsorted(np.sort(np.asarray(values)), thresholds, "left")
        for values in (negatives, positives)
    ]
    rates = [1.0 - below / len(v) for below, v in zip(found, (negatives, positives), strict=True)]
    return np.concatenate([[0.0], rates[0]]), np.concatenate([[0.0], rates[1]])


def reliability(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10
) -> list[dict[str, Any]]:
    """How often each range of confidence is right.

    Args:
        confidences: 0 to 1.
        right: whether what was said with it holds.
        bins: ranges of equal width.

    Returns:
        One row a range that occurs: ``low``, ``high``, ``cases``, mean ``confidence``, ``right``
        (a share).

    Raises:
        InputError: there is no case, or the lengths differ.
    """
    if len(confidences) != len(right) or not len(confidences):
        raise InputError("reliability needs at least one case, and a truth for each")
    said, truth = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    which = np.minimum((said * bins).astype(int), bins - 1)
    return [
        {
            "low": one / bins,
            "high": (one + 1) / bins,
            "cases": int((which == one).sum()),
            "confidence": float(said[which == one].mean()),
            "right": float(truth[which == one].mean()),
        }
        for one in np.unique(which).tolist()
    ]


def calibration_error(rows: Sequence[dict[str, Any]]) -> float:
    """Expected calibration error of :func:`reliability`: mean distance, weighted by cases."""
    cases = np.array([row["cases"] for row in rows])
    distance = np.array([abs(row["confidence"] - row["right"]) for row in rows])
    return float((cases * distance).sum() / cases.sum())
