"""The tables of ``docs/quality.md`` that are about more than one run, from result files alone."""

from typing import Any

import numpy as np

from .baselines import BASELINES
from .metrics import rates, roc_auc
from .protocol import kept_range
from .tables import number, percent, signed, table
from .targets import all_confidences
from .uncertainty import agreement, pixel_reliability
from .verdicts import calibration_error, reliability

__all__ = [
    "arms_table",
    "confidence_table",
    "copies_table",
    "detection_at",
    "gain_of",
    "limits_table",
    "outpainting_table",
    "reliability_of",
    "threshold_sentence",
    "uncertainty_tables",
    "watermarks_table",
    "worst_cases",
    "worst_table",
]

_RIGHT_IOU = 0.9
_NAMES = {"clean": "crop only", "jpeg80": "JPEG 80", "jpeg60": "JPEG 60"}


def outpainting_table(result: dict[str, Any], full: dict[str, Any]) -> str:
    """What the recover network guesses without protection, beside what it reads with it.

    Args:
        result: of ``benchmarks/outpainting.py``.
        full: the report of the full set on the same crops.
    """
    rows = []
    for name, guess in result["cropped_out_psnr_db"].items():
        main = full["aggregates"]["by_condition"][name]["main"]
        ours, gain = main["predicted"]["psnr_out"], main["gain"]["psnr_out"]
        cells = [number(value, 2) for value in (ours, guess, ours - gain)]
        rows.append([_NAMES[name], *cells, signed(ours - guess)])
    header = [
        "cropped-out PSNR dB, kept side 0.6 to 1",
        "protected, predicted box",
        "outpainting network, true box",
        "best baseline, true box",
        "protection gains",
    ]
    spent = result["training"]
    return (
        f"{table(header, rows)}\n\nOutpainting: {spent['steps']:,} steps on unprotected "
        f"photographs, {spent['minutes_spent']:g} minutes."
    )


def arms_table(result: dict[str, Any], true_box: bool = True) -> str:
    """The arms of :func:`.arms.measure_arms`, one a row; with the time that refining takes.

    Args:
        result: its content.
        true_box: also what the true box would give.
    """
    header = ["", "protected PSNR, dB", "SSIM", "MS-SSIM"]
    header += [f"IoU, {title}" for title in _NAMES.values()]
    header += [f"cropped-out PSNR, {title}, dB" for title in _NAMES.values()]
    refined = any(arm.get("refine") for arm in result["arms"])
    if refined:
        header.insert(1, "seconds an image")
    rows = []
    for arm in result["arms"]:
        visible, found = arm["protected"], arm["by_condition"]
        outs = [number(found[name]["psnr_out"], 2) for name in _NAMES]
        if true_box:
            given = [number(found[name]["true_psnr_out"], 2) for name in _NAMES]
            outs = [f"{ours} ({true})" for ours, true in zip(outs, given, strict=True)]
        rows.append(
            [
                arm["label"],
                *([number(arm["protect_s"], 1)] if refined else []),
                number(visible["psnr"]["mean"], 2),
                number(visible["ssim"]["mean"], 4),
                number(visible["ms_ssim"]["mean"], 4),
                *(number(found[name]["iou_mean"], 3) for name in _NAMES),
                *outs,
            ]
        )
    note = " In brackets: with the true box." if true_box else ""
    return f"{table(header, rows)}\n\n{len(result['images'])} images, one crop each.{note}"


def threshold_sentence(result: dict[str, Any]) -> str:
    """The threshold of :func:`.detection.measure_detection` and how it was fixed."""
    one = result["threshold"]
    return (
        f"The least confidence that at most {percent(one['allowed'])} of {one['cases']} "
        f"unprotected fragments of {result['images']} photographs reach is {one['value']:g}; "
        f"{percent(one['tpr'], 2)} of as many protected ones reach it (AUC {one['auc']:.4f})."
    )


def detection_at(report: dict[str, Any], thresholds: dict[str, float]) -> str:
    """Rates of all cases of a report at named thresholds, and where they miss."""
    positives, negatives = all_confidences(report)
    rows = []
    for name, value in thresholds.items():
        tpr, fpr = rates(positives, negatives, value)
        rows.append([name, f"{value:g}", percent(tpr, 2), percent(fpr, 2)])
    drawn = table(["threshold", "confidence", "protected found", "false alarms"], rows)
    labels = {one["name"]: one["label"] for one in report["facts"]["conditions"]}
    last = list(thresholds.values())[-1]
    missed = {
        name: sum(r["confidence"] < last for r in report["cases"] if r["condition"] == name)
        for name in labels
    }
    worst = sorted((n for n in missed if missed[n]), key=lambda n: -missed[n])[:5]
    listed = ", ".join(f"{labels[name]} ({missed[name]})" for name in worst) or "none"
    return (
        f"{drawn}\n\n{len(positives)} protected and as many unprotected fragments of Kodak, AUC "
        f"{roc_auc(positives, negatives):.4f}. Misses at the last threshold: {listed}."
    )


def reliability_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Reliability of the confidence as what it claims: protected, and the box right.

    Every protected and every unprotected fragment counts once; a box is right from IoU 0.9, and
    one that was not given is wrong.
    """
    positives, negatives = all_confidences(report)
    right = [row["iou"] > _RIGHT_IOU for row in report["cases"]]
    return reliability([*positives, *negatives], [*right, *[False] * len(negatives)])


def confidence_table(report: dict[str, Any]) -> str:
    """The reliability diagram as a table, with the expected calibration error."""
    found = reliability_of(report)
    rows = [
        [
            f"{one['low']:.1f} to {one['high']:.1f}",
            str(one["cases"]),
            number(one["confidence"], 3),
            number(one["right"], 3),
        ]
        for one in found
    ]
    drawn = table(["confidence", "fragments", "mean", "protected, box right"], rows)
    return f"{drawn}\n\nExpected calibration error: {calibration_error(found):.4f}."


def uncertainty_tables(*reports: dict[str, Any]) -> str:
    """The uncertainty of pixels, then of whole areas by condition, against what came true.

    Args:
        reports: the full set, whose pixels the first table counts, and others.
    """
    pixels = [
        [
            f"{one['low']} to {one['high']}",
            percent(one["share"]),
            number(one["expected"], 1),
            number(one["measured"], 1),
        ]
        for one in pixel_reliability(reports[0]["cases"])
    ]
    areas = []
    for report in reports:
        for one in report["facts"]["conditions"]:
            rows = [row for row in report["cases"] if row["condition"] == one["name"]]
            if found := agreement(rows):
                means = [number(found[key], 2) for key in ("expected", "measured", "off")]
                cells = [*means, number(found["correlation"], 2)]
                areas.append([one["label"], str(found["cases"]), *cells])
    every = agreement([row for report in reports for row in report["cases"]])
    assert every is not None
    first = ["uncertainty, levels", "share of pixels", "expected error", "measured error"]
    second = ["cropped-out PSNR, dB", "cases", "expected", "measured", "off by", "correlation"]
    note = (
        f"Of all {every['cases']} cases: off by {every['off']:.2f} dB on average, correlation "
        f"{every['correlation']:.2f}."
    )
    return f"{table(first, pixels)}\n\n{table(second, areas)}\n\n{note}"


def limits_table(report: dict[str, Any]) -> str:
    """The limits set: one row a condition, crops below 0.6 where the label says so."""
    rows = []
    for one in report["facts"]["conditions"]:
        groups = report["aggregates"]["by_condition"][one["name"]]
        found = groups["below"] if one["kept"] else groups["main"]
        best = found["best_baseline"]["psnr_out"]
        rows.append(
            [
                one["label"],
                str(found["cases"]),
                percent(found["detection"]["tpr"]),
                number(found["iou_mean"], 3),
                number(found["iou_p10"], 3),
                number(found["predicted"]["psnr_out"], 2),
                number(found["true"]["psnr_out"], 2),
                number(best and best["value"], 2),
                signed(found["gain"]["psnr_out"]),
            ]
        )
    header = ["after the crop", "cases", "recognised", "IoU mean", "10th pct."]
    return table([*header, "cropped-out PSNR, dB", "true box", "best baseline", "gain"], rows)


def copies_table(report: dict[str, Any]) -> str:
    """The copies set: what a copy shows, beside what the networks show of the same fragments.

    Args:
        report: of images that were protected with a copy.
    """
    rows, shown = [], [row for row in report["cases"] if row["from_copy"]]
    for one in report["facts"]["conditions"]:
        ranges = {"below": ""} if one["kept"] else {"main": ""}
        if one["name"] == "clean":
            ranges["below"] = ", kept below 0.6"
        for which, suffix in ranges.items():
            found = report["aggregates"]["by_condition"][one["name"]][which]
            if not found:
                continue
            cases = [
                row
                for row in report["cases"]
                if row["condition"] == one["name"] and kept_range(row["kept"]) == which
            ]
            best = found["best_baseline"]["psnr_out"]
            networks = found["true"]
            others = [
                number(networks["psnr_out"], 2),
                number(networks["ssim_out"], 3),
                number(best and best["value"], 2),
            ]
            if one["name"].startswith("border"):  # they would take it for a part of the picture
                others = ["–"] * 3
            rows.append(
                [
                    f"{one['label']}{suffix}",
                    str(found["cases"]),
                    percent(sum(row["from_copy"] for row in cases) / len(cases)),
                    number(found["iou_mean"], 4),
                    number(found["predicted"]["psnr_out"], 2),
                    number(found["predicted"]["ssim_out"], 3),
                    *others,
                ]
            )
    header = ["after the crop", "cases", "copy read", "IoU mean", "cropped-out PSNR, dB", "SSIM"]
    drawn = table([*header, "PSNR by the networks", "SSIM", "best baseline"], rows)
    visible = report["aggregates"]["protected"]
    pairs = [(row["expected_psnr_out"], row["predicted_psnr_out"]) for row in shown]
    off = [abs(expected - found) for expected, found in pairs if expected and found]
    said = (
        f" What is expected of a copy was off by {np.mean(off):.2f} dB on average." if off else ""
    )
    return (
        f"{drawn}\n\nThe networks are given the true box. Protected, with the copy: PSNR "
        f"{visible['psnr']['mean']:.2f} dB on average, {visible['psnr']['min']:.2f} at least; SSIM "
        f"{visible['ssim']['mean']:.4f}, {visible['ssim']['min']:.4f} at least.{said}"
    )


def watermarks_table(result: dict[str, Any]) -> str:
    """The libraries of ``benchmarks/watermarks.py``: what message came back, and what else."""
    names = result["conditions"]
    messages, places = [], []
    for method in result["methods"]:
        found = [method["by_condition"][name] for name in names]
        if found[0]["whole_message"] is not None:
            cells = [
                f"{percent(one['bits_right'], 0)} ({percent(one['whole_message'], 0)})"
                for one in found
            ]
            messages.append([method["label"], number(method["psnr"], 2), *cells])
        if found[0]["iou"] is not None:
            cells = [number(one["iou"], 3) for one in found]
            outs = [number(one["psnr_out"], 2) for one in found]
            places.append([f"{method['label']}: box IoU", *cells])
            if any(one["psnr_out"] is not None for one in found):
                places.append([f"{method['label']}: cropped-out PSNR, dB", *outs])
    first = ["message of 32 bits: right (whole)", "marked PSNR, dB", *names.values()]
    second = ["what else comes back", *names.values()]
    refused = sum(m["by_condition"][n]["refused"] for m in result["methods"] for n in names)
    note = (
        f"{result['images']} images, one crop each. Fragments that a library refused, as too "
        f"small, count as no message: {refused}."
    )
    return "\n\n".join([table(first, messages), table(second, places), note])


def gain_of(row: dict[str, Any]) -> float:
    """How far a case's recovery lies over its own best baseline, in dB."""
    best: float = max(row[f"{name}_psnr_out"] for name in BASELINES)
    return float(row["predicted_psnr_out"]) - best


def worst_cases(report: dict[str, Any], count: int = 6) -> list[tuple[str, dict[str, Any]]]:
    """The worst cases of a report by rule: half by IoU, half by gain over the best baseline.

    One case an image in each half, so that one bad image does not fill it, and no case twice;
    uncropped ones count by IoU only.

    Returns:
        Pairs of what it is worst by, ``"IoU"`` or ``"gain"``, and the case's row.
    """
    cropped = [row for row in report["cases"] if row["predicted_psnr_out"] is not None]
    chosen: list[tuple[str, dict[str, Any]]] = []
    for rule, rows, key in (
        ("IoU", report["cases"], lambda row: row["iou"]),
        ("gain", cropped, gain_of),
    ):
        images: set[str] = set()
        for row in sorted(rows, key=key):
            if len(images) == count // 2:
                break
            if row["image"] not in images and row not in [one for _, one in chosen]:
                images.add(row["image"])
                chosen.append((rule, row))
    return chosen


def worst_table(report: dict[str, Any]) -> str:
    """The cases of :func:`worst_cases`."""
    labels = {one["name"]: one["label"] for one in report["facts"]["conditions"]}
    rows = []
    for rule, row in worst_cases(report):
        out = row["predicted_psnr_out"]
        rows.append(
            [
                f"{rule}: {row['image']}, {labels[row['condition']]}, kept {row['kept']:g}",
                number(row["confidence"], 3),
                number(row["iou"], 3),
                number(out, 2),
                number(row["true_psnr_out"], 2),
                "–" if out is None else signed(gain_of(row)),
            ]
        )
    header = ["worst by", "confidence", "IoU", "cropped-out PSNR, dB", "true box"]
    return table([*header, "over its best baseline"], rows)
