"""Rows of cases to the numbers of the tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..geometry import FULL_FRAME, Box, box_iou
from .baselines import BASELINES, BLUR_SIGMAS_PX, blur_name
from .metrics import rates, roc_auc
from .protocol import kept_range

__all__ = ["aggregate", "mean_of", "summarise", "visibility"]

Row = dict[str, Any]

_MEASURES = ("psnr_out", "ssim_out", "psnr", "ssim")


def mean_of(rows: Sequence[Row], key: str) -> float | None:
    """The mean of a column, missing values left out; ``None`` if nothing is left."""
    values = [row[key] for row in rows if row[key] is not None]
    return round(float(np.mean(values)), 6) if values else None


def _corner_median_px(rows: Sequence[Row]) -> float | None:
    """A box that was not found is infinitely far off; ``None`` if that is the median."""
    errors = [np.inf if row["corner_px"] is None else row["corner_px"] for row in rows]
    ordered = sorted(errors)  # np.median would make nan of two infinities
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return None if np.isinf(high) else round((low + high) / 2.0, 6)


def _detection(rows: Sequence[Row]) -> dict[str, Any]:
    positives = [row["confidence"] for row in rows]
    negatives = [row["unprotected_confidence"] for row in rows]
    verdicts = [[row[key] for row in rows] for key in ("protected", "unprotected_verdict")]
    tpr, fpr = rates(verdicts[0], verdicts[1], threshold=True)
    return {
        "cases": len(rows),
        "tpr": round(tpr, 6),
        "fpr": round(fpr, 6),
        "auc": round(roc_auc(positives, negatives), 6),
    }


def _constants(rows: Sequence[Row]) -> dict[str, Any]:
    """The IoU of two answers that look at no image; the mean box is that of these very rows."""
    boxes = [Box(*row["box"]) for row in rows]
    mean_box = Box(*(float(v) for v in np.mean(boxes, axis=0)))
    return {
        "whole_frame_iou": round(float(np.mean([box_iou(FULL_FRAME, b) for b in boxes])), 6),
        "mean_box": [round(v, 6) for v in mean_box],
        "mean_box_iou": round(float(np.mean([box_iou(mean_box, b) for b in boxes])), 6),
    }


def _best(rows: Sequence[Row], measure: str) -> dict[str, Any] | None:
    """The baseline of the highest mean over these rows."""
    means = {name: mean_of(rows, f"{name}_{measure}") for name in BASELINES}
    known = {name: value for name, value in means.items() if value is not None}
    if not known:
        return None
    name = max(known, key=known.__getitem__)
    return {"name": name, "value": known[name]}


def _gain(value: float | None, best: dict[str, Any] | None) -> float | None:
    return None if value is None or best is None else round(value - best["value"], 6)


def _best_blur_px(rows: Sequence[Row], measure: str) -> int | None:
    means = {sigma: mean_of(rows, f"{blur_name(sigma)}_{measure}") for sigma in BLUR_SIGMAS_PX}
    known = {sigma: value for sigma, value in means.items() if value is not None}
    return max(known, key=known.__getitem__) if known else None


def summarise(rows: Sequence[Row]) -> dict[str, Any] | None:
    """The numbers of a group of cases; ``None`` of an empty group.

    Means over the cropped-out area (``*_out``, ``f1_mean``, gains) leave the uncropped cases out
    and are ``None`` where there are no others. ``gain`` is the method's mean minus that of the
    best baseline; that baseline, and ``blur_sigma_px`` of the blurred outpaintings, are chosen
    anew for each group and measure, by their means over the group itself.
    """
    if not rows:
        return None
    ious = np.array([row["iou"] for row in rows])
    best = {measure: _best(rows, measure) for measure in _MEASURES}
    means = {
        name: {measure: mean_of(rows, f"{name}_{measure}") for measure in _MEASURES}
        for name in ("predicted", "true", *BASELINES)
    }
    return {
        "cases": len(rows),
        "iou_mean": round(float(ious.mean()), 6),
        "iou_p10": round(float(np.percentile(ious, 10)), 6),
        "iou_above_09": round(float((ious > 0.9).mean()), 6),
        "corner_px_median": _corner_median_px(rows),
        "f1_mean": mean_of(rows, "f1"),
        "predicted": means["predicted"],
        "true": means["true"],
        "baselines": {name: means[name] for name in BASELINES},
        "blur_sigma_px": {measure: _best_blur_px(rows, measure) for measure in _MEASURES},
        "best_baseline": best,
        "gain": {m: _gain(means["predicted"][m], best[m]) for m in _MEASURES},
        "gain_true": {m: _gain(means["true"][m], best[m]) for m in _MEASURES},
        "detection": _detection(rows),
        "constants": _constants(rows),
        "errors": sum(row["error"] is not None for row in rows),
    }


def visibility(images: Sequence[Row]) -> dict[str, Any]:
    """Mean and least PSNR, SSIM and MS-SSIM of protected images."""
    result: dict[str, Any] = {}
    for key in ("psnr", "ssim", "ms_ssim"):
        values = [row[key] for row in images if row[key] is not None]
        least = min(values) if values else None
        result[key] = {"mean": mean_of(images, key), "min": least}
    return result


def _timing(rows: Sequence[Row], key: str) -> dict[str, Any]:
    values = [row[key] for row in rows if row[key] is not None]
    median, p95 = np.percentile(values, (50, 95)) if values else (None, None)
    return {
        "count": len(values),
        "median_ms": None if median is None else round(float(median), 3),
        "p95_ms": None if p95 is None else round(float(p95), 3),
    }


def aggregate(images: Sequence[Row], cases: Sequence[Row]) -> dict[str, Any]:
    """All numbers of a report, from its image rows and its cases.

    Returns:
        ``protected`` (mean and min of each measure), ``by_condition`` (condition -> range of the
        kept side ``main``, ``below``, ``control`` or ``paired`` -> summary), ``by_kept``
        (condition -> kept side -> summary), ``detection`` over all cases, ``timings``.
    """
    by_condition: dict[str, Any] = {}
    by_kept: dict[str, Any] = {}
    for name in dict.fromkeys(row["condition"] for row in cases):
        rows = [row for row in cases if row["condition"] == name]
        ranges = {
            which: summarise([row for row in rows if kept_range(row["kept"]) == which])
            for which in ("main", "below", "control")
        }
        by_condition[name] = ranges | {"paired": summarise([r for r in rows if r["paired"]])}
        by_kept[name] = {
            f"{kept:g}": summarise([row for row in rows if row["kept"] == kept])
            for kept in sorted({row["kept"] for row in rows}, reverse=True)
        }
    return {
        "protected": visibility(images),
        "by_condition": by_condition,
        "by_kept": by_kept,
        "detection": _detection(cases),
        "timings": {
            "protect": _timing(images, "protect_ms"),
            "recover": _timing(cases, "recover_ms"),
        },
    }
