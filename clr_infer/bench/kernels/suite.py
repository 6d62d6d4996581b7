"""The kernel suite: what was measured, where, and what came of the goals."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ...env import describe_environment
from ...errors import RuntimeUnavailable
from ..facts import commit
from .cpu import run_cpu
from .gpu import KERNEL, run_gpu
from .machine import Cuda, Rehearsal, why_no_gpu
from .peers import kornia_version
from .plan import BACKWARD, FORWARD, KernelPlan
from .schema import check_result

__all__ = ["failures", "run_kernels"]

_OURS = "jpeg_simulate, ste"


def run_kernels(
    plan: KernelPlan,
    command: str,
    say: Callable[[str], None],
    only: str | None = None,
    rehearse: bool = False,
) -> dict[str, Any]:
    """Measure what can be measured here; returns what goes into the result file.

    Args:
        plan: what, and how long.
        command: how this was asked for.
        say: takes a line about progress.
        only: ``"cpu"`` or ``"gpu"``; without it the CPU, and the GPU if there is one.
        rehearse: run the GPU's part on the CPU. Its numbers mean nothing.

    Raises:
        RuntimeUnavailable: the GPU was asked for and cannot be measured.
    """
    reason = None if rehearse else why_no_gpu()
    if only == "gpu" and reason:
        raise RuntimeUnavailable(f"kernels cannot be measured: {reason}; see --rehearse")
    cpu = run_cpu(plan, say) if only != "gpu" else None
    gpu = None
    if only != "cpu" and reason is None:
        gpu = run_gpu(plan, Rehearsal() if rehearse else Cuda(), say)
    result = {
        "kind": "kernels",
        "rehearsal": rehearse,
        "commit": commit(),
        "command": command,
        "environment": describe_environment(),
        "peers": {"kornia": kornia_version()},
        "plan": asdict(plan),
        "cpu": cpu,
        "gpu": gpu,
        "goals": {**_cpu_goals(cpu), **_gpu_goals(gpu)},
    }
    check_result(result)
    return result


def failures(result: dict[str, Any]) -> list[str]:
    """The kernels that could not be measured, with their errors."""
    rows = result["gpu"]["rows"] if result["gpu"] else []
    return [
        f"{row['op']}, {row['variant']}, {row['mode']}, batch {row['batch']}: {row['error']}"
        for row in rows
        if row["contestant"] == KERNEL and "error" in row
    ]


def _cpu_goals(cpu: dict[str, Any] | None) -> dict[str, Any]:
    """How much faster the exact reference is than kornia's approximation."""
    if cpu is None:
        return {}
    p50 = {(row["contestant"], row["mode"], row["threads"]): row["p50_ms"] for row in cpu["times"]}
    found = {
        f"{mode}, threads: {threads}": round(peer / p50[_OURS, mode, threads], 2)
        for (name, mode, threads), peer in p50.items()
        if name == "kornia"
    }
    return {"cpu_times_kornia": {"goal": "> 1", "found": found}}


def _gpu_goals(gpu: dict[str, Any] | None) -> dict[str, Any]:
    """Shares of the copy bandwidth at the largest batch, and the advantage over kornia.

    Kornia is launched eagerly, and so are we for that goal; a CUDA graph of ours stands beside it.
    """
    if gpu is None:
        return {}
    rows = [row for row in gpu["rows"] if row["op"] == "jpeg_simulate" and "error" not in row]
    largest = max((row["batch"] for row in rows), default=0)
    rows = [row for row in rows if row["batch"] == largest]
    shares = {
        f"{row['variant']}, {row['mode']}": row.get("kernels_share_of_copy")
        for row in rows
        if row["mode"] in (FORWARD, BACKWARD) and "kernels_ms" in row
    }
    return {
        "gpu_share_of_copy": {"goal": ">= 0.85 in the kernels", "found": shares},
        "gpu_times_kornia": {
            "goal": ">= 30, both eager",
            "found": _times_kornia(rows, "eager"),
            "in_a_graph": _times_kornia(rows, "graph"),
        },
    }


def _times_kornia(rows: list[dict[str, Any]], launch: str) -> dict[str, float]:
    """How much faster the kernels, so launched, are than kornia: mode to factor."""
    p50 = {
        (row["variant"], row["mode"]): row["p50_ms"]
        for row in rows
        if row["contestant"] == KERNEL and row["launch"] == launch
    }
    return {
        row["mode"]: round(row["p50_ms"] / p50[row["variant"], row["mode"]], 1)
        for row in rows
        if row["contestant"] == "kornia" and (row["variant"], row["mode"]) in p50
    }
