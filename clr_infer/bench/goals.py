"""Goals, and whether they were reached: the short table at the end of a run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..evaluate.tables import table

__all__ = ["Goal", "goal_rows", "goal_table"]


@dataclass(frozen=True)
class Goal:
    """Something aimed at.

    Attributes:
        name: what is measured, and on what.
        least: at least so much is wanted; ``None`` where ``below`` says what.
        below: less than so much is wanted.
        unit: of both and of what was found.
        found: the measurement; ``None`` where there is none.
        why: there is none, or what else is worth knowing.
    """

    name: str
    unit: str
    least: float | None = None
    below: float | None = None
    found: float | None = None
    why: str = ""

    @property
    def reached(self) -> bool | None:
        """``None`` where nothing was measured."""
        if self.found is None:
            return None
        if self.below is not None:
            return self.found < self.below
        return self.least is not None and self.found >= self.least


def goal_rows(goals: Sequence[Goal], rehearsal: bool) -> list[dict[str, Any]]:
    """What goes into a result file; a rehearsal reaches no goal and misses none."""
    return [{**asdict(goal), "reached": None if rehearsal else goal.reached} for goal in goals]


def goal_table(goals: Sequence[Goal], rehearsal: bool) -> str:
    """A line for each goal, in Markdown; a rehearsal reaches none and misses none."""
    rows = []
    for goal in goals:
        wanted = f"< {goal.below:g}" if goal.below is not None else f">= {goal.least:g}"
        found = "not measured" if goal.found is None else f"{goal.found:.4g} {goal.unit}"
        reached = {None: "–", True: "yes", False: "no"}[None if rehearsal else goal.reached]
        note = f" ({goal.why})" if goal.why else ""
        rows.append([goal.name, f"{wanted} {goal.unit}", found + note, reached])
    text = table(["goal", "wanted", "found", "reached"], rows)
    if not rehearsal:
        return text
    return text + "\n\nA rehearsal at toy size: these numbers mean nothing and reach nothing."
