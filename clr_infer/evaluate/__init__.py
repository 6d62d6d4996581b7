"""The published evaluation protocol: measure a session, write and redraw reports.

::

    from clr_infer.evaluate import evaluate, write_report

    report = evaluate(session, images, "full", seed=0)  # images: [(name, HxWx3 uint8), ...]
    write_report(report, "reports/kodak")

Needs scipy and matplotlib, ``pip install "clr_infer[evaluate]"``, and imports them when used.
"""

from .page import markdown
from .protocol import CONDITIONS, FULL, QUICK, SETS, Condition, EvaluationSet, pick_condition
from .report import Report, check_folder, write_report
from .run import evaluate
from .tables import headline_table, protected_table

__all__ = [
    "CONDITIONS",
    "FULL",
    "QUICK",
    "SETS",
    "Condition",
    "EvaluationSet",
    "Report",
    "check_folder",
    "evaluate",
    "headline_table",
    "markdown",
    "pick_condition",
    "protected_table",
    "write_report",
]
