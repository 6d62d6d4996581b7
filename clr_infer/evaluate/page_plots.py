"""The pictures of ``docs/quality.md`` that no single report draws, from result files alone."""

from pathlib import Path
from typing import Any

from .extras import matplotlib_figure
from .findings import reliability_of
from .metrics import rates, roc_auc
from .plots import save_plot, scale_of_nines, short_of_one
from .targets import all_confidences
from .uncertainty import agreement, expected_and_measured, pixel_reliability
from .verdicts import calibration_error, roc_curve

__all__ = ["draw_detection", "draw_strength", "draw_uncertainty"]

_BLUE, _GREY, _RED = "#0b4f8a", "#6b6b6b", "#b03a2e"
_CONDITIONS = {
    "clean": ("crop only", _BLUE, "o"),
    "jpeg80": ("JPEG 80", "#a65e2e", "s"),
    "jpeg60": ("JPEG 60", "#c9a227", "^"),
}
_LEAST_RATE = 5e-4


def _figure(columns: int) -> tuple[Any, Any]:
    figure = matplotlib_figure().Figure(figsize=(4.4 * columns, 4.0), layout="constrained")
    axes = figure.subplots(1, columns)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_detection(report: dict[str, Any], thresholds: dict[str, float], file: Path) -> None:
    """Draw the ROC curve and the reliability diagram of a report.

    Args:
        report: of the full set.
        thresholds: confidences to mark, by name.
        file: the PNG.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    figure, (curve, diagram) = _figure(2)
    positives, negatives = all_confidences(report)
    false, true = roc_curve(positives, negatives)
    curve.plot(false.clip(_LEAST_RATE), true, color=_BLUE, lw=1.6)
    marked = []
    for (name, value), marker, colour in zip(
        thresholds.items(), "os", (_RED, "#a65e2e"), strict=False
    ):
        tpr, alarms = rates(positives, negatives, value)
        marked.append(tpr)
        label = f"{name}: {100 * tpr:.2f} % at {100 * alarms:.2f} %"
        style = {"marker": marker, "color": colour, "ls": "", "label": label, "clip_on": False}
        curve.plot([max(alarms, _LEAST_RATE)], [tpr], **style)
    curve.set_xscale("log")
    curve.set_xlim(_LEAST_RATE, 1.0)
    curve.set_ylim(min(0.95, *marked) - 0.01, 1.003)
    curve.set_xlabel("false alarms (none at the left edge)")
    curve.set_ylabel("protected found")
    curve.set_title(f"ROC, AUC {roc_auc(positives, negatives):.4f}")
    curve.legend(loc="lower right", fontsize=8, frameon=False)
    found = reliability_of(report)
    for one in found:
        middle = (one["low"] + one["high"]) / 2
        diagram.bar(middle, one["right"], 0.9 * (one["high"] - one["low"]), color="#8cc4ec")
        diagram.text(middle, one["right"] + 0.02, one["cases"], ha="center", fontsize=8)
    said, right = [one["confidence"] for one in found], [one["right"] for one in found]
    diagram.plot([0, 1], [0, 1], color=_GREY, ls="--", lw=1, label="calibrated")
    diagram.plot(said, right, color=_BLUE, marker="o", markersize=4, ls="", label="measured")
    diagram.set_xlim(-0.02, 1.02)
    diagram.set_ylim(0.0, 1.12)
    diagram.set_xlabel("confidence (numbers: fragments)")
    diagram.set_ylabel("protected, and box right (IoU > 0.9)")
    diagram.set_title(f"Reliability, expected error {calibration_error(found):.4f}")
    diagram.legend(loc="upper left", fontsize=8, frameon=False)
    save_plot(figure, file)


def draw_uncertainty(report: dict[str, Any], file: Path) -> None:
    """Draw what was expected of reconstructed pixels and areas against what came true.

    Args:
        report: of the full set.
        file: the PNG.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    figure, (pixels, areas) = _figure(2)
    found = pixel_reliability(report["cases"])
    expected, measured = ([one[key] for one in found] for key in ("expected", "measured"))
    pixels.plot([2, 80], [2, 80], color=_GREY, ls="--", lw=1, label="calibrated")
    pixels.plot(expected, measured, color=_BLUE, marker="o", markersize=4, label="measured")
    for one in found:
        offset = {"xytext": (6, -10), "textcoords": "offset points", "fontsize": 8}
        place = (one["expected"], one["measured"])
        pixels.annotate(f"{100 * one['share']:.0f} %", place, **offset)
    ticks = (2, 5, 10, 20, 40, 80)
    pixels.set_xscale("log")
    pixels.set_yscale("log")
    pixels.set_xticks(ticks, ticks)
    pixels.set_yticks(ticks, ticks)
    pixels.minorticks_off()
    pixels.set_xlabel("expected error of a pixel, levels (numbers: share)")
    pixels.set_ylabel("error, levels, root mean square")
    for name, (label, colour, marker) in _CONDITIONS.items():
        rows = [r for r in report["cases"] if r["condition"] == name]
        style = {"color": colour, "marker": marker, "ls": "", "markersize": 3, "alpha": 0.6}
        areas.plot(*expected_and_measured(rows).T, label=label, **style)
    ends = [10, 34]
    areas.plot(ends, ends, color=_GREY, ls="--", lw=1)
    areas.set_xlabel("expected PSNR of the cropped-out area, dB")
    areas.set_ylabel("PSNR, dB")
    every = agreement(report["cases"])
    assert every is not None
    areas.set_title(f"off by {every['off']:.2f} dB, correlation {every['correlation']:.2f}")
    for axis in (pixels, areas):
        axis.legend(loc="upper left", fontsize=8, frameon=False)
    save_plot(figure, file)


def draw_strength(result: dict[str, Any], file: Path) -> None:
    """Draw the strength dial: visibility, box and recovery against the PSNR asked for.

    Args:
        result: of the strength arms.
        file: the PNG.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    figure, (seen, box, out) = _figure(3)
    scale_of_nines(box)
    arms = result["arms"]
    strengths = [arm["psnr_db"] for arm in arms]
    for key, label, colour, marker in (
        ("ssim", "SSIM", _BLUE, "o"),
        ("ms_ssim", "MS-SSIM", "#8cc4ec", "D"),
    ):
        means = [arm["protected"][key]["mean"] for arm in arms]
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        if None not in means:
            seen.plot(strengths, means, **style)
    for name, (label, colour, marker) in _CONDITIONS.items():
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        rows = [arm["by_condition"][name] for arm in arms]
        box.plot(strengths, [short_of_one(row["iou_mean"]) for row in rows], **style)
        out.plot(strengths, [row["psnr_out"] for row in rows], **style)
    for axis, title in (
        (seen, "protected image"),
        (box, "IoU of the crop box, mean"),
        (out, "PSNR of the cropped-out area, dB"),
    ):
        axis.set_title(title)
        axis.set_xlabel("strength asked for, PSNR in dB")
        axis.set_xticks(strengths)
        axis.legend(fontsize=8, frameon=False)
    save_plot(figure, file)
