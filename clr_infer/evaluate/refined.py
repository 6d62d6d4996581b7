"""What refining payloads brings, from two reports of the same crops."""

from typing import Any

import numpy as np

from .tables import number, signed, table

__all__ = ["refined_sentence", "refined_table"]


def _outs(report: dict[str, Any]) -> dict[str, float]:
    """PSNR of the cropped-out area in the main range, dB, of every condition that has it."""
    found = {
        name: (ranges.get("main") or {}).get("predicted", {}).get("psnr_out")
        for name, ranges in report["aggregates"]["by_condition"].items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _labels(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["label"] for one in report["facts"]["conditions"]}


def refined_sentence(plain: dict[str, Any], refined: dict[str, Any]) -> str:
    """The option and what it brings where the crop is tried at every kept side, for the README.

    Args:
        plain: the report of the full set on Kodak.
        refined: that of the set ``targets``, with refined payloads.
    """
    swept = [one["name"] for one in plain["facts"]["conditions"] if one["swept"]]
    outs = [f"{_outs(refined)[name]:.2f}" for name in swept]
    listed = " and ".join(filter(None, [", ".join(outs[:-1]), outs[-1]]))
    return (
        f"Given {_seconds(refined):.0f} seconds an image, `clr-infer protect --refine "
        f"{refined['facts']['refine']}` does better at both ends: SSIM "
        f"{refined['aggregates']['protected']['ssim']['mean']:.4f}, and {listed} dB in these "
        f"rows ([in every condition](docs/quality.md#refined-payloads))."
    )


def _seconds(report: dict[str, Any]) -> float:
    return float(np.median([image["protect_ms"] for image in report["images"]])) / 1000.0


def _shared_cases(*reports: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The cases that all have of each, in one order: the same crops in the same conditions."""
    by_case = [
        {(row["condition"], row["kept"], row["image"]): row for row in report["cases"]}
        for report in reports
    ]
    shared = [case for case in by_case[0] if all(case in rows for rows in by_case)]
    return [[rows[case] for case in shared] for rows in by_case]


def _too_sure(*cases: list[dict[str, Any]]) -> list[float]:
    """By how many dB more is expected of the cropped-out area than it has, on average.

    Args:
        cases: the same cases of several reports; those that one lacks the numbers of are left out.
    """
    keys = ("expected_psnr_out", "predicted_psnr_out")
    pairs = np.array([[[row[key] for key in keys] for row in rows] for rows in cases], np.float64)
    gaps = pairs[..., 0] - pairs[..., 1]
    means: list[float] = gaps[:, ~np.isnan(gaps).any(0)].mean(1).tolist()
    return means


def refined_table(plain: dict[str, Any], refined: dict[str, Any]) -> str:
    """Every condition of both reports: the cropped-out area of the same crops, and the place.

    Args:
        plain: the report of the full set on Kodak.
        refined: that of the set ``targets``, with refined payloads.
    """
    before, after, labels = _outs(plain), _outs(refined), _labels(plain)
    shared = [name for name in labels if name in before and name in after]
    rows = []
    for name in shared:
        ious = [one["aggregates"]["by_condition"][name]["main"] for one in (plain, refined)]
        rows.append(
            [
                labels[name],
                *(number(one["iou_mean"], 4) for one in ious),
                number(before[name], 2),
                number(after[name], 2),
                signed(after[name] - before[name]),
            ]
        )
    header = ["kept side 0.6 to 1", "box IoU", "refined", "cropped-out PSNR, dB", "refined", "gain"]
    visible = [one["aggregates"]["protected"] for one in (plain, refined)]
    others, same = _shared_cases(plain, refined)
    found = sum(row["protected"] for row in same)
    alarms = sum(row["unprotected_verdict"] for row in same)
    facts, (plain_bias, bias) = refined["facts"], _too_sure(others, same)
    return (
        f"{table(header, rows)}\n\nProtected: PSNR {visible[1]['psnr']['mean']:.2f} dB on average "
        f"({visible[0]['psnr']['mean']:.2f} as the network makes it), "
        f"{visible[1]['psnr']['min']:.2f} at least; SSIM {visible[1]['ssim']['mean']:.4f} "
        f"({visible[0]['ssim']['mean']:.4f}), {visible[1]['ssim']['min']:.4f} at least. "
        f"{found:,} of the {len(same):,} fragments are recognised, {alarms} unprotected ones are "
        f"taken for protected. The PSNR that is expected of the cropped-out area lies "
        f"{bias:+.2f} dB from what it is, on average ({plain_bias:+.2f}). {facts['refine']} steps "
        f"take {_seconds(refined):.0f} seconds an image, the median, {facts['workers']} at a time "
        f"on {facts['machine']['cpus']} CPUs."
    )
