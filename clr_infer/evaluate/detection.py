"""Verdicts alone, on many crops: what a threshold is fixed on, with photographs nobody trained on.

Locating is cheap beside recovering, so a folder of validation photographs gives thousands of
protected and as many unprotected fragments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attacks import real
from . import protocol
from .case import verdict
from .metrics import rates, roc_auc
from .protocol import FULL, MAIN_KEPT, Condition
from .report import gather_facts
from .run import check_images
from .verdicts import threshold_at
from .workers import Opener, run_jobs

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["FALSE_POSITIVE_RATE", "measure_detection"]

FALSE_POSITIVE_RATE = 0.001
"""What the threshold allows."""

_CROPS = 2
"""Kept sides of each image: half the main range apart."""


@dataclass(frozen=True)
class _Job:
    index: int
    pixels: np.ndarray
    conditions: tuple[Condition, ...]
    psnr_db: float
    seed: int

    def __len__(self) -> int:
        return _CROPS * len(self.conditions)


def _measure(
    session: "Session", job: _Job, tick: Callable[[], object]
) -> list[tuple[str, float, float]]:
    """Condition and the confidences on the protected and on the unprotected fragment."""
    protected = session.protect(job.pixels, psnr_db=job.psnr_db).image
    size, rows = job.pixels.shape[1::-1], []
    for turn in range(_CROPS):
        kept = protocol.paired_kept(job.index + turn * len(MAIN_KEPT) // _CROPS, MAIN_KEPT)
        crop = protocol.draw_crop(job.seed, job.index, kept, *size)
        for condition in job.conditions:
            chain, scores = condition.chain(crop.box), []
            for image in (protected, job.pixels):
                rng = protocol.case_rng(job.seed, job.index, kept, condition)
                received = real.apply(image, chain, rng)
                scores.append(round(verdict(session, received, image is protected).confidence, 6))
            rows.append((condition.name, scores[0], scores[1]))
            tick()
    return rows


def measure_detection(
    session: "Session",
    images: Sequence[tuple[str, np.ndarray]],
    *,
    seed: int = 0,
    workers: int = 1,
    opener: Opener | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Fix a threshold: confidences on two crops an image in every condition of the full set.

    Args:
        session: what is measured.
        images: name and pixels, HxWx3 uint8, that nobody trained on and that nothing else is
            measured on.
        seed: of the crops.
        workers: processes that share the work out; the result is the same for any number.
        opener: how the session was opened; opens it again in each of several processes.
        progress: draw a bar on standard error.

    Returns:
        ``kind``, ``facts``, ``threshold`` (its ``value``, and the rates on these images) and
        ``confidences`` by condition, of the protected and of the unprotected fragments.

    Raises:
        InputError: there are no images.
        ImageError: an image cannot be used.
        ModelError: a process ended before its work was done.
    """
    strength = session.weights.default_psnr_db
    facts = gather_facts(session, FULL.conditions, MAIN_KEPT, strength, seed, workers, opener)
    jobs = [
        _Job(index, pixels, FULL.conditions, strength, seed)
        for index, (_, pixels) in enumerate(check_images(session, images))
    ]
    measured = run_jobs(_measure, jobs, session, workers, opener, progress)
    rows = [row for one in measured for row in one]
    positives, negatives = [row[1] for row in rows], [row[2] for row in rows]
    threshold = threshold_at(negatives, FALSE_POSITIVE_RATE)
    tpr, fpr = rates(positives, negatives, threshold)
    return {
        "kind": "detection",
        "facts": facts,
        "images": len(images),
        "threshold": {
            "allowed": FALSE_POSITIVE_RATE,
            "value": threshold,
            "cases": len(rows),
            "tpr": round(tpr, 6),
            "fpr": round(fpr, 6),
            "auc": round(roc_auc(positives, negatives), 6),
        },
        "confidences": {
            condition.name: {
                "protected": [row[1] for row in rows if row[0] == condition.name],
                "unprotected": [row[2] for row in rows if row[0] == condition.name],
            }
            for condition in FULL.conditions
        },
    }
