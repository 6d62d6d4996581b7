"""A report as one page of Markdown, ``report.md``."""

from collections.abc import Sequence
from typing import Any

from .findings import copies_table
from .tables import (
    constants_table,
    detection_table,
    headline_table,
    kept_table,
    location_table,
    protected_table,
    provenance,
    recovery_table,
    timings_table,
)

__all__ = ["NOTES", "markdown"]

NOTES = """\
How to read this: every case compares with the original from before the protection, at its size.
*Predicted box* is the whole method; *true box* gives its recover network the right place. A
fragment that was not recognised counts with IoU 0 and as a frame of its mean colour. The
*best baseline* is the best of mean colour, edge replication and three blurred outpaintings, all
given the true box, chosen anew for each row; *gain* is predicted box minus best baseline.
Whole-frame numbers include stretching the recovered canvas to the original's size: where the
predicted canvas is one pixel off, that alone resamples the received pixels too. Means are over
cases; PSNR is over RGB, SSIM over luma."""


def markdown(report: dict[str, Any], plots: Sequence[str] = ()) -> str:
    """All tables of a report as one page.

    Args:
        report: the content of ``report.json``.
        plots: file names of plots to show at the end.
    """
    threshold = report["facts"]["threshold"]
    paired = (
        "Every condition on the same crops: one kept side an image, rotating through the main "
        "range. Conditions above that were measured at more kept sides differ a little from "
        "their rows here for that reason."
    )
    detection = (
        "The same crops and post-processing of the protected images and of the unprotected "
        f"originals; rates at confidence {threshold:g}."
    )
    constants = (
        "Answers that look at no image. The mean box is the mean of the very boxes it is "
        "measured on."
    )
    copies = ["## Copies", copies_table(report)] if report["facts"].get("copy") else []
    sections = [
        "# Evaluation",
        provenance(report),
        "## Protected images",
        protected_table(report),
        "## Location and recovery",
        headline_table(report),
        NOTES,
        "## By kept side",
        kept_table(report),
        "## Robustness",
        paired,
        location_table(report),
        recovery_table(report, "psnr", "PSNR dB", 2),
        recovery_table(report, "ssim", "SSIM", 3),
        "## Detection",
        detection,
        detection_table(report),
        "## Constant answers",
        constants,
        constants_table(report),
        *copies,
        "## Timings",
        timings_table(report),
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots),
    ]
    return "\n\n".join(sections) + "\n"
