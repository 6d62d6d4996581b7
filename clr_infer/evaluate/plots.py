"""Plots of a report: quality against the kept side, the JPEG quality factor and the scale."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..attacks.steps import parse_chain
from .extras import matplotlib_figure

__all__ = ["PLOTS", "draw_plots", "save_plot", "scale_of_nines", "short_of_one"]

_KEPT_PLOT, _QF_PLOT, _RESIZE_PLOT = "kept_side.png", "quality_factor.png", "resize.png"
PLOTS = (_KEPT_PLOT, _QF_PLOT, _RESIZE_PLOT)

_OURS = {"color": "#0b4f8a", "marker": "o", "lw": 1.4}
_TRUE = {"color": "#8cc4ec", "lw": 4.5}  # wide and below: the two often coincide
_IOU_FLOOR = 5e-4
_COLOURS = {"mean_colour": "#c9a227", "edge": "#a65e2e", "blurred": "#6b6b6b"}
_CAPTIONS = {"mean_colour": "mean colour", "edge": "edge replication"}

Points = Sequence[tuple[float, dict[str, Any]]]


def _line(axis: Any, points: Sequence[tuple[float, float | None]], **style: Any) -> None:
    known = [(x, y) for x, y in points if y is not None]
    if known:
        axis.plot(*zip(*known, strict=True), markersize=4, **style)


def save_plot(figure: Any, file: Path) -> None:
    """Write a figure as PNG with a palette: a third of the bytes, and nothing that one sees."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120)
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


def short_of_one(iou: float) -> float:
    """An IoU as :func:`scale_of_nines` draws it."""
    return max(1.0 - iou, _IOU_FLOOR)


def scale_of_nines(axis: Any) -> None:
    """Make an axis show what an IoU lacks: on a linear one, good boxes look all the same."""
    axis.set_yscale("log")
    axis.set_ylim(1.2, 0.8 * _IOU_FLOOR)
    ticks = (0.0, 0.5, 0.9, 0.99, 0.999)
    axis.set_yticks([1.0 - tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def _draw_iou(axis: Any, points: Points) -> None:
    scale_of_nines(axis)
    means = [(x, short_of_one(s["iou_mean"])) for x, s in points]
    _line(axis, means, label="mean", **_OURS)
    tenth = {"color": _OURS["color"], "ls": ":", "marker": "v"}
    lowest = [(x, short_of_one(s["iou_p10"])) for x, s in points]
    _line(axis, lowest, label="10th percentile", **tenth)
    for key, caption, colour in (
        ("whole_frame_iou", 'constant "whole frame"', "#6b6b6b"),
        ("mean_box_iou", 'constant "mean box"', "#a65e2e"),
    ):
        constant = [(x, short_of_one(s["constants"][key])) for x, s in points]
        _line(axis, constant, label=caption, color=colour, ls="--")


def _draw_psnr(axis: Any, points: Points) -> None:
    ours = [(x, s["predicted"]["psnr_out"]) for x, s in points]
    given = [(x, s["true"]["psnr_out"]) for x, s in points]
    _line(axis, given, label="recovered, true box", **_TRUE)
    _line(axis, ours, label="recovered, predicted box", **_OURS)
    for name, caption in _CAPTIONS.items():
        baseline = [(x, s["baselines"][name]["psnr_out"]) for x, s in points]
        _line(axis, baseline, label=caption, color=_COLOURS[name], ls="--", marker=".")
    blurred = [
        (x, s["baselines"][f"blur{s['blur_sigma_px']['psnr_out']}"]["psnr_out"])
        for x, s in points
        if s["blur_sigma_px"]["psnr_out"] is not None
    ]
    caption = "blurred outpainting"
    _line(axis, blurred, label=caption, color=_COLOURS["blurred"], ls="--", marker=".")


def _draw(columns: Sequence[tuple[str, Points]], x_label: str, file: Path) -> None:
    """IoU above, PSNR of the cropped-out area below, one column a title."""
    width = 3.4 * len(columns) + 2.4
    figure = matplotlib_figure().Figure(figsize=(width, 6.2), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False)
    for column, (title, points) in enumerate(columns):
        above, below = axes[0, column], axes[1, column]
        _draw_iou(above, points)
        _draw_psnr(below, points)
        above.set_title(title)
        below.set_xlabel(x_label)
        for axis in (above, below):
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("IoU of the crop box")
    axes[1, 0].set_ylabel("PSNR of the cropped-out area, dB")
    for axis in axes[:, -1]:
        axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)
    save_plot(figure, file)


def _kept_columns(report: dict[str, Any]) -> list[tuple[str, Points]]:
    found = report["aggregates"]["by_kept"]
    return [
        (one["label"], [(float(kept), s) for kept, s in found[one["name"]].items()])
        for one in report["facts"]["conditions"]
        if one["swept"] and len(found[one["name"]]) > 1
    ]


def _qf_columns(report: dict[str, Any]) -> list[tuple[str, Points]]:
    """The conditions that are one JPEG after the crop, on the crops that all of them share."""
    found = report["aggregates"]["by_condition"]
    columns: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for one in report["facts"]["conditions"]:
        steps = parse_chain(one["after_crop"])
        summary = found[one["name"]]["paired"]
        if one["before_crop"] or len(steps) != 1 or steps[0].name != "jpeg" or not summary:
            continue
        columns.setdefault(steps[0].subsampling, []).append((steps[0].values[0], summary))
    return [
        (f"JPEG {subsampling}", sorted(points, key=lambda point: point[0]))
        for subsampling, points in columns.items()
        if len(points) > 1
    ]


def _resize_columns(report: dict[str, Any]) -> list[tuple[str, Points]]:
    """The conditions that are one resize after the crop, and the crop alone as a factor of 1."""
    found = report["aggregates"]["by_condition"]
    points = []
    for one in report["facts"]["conditions"]:
        steps, summary = parse_chain(one["after_crop"]), found[one["name"]]["paired"]
        plain = not one["before_crop"] and summary is not None
        if plain and not steps:
            points.append((1.0, summary))
        elif plain and len(steps) == 1 and steps[0].name == "resize":
            points.append((steps[0].values[0], summary))
    points.sort(key=lambda point: point[0])
    return [("resized after the crop", points)] if len(points) > 1 else []


def draw_plots(report: dict[str, Any], folder: Path) -> list[str]:
    """Draw the plots for which a report has at least two points.

    Args:
        report: the content of ``report.json``.
        folder: where to write the PNG files.

    Returns:
        The names of the files written, some of :data:`PLOTS`.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    drawn = []
    for name, columns, x_label in (
        (_KEPT_PLOT, _kept_columns(report), "kept side"),
        (_QF_PLOT, _qf_columns(report), "JPEG quality factor"),
        (_RESIZE_PLOT, _resize_columns(report), "factor"),
    ):
        if columns:
            _draw(columns, x_label, folder / name)
            drawn.append(name)
    return drawn
