"""Throughput over batch size, a line for each runtime."""

from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable

__all__ = ["plot_runtimes"]


def plot_runtimes(result: dict[str, Any], path: Path) -> None:
    """Draw images a second over the batch size, a panel for each network.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailable('plots need pip install "clr_infer[evaluate]"') from error
    networks = list(dict.fromkeys(row["network"] for row in result["rows"]))
    figure = Figure(figsize=(4.0 * len(networks), 4.0), layout="constrained")
    panels = figure.subplots(1, len(networks), squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        for one in result["runtimes"]:
            same = {"runtime": one["runtime"], "precision": one["precision"], "network": network}
            rows = [row for row in result["rows"] if same.items() <= row.items()]
            label = f"{one['runtime']}, {one['precision']}"
            axes.plot(
                [r["batch"] for r in rows], [r["images_per_s"] for r in rows], "o-", label=label
            )
        axes.set(title=network, xlabel="batch", ylabel="images/s")
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
