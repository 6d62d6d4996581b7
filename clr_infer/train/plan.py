"""What to train, for how long and on what; and the curriculum that follows from it."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError, WeightsError
from ..networks.protect import NOMINAL_PSNR_DB
from .forward import Stage

__all__ = ["Plan", "plan_of", "refuse_other", "schedule"]

_SETTLED = {
    "seed": "--seed",
    "size": "--size",
    "width": "--width",
    "align_width": "align_width",
    "psnr_db": "--strength",
}
"""What stays the same in all of a run, and what chooses it."""


@dataclass(frozen=True)
class Plan:
    """What to train, for how long and on what.

    Attributes:
        minutes: time that the whole schedule takes, resumed runs included.
        size: side of the frame in training; the networks run at any other size afterwards.
        batch: images a step.
        group: images that are made and attacked at once: they share sizes and kinds of
            post-processing. Many fill a GPU, one leaves every image its own.
        width: channels of the protect and recover networks.
        align_width: channels of the align network.
        learning_rate: its peak; it warms up and then falls along a cosine.
        psnr_start_db: strength of the residual at the start of the curriculum.
        psnr_db: strength that it ends at.
        ramp: share of the run in which strength and post-processing reach their end.
        alignment: weight of the feature-alignment loss.
        seed: of the random stream.
    """

    minutes: float
    size: int = 128
    batch: int = 8
    group: int = 1
    width: int = 48
    align_width: int = 32
    learning_rate: float = 1.5e-3
    psnr_start_db: float = 24.0
    psnr_db: float = NOMINAL_PSNR_DB
    ramp: float = 0.5
    alignment: float = 0.1
    seed: int = 0

    def fine_tuning(self) -> "Plan":
        """The same plan for trained networks: the curriculum's end from the start."""
        return replace(self, psnr_start_db=self.psnr_db, ramp=0.0, learning_rate=4e-4)


def plan_of(begun: dict[str, Any], source: Path) -> Plan:
    """The plan in a checkpoint.

    Raises:
        WeightsError: it has parts that no plan has here.
    """
    try:
        return Plan(**begun)
    except TypeError as error:
        raise WeightsError(f"{source} has a plan of another version: {error}") from error


def refuse_other(plan: Plan, begun: dict[str, Any], source: Path) -> None:
    """Say that a run which was begun with one plan cannot go on with another.

    Its minutes may be others, and the images of a step, and how fast it learns.

    Args:
        plan: to go on with.
        begun: the plan in the checkpoint.
        source: the checkpoint.

    Raises:
        UsageError: codes, networks, frame or strength differ; the message names the option.
    """
    for name, option in _SETTLED.items():
        if getattr(plan, name) != begun[name]:
            raise UsageError(
                f"{option}: the run in {source.parent} was begun with {name} {begun[name]} and "
                f"cannot go on with {getattr(plan, name)}; leave it out, or take another folder"
            )


def schedule(plan: Plan, progress: float) -> tuple[Stage, float]:
    """The curriculum and the learning rate, as a share of its peak, at ``progress`` (0 to 1).

    First the networks learn to speak: a strong residual and no post-processing. Then both grow
    to their end in the share ``plan.ramp`` of the run.
    """
    ramp = min(progress / plan.ramp, 1.0) if plan.ramp else 1.0
    psnr = plan.psnr_start_db + (plan.psnr_db - plan.psnr_start_db) * ramp
    hardness = min(max((ramp - 0.2) / 0.7, 0.0), 1.0)
    rate = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return Stage(psnr, hardness, plan.alignment), rate
