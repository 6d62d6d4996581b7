"""Markdown tables, drawn from the content of ``report.json`` and from nothing else."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "constants_table",
    "detection_table",
    "headline_table",
    "kept_table",
    "location_table",
    "number",
    "percent",
    "protected_table",
    "provenance",
    "recovery_table",
    "signed",
    "table",
    "timings_table",
]


def number(value: float | None, digits: int) -> str:
    """A number for a table; a dash for what is missing."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference in dB, with its sign."""
    return "–" if value is None else f"{value:+.2f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return "–" if value is None else f"{100.0 * value:.{digits}f} %"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _labels(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["label"] for one in report["facts"]["conditions"]}


def _swept(report: dict[str, Any]) -> list[str]:
    """Those that are swept or have kept sides of their own; all, where none is swept."""
    conditions = report["facts"]["conditions"]
    every = not any(one["swept"] for one in conditions)
    return [one["name"] for one in conditions if every or one["swept"] or one["kept"]]


def _at(label: str, kept: str) -> str:
    """A label with kept sides, unless it names its own."""
    return label if "kept" in label else f"{label}{kept}"


def _best_value(summary: dict[str, Any], measure: str) -> float | None:
    best = summary["best_baseline"][measure]
    return None if best is None else best["value"]


def protected_table(report: dict[str, Any]) -> str:
    """How visible the protection is: mean and worst image."""
    found = report["aggregates"]["protected"]
    rows = [
        [
            which,
            number(found["psnr"][which], 2),
            number(found["ssim"][which], 4),
            number(found["ms_ssim"][which], 4),
        ]
        for which in ("mean", "min")
    ]
    return table(["protected images", "PSNR dB", "SSIM", "MS-SSIM"], rows)


_SUMMARY_HEADER = (
    "cases",
    "IoU mean",
    "IoU 10th pct.",
    "IoU > 0.9",
    "cropped-out PSNR dB, predicted box",
    "true box",
    "best baseline",
    "gain dB",
    "whole-frame PSNR dB",
    "whole-frame SSIM",
)


def _summary_cells(summary: dict[str, Any]) -> list[str]:
    return [
        str(summary["cases"]),
        number(summary["iou_mean"], 3),
        number(summary["iou_p10"], 3),
        percent(summary["iou_above_09"]),
        number(summary["predicted"]["psnr_out"], 2),
        number(summary["true"]["psnr_out"], 2),
        number(_best_value(summary, "psnr_out"), 2),
        signed(summary["gain"]["psnr_out"]),
        number(summary["predicted"]["psnr"], 2),
        number(summary["predicted"]["ssim"], 3),
    ]


def headline_table(report: dict[str, Any]) -> str:
    """The swept conditions over the main range, then below it, then uncropped."""
    found, labels = report["aggregates"]["by_condition"], _labels(report)
    suffixes = {"main": "", "below": ", kept below 0.6", "control": ", uncropped"}
    rows = [
        [_at(labels[name], suffix), *_summary_cells(found[name][which])]
        for which, suffix in suffixes.items()
        for name in _swept(report)
        if found[name][which]
    ]
    return table(["kept side 0.6 to 1 unless said", *_SUMMARY_HEADER], rows)


def kept_table(report: dict[str, Any]) -> str:
    """The swept conditions at every kept side."""
    found, labels = report["aggregates"]["by_kept"], _labels(report)
    rows = [
        [_at(labels[name], f", {kept}"), *_summary_cells(summary)]
        for name in _swept(report)
        for kept, summary in found[name].items()
    ]
    return table(["condition, kept side", *_SUMMARY_HEADER], rows)


def _paired(report: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    found, labels = report["aggregates"]["by_condition"], _labels(report)
    return [(labels[name], found[name]["paired"]) for name in labels if found[name]["paired"]]


def location_table(report: dict[str, Any]) -> str:
    """How well every condition is located, on the same crops."""
    rows = [
        [
            label,
            str(one["cases"]),
            percent(one["detection"]["tpr"]),
            number(one["iou_mean"], 3),
            number(one["iou_p10"], 3),
            percent(one["iou_above_09"]),
            number(one["f1_mean"], 3),
            number(one["corner_px_median"], 1),
        ]
        for label, one in _paired(report)
    ]
    header = ["location", "cases", "recognised", "IoU mean", "IoU 10th pct.", "IoU > 0.9"]
    return table([*header, "cropped-out F1", "corner error px, median"], rows)


def recovery_table(report: dict[str, Any], measure: str, title: str, digits: int) -> str:
    """How well every condition is recovered, beside the baselines, on the same crops."""
    rows = []
    for label, one in _paired(report):
        blur, means = one["blur_sigma_px"][f"{measure}_out"], one["baselines"]
        blurred = None if blur is None else means[f"blur{blur}"][f"{measure}_out"]
        outside = (
            one["predicted"][f"{measure}_out"],
            one["true"][f"{measure}_out"],
            means["mean_colour"][f"{measure}_out"],
            means["edge"][f"{measure}_out"],
            blurred,
            _best_value(one, f"{measure}_out"),
        )
        whole = (one["predicted"][measure], one["true"][measure], _best_value(one, measure))
        rows.append([label, *(number(value, digits) for value in (*outside, *whole))])
    header = [f"cropped-out {title}", "predicted box", "true box", "mean colour", "edge", "blurred"]
    whole_header = ["whole frame, predicted box", "true box", "best baseline"]
    return table([*header, "best baseline", *whole_header], rows)


def detection_table(report: dict[str, Any]) -> str:
    """Rates of the verdicts in every condition."""
    found, labels = report["aggregates"]["by_condition"], _labels(report)
    groups = [(label, found[name]) for name, label in labels.items()]
    chosen = [(label, one["main"] or one["paired"] or one["below"]) for label, one in groups]
    named = [(label, one["detection"]) for label, one in chosen if one]
    every = [*named, ("all cases of the run", report["aggregates"]["detection"])]
    rows = [
        [
            label,
            str(one["cases"]),
            percent(one["tpr"]),
            percent(one["fpr"]),
            number(one["auc"], 4),
        ]
        for label, one in every
    ]
    return table(["detection", "cases of each kind", "TPR", "FPR", "AUC"], rows)


def constants_table(report: dict[str, Any]) -> str:
    """The IoU of answers that look at no image, beside the method's."""
    found, labels = report["aggregates"]["by_condition"], _labels(report)
    rows = [
        [
            _at(labels[name], f", {which}"),
            number(found[name][which]["iou_mean"], 3),
            number(found[name][which]["constants"]["whole_frame_iou"], 3),
            number(found[name][which]["constants"]["mean_box_iou"], 3),
        ]
        for name in _swept(report)
        for which in ("main", "below", "control")
        if found[name][which]
    ]
    return table(["IoU mean", "predicted", '"whole frame"', '"the mean box"'], rows)


def timings_table(report: dict[str, Any]) -> str:
    """How long an image takes to protect, and a fragment to recover."""
    rows = [
        [name, str(one["count"]), number(one["median_ms"], 1), number(one["p95_ms"], 1)]
        for name, one in report["aggregates"]["timings"].items()
    ]
    return table(["one image at a time", "runs", "p50 ms", "p95 ms"], rows)


def provenance(report: dict[str, Any]) -> str:
    """What was measured with what, in one sentence."""
    facts = report["facts"]
    weights, machine = facts["weights"], facts["machine"]
    sizes = sorted({f"{one['width']}x{one['height']}" for one in report["images"]})
    shown = ", ".join(sizes[:4]) + (", ..." if len(sizes) > 4 else "")
    return (
        f"clr_infer {facts['package']}, weights of {weights.get('steps', '?')} steps, runtime "
        f"{facts['runtime']} at {facts['network_size_px']} px, strength {facts['psnr_db']:g} dB; "
        f"{len(report['images'])} images "
        f"({shown}), {len(report['cases'])} cases, seed {facts['seed']}; "
        f"{machine['cpus']} CPUs ({machine['processor']}), {facts['started_at']}."
    )
