"""Latency against throughput."""

from pathlib import Path
from typing import Any

__all__ = ["plot_server"]


def plot_server(result: dict[str, Any], path: Path) -> None:
    """Draw p50 and p99 against throughput for each call: server, peer, and in process.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
    """
    from ..errors import RuntimeUnavailable

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailable('plots need pip install "clr_infer[evaluate]"') from error
    calls = list(dict.fromkeys(row["call"] for row in result["image_level"]))
    figure = Figure(figsize=(4.5 * len(calls), 4.0), layout="constrained")
    for axes, call in zip(figure.subplots(1, len(calls), squeeze=False)[0], calls, strict=True):
        for label, rows in _curves(result, call).items():
            throughput = [row["images_per_s"] for row in rows]
            (line,) = axes.plot(throughput, [row["p50_ms"] for row in rows], "o-", label=label)
            p99 = [row["p99_ms"] for row in rows]
            axes.plot(throughput, p99, ":", color=line.get_color())
        axes.set(title=call, xlabel="images/s", ylabel="latency, ms: p50 solid, p99 dotted")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _curves(result: dict[str, Any], call: str) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in result["image_level"]:
        if row["call"] == call and row["loop"] == "closed" and row["requests"]:
            words = [row["contestant"], row["transport"]]
            words.append("shared memory" if row["shared_memory"] else None)
            words.append(None if row["threads"] else "all cores a call")
            curves.setdefault(", ".join(word for word in words if word), []).append(row)
    return curves
