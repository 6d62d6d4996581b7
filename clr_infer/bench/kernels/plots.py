"""A roofline of the GPU's result, or bars of the CPU's."""

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OutputError
from ...evaluate.extras import matplotlib_figure
from .plan import BOTH, FORWARD

__all__ = ["plot_kernels"]

_MARKS = (
    ("graph", "p50_ms", "o", ", in a graph"),
    ("eager", "p50_ms", "x", ", eager"),
    ("eager", "kernels_ms", "^", ", its kernels"),
)
_COLOURS = {FORWARD: "#0b4f8a", BOTH: "#c9a227"}


def plot_kernels(result: dict[str, Any], path: Path) -> None:
    """Draw attained bandwidth over bytes under the roof of a copy, or times on the CPU.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = matplotlib_figure().Figure(figsize=(9.0, 5.0), layout="constrained")
    if result["gpu"]:
        _roofline(figure, result["gpu"])
    else:
        _bars(figure, result["cpu"])
    if result["rehearsal"]:
        figure.suptitle("rehearsal: no measurement")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise OutputError(f"the plot cannot be written to {path}: {error}") from error


def _roofline(figure: Any, gpu: dict[str, Any]) -> None:
    axes = figure.subplots()
    ours = [row for row in gpu["rows"] if "bytes_moved" in row and "p50_ms" in row]
    for colour, op in enumerate(dict.fromkeys(row["op"] for row in ours)):
        for launch, key, mark, label in _MARKS:
            points = [
                (row["bytes_moved"] / 1e6, row["bytes_moved"] / row[key] / 1e9)
                for row in ours
                if row["op"] == op and row["launch"] == launch and row.get(key)
            ]
            if points:
                axes.plot(*zip(*points, strict=True), mark, color=f"C{colour}", label=op + label)
    _roofs(axes, gpu, [row["bytes_moved"] for row in ours])
    axes.set(xscale="log", yscale="log", xlabel="MB moved", ylabel="TB/s attained")
    axes.set_title(gpu["device"]["name"])
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)


def _roofs(axes: Any, gpu: dict[str, Any], sizes: list[int]) -> None:
    """A copy's bandwidth, and what it comes to when an empty graph's time is added to its own."""
    roof, launch_s = gpu["copy"]["bytes_per_s"], gpu["empty_graph"]["p50_ms"] / 1000.0
    size = np.geomspace(min(sizes, default=1), gpu["copy"]["bytes"], 64)
    axes.plot(size / 1e6, np.full(64, roof / 1e12), "k-", label="copy within memory")
    launched = size / (size / roof + launch_s) / 1e12
    axes.plot(size / 1e6, launched, "k:", label="the same after an empty graph")


def _bars(figure: Any, cpu: dict[str, Any]) -> None:
    counts = sorted({row["threads"] for row in cpu["times"]})
    panels = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(row["contestant"] for row in cpu["times"]))
    for axes, threads in zip(panels, counts, strict=True):
        for offset, mode in ((-0.2, FORWARD), (0.2, BOTH)):
            rows = [r for r in cpu["times"] if r["threads"] == threads and r["mode"] == mode]
            p50 = [row["p50_ms"] for row in rows]
            below = [row["p50_ms"] - row["p10_ms"] for row in rows]
            above = [row["p90_ms"] - row["p50_ms"] for row in rows]
            places = [names.index(row["contestant"]) + offset for row in rows]
            axes.barh(places, p50, 0.4, xerr=[below, above], color=_COLOURS[mode], label=mode)
        axes.set(title=f"threads: {threads}", xlabel="ms, p50 with p10 to p90")
        axes.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    panels[-1].legend(fontsize=8)
