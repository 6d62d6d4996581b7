"""The kernels on a GPU: time, bytes and share of the copy bandwidth beside every alternative."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from ...kernels.aot import registry
from .cases import Case, all_cases, timed
from .machine import Machine
from .plan import BACKWARD, KernelPlan
from .timing import summary

__all__ = ["KERNEL", "run_gpu"]

KERNEL = "kernel"
_Call = Callable[[], Any]
_Build = Callable[[], _Call]


def run_gpu(plan: KernelPlan, machine: Machine, say: Callable[[str], None]) -> dict[str, Any]:
    """Every case of the plan. What fails is a row with its ``error`` and does not stop the rest."""
    copy = _copy(plan, machine)
    say(f"copy: {copy['bytes_per_s'] / 1e9:.0f} GB/s")
    rows = []
    for case in all_cases(plan, machine.device):
        for row in _rows(case, plan, machine):
            row |= _attained(row, case, copy["bytes_per_s"])
            rows.append(row)
            found = row.get("error") or f"{row['p50_ms'] * 1000:.1f} us"
            name = f"{case.op}, {case.variant}, {case.mode}, batch {case.batch}"
            say(f"{name}: {row['contestant']} ({row['launch']}) {found}")
    return {"device": machine.describe(), "copy": copy, "empty_graph": _empty(plan, machine),
            "rows": rows}  # fmt: skip


def _copy(plan: KernelPlan, machine: Machine) -> dict[str, Any]:
    """The roof: a copy within the device's memory, in this very run."""
    source = torch.zeros(plan.copy_bytes, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    found = summary(machine.times(lambda: target.copy_(source), plan.measure_ms))
    moved = 2 * plan.copy_bytes
    return {"bytes": moved, **found, "bytes_per_s": moved / found["p50_ms"] * 1000.0}


def _empty(plan: KernelPlan, machine: Machine) -> dict[str, Any]:
    """A graph of next to nothing: below this no small batch can come."""
    one = torch.zeros(1, device=machine.device)
    return summary(machine.times(machine.captured(lambda: lambda: one.fill_(1)), plan.measure_ms))


def _rows(case: Case, plan: KernelPlan, machine: Machine) -> Iterator[dict[str, Any]]:
    for contestant, launch, build in _contestants(case, plan, machine):
        row: dict[str, Any] = {
            "op": case.op,
            "variant": case.variant,
            "mode": case.mode,
            "batch": case.batch,
            "size_px": case.size_px,
            "contestant": contestant,
            "launch": launch,
        }
        try:
            call = machine.captured(build) if launch == "graph" else build()
            row |= summary(machine.times(call, plan.measure_ms))
            if contestant == KERNEL and launch == "eager":
                row["kernels_ms"] = machine.kernels_ms(call, _kernel_names())
        except Exception as error:  # what cannot run here is a result as well
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        yield row


def _kernel_names() -> set[str]:
    return {launch.kernel.__name__ for launch in registry().values()}


def _contestants(
    case: Case, plan: KernelPlan, machine: Machine
) -> Iterator[tuple[str, str, _Build]]:
    """Who runs, how it is launched, and what makes the call. The way back alone is ours alone."""
    ours = partial(timed, partial(case.function, impl=machine.impl), case)
    yield KERNEL, "eager", ours
    if case.capturable:
        yield KERNEL, "graph", ours
    if case.mode == BACKWARD:
        return
    reference = partial(case.function, impl="torch")
    yield "reference", "eager", partial(timed, reference, case)
    if plan.with_compile and case.compiled:

        def compiled() -> _Call:
            torch.compiler.reset()
            return timed(torch.compile(reference, backend=machine.compiler), case)

        yield "compiled", "eager", compiled
    if case.kornia is not None:
        yield "kornia", "eager", partial(timed, case.kornia, case)


def _attained(row: dict[str, Any], case: Case, bytes_per_s: float) -> dict[str, Any]:
    """Bytes, and for ours the share of the copy's bandwidth that they move at."""
    if row["contestant"] != KERNEL:
        return {}
    found: dict[str, Any] = {
        "bytes_moved": case.traffic.moved,
        "bytes_needed": case.traffic.needed,
    }
    floor_ms = case.traffic.moved / bytes_per_s * 1000.0
    if "p50_ms" in row:
        found["share_of_copy"] = round(floor_ms / row["p50_ms"], 4)
    if row.get("kernels_ms"):
        found["kernels_share_of_copy"] = round(floor_ms / row["kernels_ms"], 4)
    return found
