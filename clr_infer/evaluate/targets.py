"""What the project set out to reach, beside what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import rates
from .protocol import CONDITIONS, LIMITS, kept_range
from .tables import table

__all__ = ["Target", "all_confidences", "targets", "targets_table"]

_IOUS = (
    ("clean", 0.995),
    ("jpeg70", 0.99),
    ("resize0.5-jpeg80", 0.98),
    ("jpeg85-jpeg85", 0.98),
    ("jpeg90-crop-jpeg80", 0.98),
    ("gaussian5", 0.98),
    ("noise0.04", 0.98),
)
_IOU_P10 = 0.97
_SMALL_IOUS = (("jpeg50-half", 0.95), ("clean-third", 0.90))
_RECOVERY = (("clean", 23.0, 5.0), ("jpeg80", 22.0, 4.0), ("jpeg60", 20.5, 3.0))
_BEYOND = {condition.name for condition in LIMITS.conditions}
_FALSE_ALARMS, _FOUND = 0.001, 0.995
_CORNER = 0.002


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        what: in words.
        goal: the number to reach.
        measured: ``None`` where there is no measurement.
        digits: to print.
        at_most: the goal is an upper limit.
        unit: after the number.
    """

    what: str
    goal: float
    measured: float | None
    digits: int
    at_most: bool = False
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether it is; ``None`` where there is no measurement."""
        if self.measured is None:
            return None
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal

    def cells(self) -> list[str]:
        """The row of the table."""
        verdict = {None: "not measured", True: "reached", False: "**missed**"}[self.reached]
        sign = "at most " if self.at_most else ""
        shown = "–" if self.measured is None else f"{self.measured:.{self.digits}f}{self.unit}"
        goal = f"{sign}{self.goal:.{self.digits}f}".rstrip("0").rstrip(".") + self.unit
        return [self.what, goal, shown, verdict]


def all_confidences(report: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The confidences of a report's cases: on protected and on unprotected fragments."""
    keys = ("confidence", "unprotected_confidence")
    protected, unprotected = ([row[key] for row in report["cases"]] for key in keys)
    return protected, unprotected


def _corner_share(report: dict[str, Any]) -> float:
    """The median over the main range of the worst edge's error, as a share of its side."""
    errors = [
        np.inf
        if row["predicted_box"] is None
        else float(np.abs(np.subtract(row["predicted_box"], row["box"])).max())
        for row in report["cases"]
        if kept_range(row["kept"]) == "main"
    ]
    return float(np.quantile(errors, 0.5, method="inverted_cdf"))


def _summary(report: dict[str, Any] | None, name: str, which: str) -> dict[str, Any] | None:
    if report is None:
        return None
    found: dict[str, Any] | None = report["aggregates"]["by_condition"].get(name, {}).get(which)
    return found


def targets(
    full: dict[str, Any],
    limits: dict[str, Any] | None,
    detection: dict[str, Any] | None,
    outpainting: dict[str, Any] | None = None,
) -> Iterable[Target]:
    """All targets.

    Args:
        full: the report of the full set on Kodak, or of the set ``targets``.
        limits: the report of the limits set, or of ``targets``, if there is one.
        detection: the threshold fixed on validation photographs, if there is one.
        outpainting: what the same network guesses without protection, on the same crops.
    """
    labels = {name: condition.label for name, condition in CONDITIONS.items()}
    protected = full["aggregates"]["protected"]
    yield Target("protected PSNR, mean", 40.0, protected["psnr"]["mean"], 2, unit=" dB")
    yield Target("protected PSNR, worst image", 38.0, protected["psnr"]["min"], 2, unit=" dB")
    yield Target("protected SSIM, mean", 0.985, protected["ssim"]["mean"], 4)
    for name, goal in _IOUS:
        summary = _summary(full, name, "main") or {}
        yield Target(f"box IoU, mean: {labels[name]}", goal, summary.get("iou_mean"), 4)
        yield Target(f"10th percentile: {labels[name]}", _IOU_P10, summary.get("iou_p10"), 4)
    for name, goal in _SMALL_IOUS:
        summary = _summary(limits, name, "below") or {}
        yield Target(f"box IoU, mean: {labels[name]}", goal, summary.get("iou_mean"), 4)
    for name, goal, gain in _RECOVERY:
        summary = _summary(full, name, "main") or {}
        ours = (summary.get("predicted") or {}).get("psnr_out")
        over = (summary.get("gain") or {}).get("psnr_out")
        yield Target(f"cropped-out PSNR: {labels[name]}", goal, ours, 2, unit=" dB")
        yield Target(f"over the best baseline: {labels[name]}", gain, over, 2, unit=" dB")
        what = f"over an outpainting network without protection: {labels[name]}"
        guess = outpainting["cropped_out_psnr_db"][name] if outpainting else None
        ahead = None if ours is None or guess is None else ours - guess
        yield Target(what, gain, ahead, 2, unit=" dB")
    found, alarms = None, None
    if detection is not None:
        published = [row for row in full["cases"] if row["condition"] not in _BEYOND]
        confidences = all_confidences({"cases": published})
        found, alarms = rates(*confidences, detection["threshold"]["value"])
    what = "at the threshold fixed on other photographs"
    yield Target(f"false alarms {what}, %", 100 * _FALSE_ALARMS, _percent(alarms), 2, True)
    yield Target(f"protected found {what}, %", 100 * _FOUND, _percent(found), 2)
    what = "corner error, median, % of the side"
    yield Target(what, 100 * _CORNER, _percent(_corner_share(full)), 3, True)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def targets_table(
    full: dict[str, Any],
    limits: dict[str, Any] | None,
    detection: dict[str, Any] | None,
    outpainting: dict[str, Any] | None = None,
    refined: dict[str, Any] | None = None,
) -> str:
    """The targets as a table, with a count; see :func:`targets`.

    Args:
        full: as there.
        limits: as there.
        detection: as there.
        outpainting: as there.
        refined: the report of the set ``targets`` with refined payloads, for columns of its own.
    """
    every = list(targets(full, limits, detection, outpainting))
    header, rows = ["target", "goal", "measured", ""], [one.cells() for one in every]
    counts = [_count(every)]
    if refined is not None:
        steps = refined["facts"]["refine"]
        also = list(targets(refined, refined, detection, outpainting))
        header += [f"refined in {steps} steps", ""]
        rows = [row + one.cells()[2:] for row, one in zip(rows, also, strict=True)]
        counts.append(f"With payloads refined in {steps} steps: {_count(also)}")
    return "\n\n".join([table(header, rows), f"{' '.join(counts)} {len(every)} are set."])


def _count(every: list[Target]) -> str:
    reached = sum(one.reached is True for one in every)
    known = sum(one.reached is not None for one in every)
    return f"{reached} of {known} that were measured are reached."
