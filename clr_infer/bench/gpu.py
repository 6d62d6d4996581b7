"""All that a GPU is asked in one run: kernels, latency, runtimes; a file for each, and the goals.

Each part is written as soon as it is measured, and none is begun when the time is short, so that
a machine that is taken away leaves what was found so far.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import OutputError, RuntimeUnavailable, UsageError
from ..staging import refuse_unwritable
from .facts import facts
from .goals import Goal, goal_rows
from .kernels.plan import QUICK, REHEARSED, KernelPlan
from .kernels.suite import failures, run_kernels
from .latency import REHEARSED as REHEARSED_LATENCY
from .latency import LatencyPlan, measure_latency
from .runtimes import Plan, candidates, exported_folders, run_suite

__all__ = ["check_folder", "run_gpu_suite"]

_PARTS = ("kernels", "latency", "runtimes", "goals")
_COMPILE_S = 150.0
_RUNTIMES_S = 60.0
_GROUPS = ("protect", "locate+recover")
_LARGEST = 32


def check_folder(folder: Path, rehearse: bool) -> None:
    """Refuse to put a rehearsal where results are published.

    Raises:
        UsageError: the folder is ``benchmarks/results``.
    """
    if rehearse and folder.resolve().parts[-2:] == ("benchmarks", "results"):
        raise UsageError("--rehearse measures nothing: give -o a place outside benchmarks/results")


class _Run:
    """One run of the suite: where it writes, and how long it may take."""

    def __init__(
        self, folder: Path, minutes: float, rehearse: bool, say: Callable[[str], None]
    ) -> None:
        self.folder, self.rehearse, self.say = folder, rehearse, say
        self.end = time.monotonic() + minutes * 60.0
        self.failed: list[str] = []

    def left_s(self) -> float:
        return self.end - time.monotonic()

    def part(self, name: str, needs_s: float, measure: Callable[[], dict[str, Any]]) -> Any:
        """Measure a part and write it; ``None`` if it failed or there was no time for it."""
        if self.left_s() < needs_s:
            self.failed.append(f"{name}: left out, {max(self.left_s(), 0):.0f} s were left")
            return None
        self.say(f"{name}, {self.left_s():.0f} s left")
        try:
            result = {**measure(), "rehearsal": self.rehearse}
        except Exception as error:  # drivers and compilers raise nearly anything
            self.failed.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
            return None
        self.write(name, result)
        return result

    def write(self, name: str, result: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(f"the result cannot be written to {path}: {error}") from error
        self.say(f"written to {path}")


def run_gpu_suite(
    folder: Path,
    minutes: float,
    command: str,
    say: Callable[[str], None],
    rehearse: bool = False,
    models: Path | None = None,
) -> tuple[list[Goal], list[str]]:
    """Measure kernels, latency and runtimes on a GPU.

    Writes ``kernels.json``, ``latency.json``, ``runtimes.json`` and ``goals.json``.

    Args:
        folder: for the files.
        minutes: for everything; parts that need more than is left are left out.
        command: how this was asked for.
        say: takes a line about progress.
        rehearse: run it at toy size on the CPU. Its numbers mean nothing.
        models: exported precisions, or engines, for the runtimes.

    Returns:
        The goals, and what failed or was left out.

    Raises:
        RuntimeUnavailable: there is no GPU and nothing is rehearsed.
        UsageError: a rehearsal would be written where results are published, or ``models`` holds
            no weights.
        OutputError: the folder cannot be written.
    """
    check_folder(folder, rehearse)
    for name in _PARTS:
        refuse_unwritable(folder / f"{name}.json")
    if models is not None:
        exported_folders(models)
    if not rehearse and not torch.cuda.is_available():
        raise RuntimeUnavailable("PyTorch sees no GPU here; --rehearse runs the same on the CPU")
    run = _Run(folder, minutes, rehearse, say)
    kernel_plan = replace(KernelPlan(with_compile=False, subsamplings=("4:2:0",)), **_toy(rehearse))
    latency_plan = REHEARSED_LATENCY if rehearse else LatencyPlan()
    kernels = run.part(
        "kernels", 30, lambda: run_kernels(kernel_plan, command, say, "gpu", rehearse)
    )
    latency = run.part(
        "latency",
        30,
        lambda: facts("latency") | measure_latency(latency_plan, say, run.end),
    )
    run.part("runtimes", 0 if rehearse else _RUNTIMES_S, lambda: _runtimes(run, models))
    if kernels:
        run.failed += failures(kernels)
    if latency and not rehearse:  # where all of them work
        run.failed += [f"{name}: {why}" for name, why in latency["unavailable"].items()]
    goals = [*_kernel_goals(kernels), *_latency_goals(latency)]
    run.write(
        "goals",
        {
            **facts("gpu_goals"),
            "rehearsal": rehearse,
            "goals": goal_rows(goals, rehearse),
            "failed": run.failed,
        },
    )
    return goals, run.failed


def _toy(rehearse: bool) -> dict[str, Any]:
    return {**QUICK, **REHEARSED} if rehearse else {}


def _runtimes(run: _Run, models: Path | None) -> dict[str, Any]:
    """Every runtime of a GPU beside PyTorch, from numpy to numpy; compiled if there is time.

    A rehearsal takes the embedded one: the others are those of their suite's own tests.
    """
    if run.rehearse:
        found, reasons = candidates(only=("onnxruntime",))
        return run_suite(
            Plan(("align",), (1,), rounds=1, picture_rounds=0), found, reasons, run.say
        )
    found, reasons = candidates(models)
    found = [one for one in found if one.runtime != "onnxruntime"]  # a CPU would hold up the rest
    if run.left_s() < _RUNTIMES_S + _COMPILE_S:
        for one in [one for one in found if "+compile" in one.runtime]:
            found.remove(one)
            reasons[one.label] = f"{run.left_s():.0f} s are left, compiling may take longer"
    plan = Plan(batches=(1, 8, _LARGEST), call_s_max=1.0, picture_rounds=0)
    return run_suite(plan, found, reasons, run.say)


def _kernel_goals(kernels: dict[str, Any] | None) -> list[Goal]:
    """Of the fused codec, fp32, 4:2:0, straight through, at the largest batch."""
    found = kernels["goals"] if kernels else {}
    shares = found.get("gpu_share_of_copy", {}).get("found", {})
    kornia = found.get("gpu_times_kornia", {})
    times, graphs = kornia.get("found", {}), kornia.get("in_a_graph", {})
    goals = []
    for mode in ("forward", "backward"):
        share = shares.get(f"ste, fp32, 4:2:0, {mode}")
        percent = None if share is None else 100.0 * share
        name = f"JPEG {mode}, share of a copy's bandwidth"
        goals.append(Goal(name, "%", least=85.0, found=percent))
    for mode in ("forward", "forward+backward"):
        why = "kornia is not installed, or it failed"
        if mode in times:
            why = f"{graphs[mode]} in a CUDA graph" if mode in graphs else ""
        name = f"JPEG {mode}, times faster than kornia, both eager"
        goals.append(Goal(name, "x", least=30.0, found=times.get(mode), why=why))
    return goals


def _latency_goals(latency: dict[str, Any] | None) -> list[Goal]:
    """Of the fastest runtime, on tensors that are on the device."""
    rows = latency["networks"] if latency else []
    goals: list[Goal] = []
    for call in _GROUPS:
        ones = [row for row in rows if (row["call"], row["batch"]) == (call, 1)]
        best: dict[str, Any] = min(ones, key=lambda row: row["p50_ms"], default={})
        goals.append(
            Goal(
                f"{call}, batch 1, p50",
                "ms",
                below=1.0,
                found=best.get("p50_ms"),
                why=best.get("runtime", ""),
            )
        )
    for call in _GROUPS:
        many = [row for row in rows if (row["call"], row["batch"]) == (call, _LARGEST)]
        best = max(many, key=lambda row: row["images_per_s"], default={})
        goals.append(
            Goal(
                f"{call}, batch {_LARGEST}",
                "images/s",
                least=10_000.0,
                found=best.get("images_per_s"),
                why=best.get("runtime", ""),
            )
        )
    return goals
