"""The worst cases of a report as pictures: made again from the images and laid out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..attacks import real
from ..errors import InputError
from ..geometry import Box, box_to_pixels
from ..session import Session
from ..sheet import contact_sheet, magnified_residual, overlay
from . import protocol
from .case import recover, shown
from .findings import gain_of, worst_cases
from .run import pixels_sha256

__all__ = ["draw_gallery"]

_TILE_PX = 330


def _row(
    session: Session, report: dict[str, Any], rule: str, row: dict[str, Any], image: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    facts, size = report["facts"], image.shape[1::-1]
    condition = protocol.pick_condition(row["condition"])
    how = {"refine": facts.get("refine", 0), "copy": facts.get("copy", False)}
    protected = session.protect(image, psnr_db=facts["psnr_db"], **how).image
    rng = protocol.case_rng(facts["seed"], row["index"], row["kept"], condition)
    received = real.apply(protected, condition.chain(Box(*row["box"])), rng)
    answer = recover(session, received, condition.turned)
    recovered = shown(answer, received, size)
    found = None if answer.crop_box is None else box_to_pixels(answer.crop_box, *size)
    out = row["predicted_psnr_out"]
    numbers = "not cropped" if out is None else f"{out:.1f} dB, {gain_of(row):+.1f} over baseline"
    verdict = f"IoU {row['iou']:.3f}" if answer.protected else "not recognised"
    return [
        (f"{row['image']}, kept {row['kept']:g}", overlay(image, found, _pixels(row, size))),
        (f"received: {condition.label}", received),
        (f"{verdict}; {numbers}", recovered),
        (f"difference (worst by {rule})", magnified_residual(image, recovered, 1.0)),
    ]


def _pixels(row: dict[str, Any], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    return box_to_pixels(Box(*row["box"]), size[0], size[1])


def draw_gallery(
    session: Session,
    images: Sequence[tuple[str, np.ndarray]],
    report: dict[str, Any],
    count: int = 6,
) -> np.ndarray:
    """Lay out the cases of :func:`.findings.worst_cases`, one a row.

    Original with the true box (green) and the found one (red), the fragment as received, what was
    recovered, and the difference. The numbers are those of the report.

    Args:
        session: of the weights that were measured.
        images: name and pixels of the images that were measured.
        report: the content of its ``report.json``.
        count: rows, an even number.

    Returns:
        The sheet, HxWx3 uint8.

    Raises:
        InputError: an image is missing or another one, or these are other weights.
    """
    measured = report["facts"]["weights"].get("files", {})
    if not measured or not measured.items() <= session.weights.manifest["files"].items():
        raise InputError("the report is not of these weights: evaluate again")
    by_name = dict(images)
    known = {one["name"]: one["pixels_sha256"] for one in report["images"]}
    rows = []
    for rule, row in worst_cases(report, count):
        image = by_name.get(row["image"])
        if image is None or pixels_sha256(image) != known[row["image"]]:
            raise InputError(f"the report measured another {row['image']}: give the same images")
        rows.append(_row(session, report, rule, row, image))
    return contact_sheet(rows, _TILE_PX)
