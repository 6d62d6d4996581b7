"""A report: every case of a run, and its files."""

import csv
import gzip
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import features

from .. import __version__
from ..attacks.steps import describe
from ..bench.facts import commit
from ..env import command_line
from ..errors import OutputError
from ..staging import refuse_unwritable
from .aggregate import aggregate
from .page import markdown
from .plots import PLOTS, draw_plots
from .protocol import Condition
from .workers import Opener

if TYPE_CHECKING:
    from ..session import Session

__all__ = [
    "FORMAT",
    "REPORT_JSON",
    "REPORT_MARKDOWN",
    "Report",
    "check_folder",
    "gather_facts",
    "gather_versions",
    "json_text",
    "read_result",
    "write_result",
    "write_report",
]

FORMAT = 1
REPORT_JSON, _CSV, REPORT_MARKDOWN = "report.json", "cases.csv", "report.md"
_FILES = (REPORT_JSON, _CSV, REPORT_MARKDOWN, *PLOTS)


@dataclass(frozen=True)
class Report:
    """What a run measured.

    Attributes:
        facts: versions, weights, conditions, kept sides and seed; more may be added.
        images: one row an image: name, size, sha256 of its pixels, how visible its protection is.
        crops: one row a crop: image, kept side, kind, box in pixels and in fractions.
        cases: one row a case, with the columns of ``cases.csv``.
    """

    facts: dict[str, Any]
    images: list[dict[str, Any]]
    crops: list[dict[str, Any]]
    cases: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``report.json`` holds them, with the aggregates."""
        return {
            "format": FORMAT,
            "facts": self.facts,
            "aggregates": aggregate(self.images, self.cases),
            "images": self.images,
            "crops": self.crops,
            "cases": self.cases,
        }


def gather_versions() -> dict[str, str | None]:
    """The versions of everything that a number may depend on; ``None`` for what is missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for library in ("numpy", "pillow", "scipy", "onnxruntime", "openvino", "torch"):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    turbo = features.version_feature("libjpeg_turbo")
    return found | {"libjpeg_turbo": turbo or features.version_codec("jpg")}


def gather_facts(
    session: "Session",
    conditions: Sequence[Condition],
    kept: Sequence[float],
    psnr_db: float,
    seed: int,
    workers: int = 1,
    opener: Opener | None = None,
) -> dict[str, Any]:
    """Everything that one needs to know to repeat a run; to be asked for when it starts.

    ``threads`` are those of each process, ``None`` where nobody set them.
    """
    manifest = session.weights.manifest
    return {
        "package": __version__,
        "commit": commit(),
        "weights": {key: value for key, value in manifest.items() if key != "validation"},
        "runtime": session.runtime.name,
        "network_size_px": session.runtime.size,
        "threshold": session.settings.threshold,
        "feather_px": session.settings.feather_px,
        "psnr_db": psnr_db,
        "seed": seed,
        "kept": list(kept),
        "conditions": [
            {
                "name": one.name,
                "label": one.label,
                "before_crop": describe(one.before),
                "after_crop": describe(one.after),
                "swept": one.swept,
                "kept": list(one.kept),
            }
            for one in conditions
        ],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
        },
        "workers": workers,
        "threads": opener.threads if opener else None,
        "versions": gather_versions(),
    }


def json_text(report: dict[str, Any]) -> str:
    """Any result as JSON with one row a line, so that two reports can be compared line by line."""
    parts = []
    for key, value in report.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in value)
            text = f"[\n{lines}\n ]"
        else:
            text = json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n ")
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_result(path: Path) -> dict[str, Any]:
    """The content of a result file, gzipped if its name ends so."""
    data = path.read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return found


def _csv_text(cases: Sequence[dict[str, Any]]) -> str:
    """One line a case; lists are separated by spaces, what is missing is empty."""

    def cell(value: Any) -> Any:
        return " ".join(str(v) for v in value) if isinstance(value, list) else value

    text = io.StringIO()
    writer = csv.DictWriter(text, list(cases[0]) if cases else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in cases)
    return text.getvalue()


def check_folder(folder: Path | str, *, force: bool = False) -> None:
    """Say before a long run whether its report can be written.

    Raises:
        OutputError: it is no folder or not writable, or it holds a report and ``force`` was not
            given.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is not a folder")
    refuse_unwritable(target / REPORT_JSON)
    present = [name for name in _FILES if (target / name).exists()]
    if present and not force:
        raise OutputError(
            f"{target} already holds {', '.join(present)}; take another folder, or --force"
        )


def write_report(report: Report, folder: Path | str, *, force: bool = False) -> list[Path]:
    """Write ``report.json``, ``cases.csv``, ``report.md`` and the plots.

    All files are made in a temporary folder first and moved then; other files are left alone.

    Args:
        report: what a run measured.
        folder: made if it does not exist.
        force: replace an earlier report.

    Returns:
        The files written.

    Raises:
        OutputError: the folder cannot be written, or holds a report already.
        RuntimeUnavailable: matplotlib is not installed.
    """
    target, content = Path(folder), report.as_dict()
    with _staged(target, force) as made:
        plots = draw_plots(content, made)
        (made / REPORT_JSON).write_text(json_text(content), "utf-8")
        (made / _CSV).write_text(_csv_text(report.cases), "utf-8")
        (made / REPORT_MARKDOWN).write_text(markdown(content, plots), "utf-8")
    return [target / name for name in _FILES if (target / name).exists()]


@contextmanager
def _staged(target: Path, force: bool) -> Iterator[Path]:
    """A folder for the files of a report, which take the place of an earlier one's all at once."""
    check_folder(target, force=force)
    made: Path | None = None
    try:
        target.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".report-", dir=target))
        yield made
        for name in _FILES:
            if (made / name).exists():
                os.replace(made / name, target / name)
            else:  # a plot of the report that this one replaces
                (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the report cannot be written to {target}: {error}") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def write_result(result: dict[str, Any], text: str, folder: Path, *, force: bool = False) -> None:
    """Write a result that is no :class:`Report`: ``report.json`` and ``report.md``.

    Args:
        result: plain values.
        text: Markdown.
        folder: made if it does not exist.
        force: replace an earlier report.

    Raises:
        OutputError: there is a report already, or the folder cannot be written.
    """
    with _staged(folder, force) as made:
        (made / REPORT_JSON).write_text(json_text(result), "utf-8")
        (made / REPORT_MARKDOWN).write_text(text + "\n", "utf-8")
