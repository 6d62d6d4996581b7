"""Tables of a kernel result, in Markdown; what was not measured is said."""

from collections.abc import Iterable
from typing import Any

from ...evaluate.tables import table
from .plan import BOTH, FORWARD

__all__ = ["cpu_tables", "gpu_table", "kernel_tables"]

_MISSING = "not measured"
_BUSY = 0.5  # processes, on average, that ran already


def kernel_tables(result: dict[str, Any]) -> str:
    """Everything of a result."""
    parts = [cpu_tables(result), gpu_table(result)]
    if result["rehearsal"]:
        parts.append("A rehearsal on a CPU: the GPU's numbers mean nothing.")
    return "\n\n".join(parts)


def cpu_tables(result: dict[str, Any]) -> str:
    """Times and exactness on the CPU, and what they were measured on."""
    cpu = result["cpu"]
    if cpu is None:
        return f"On a CPU: {_MISSING}."
    batch, _, height, width = cpu["setting"]["shape"]
    machine = result["environment"]
    versions = machine["packages"]
    note = (
        f"{batch} photographs of {width}x{height}, QF {cpu['setting']['qf']}, 4:2:0; "
        f"{machine['cpu']}, {machine['cpu_cores']} cores; torch {versions['torch']}, "
        f"kornia {result['peers']['kornia'] or 'not installed'}, "
        f"libjpeg-turbo {machine['libjpeg_turbo']} through Pillow {versions['pillow']}, which "
        "codes entropy as well."
    )
    if cpu["load_before"] > _BUSY:
        note += f" The machine had other work to do (load {cpu['load_before']:.1f} before)."
    return "\n\n".join([_times(cpu, result["peers"]), _exactness(cpu), note])


def _names(rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["contestant"] for row in rows))


def _times(cpu: dict[str, Any], peers: dict[str, Any]) -> str:
    found = {(row["contestant"], row["mode"], row["threads"]): row for row in cpu["times"]}
    counts = sorted({row["threads"] for row in cpu["times"]})
    columns = [(mode, threads) for threads in counts for mode in (FORWARD, BOTH)]

    def cell(name: str, mode: str, threads: int) -> str:
        row = found.get((name, mode, threads))
        if row is None:
            return "–"
        return f"{row['p50_ms']:.1f} ({row['p10_ms']:.1f}–{row['p90_ms']:.1f})"

    rows = [[name, *(cell(name, *column) for column in columns)] for name in _names(cpu["times"])]
    if peers["kornia"] is None:
        rows.append(["kornia", *["not installed"] * len(columns)])
    header = [f"{mode}, {_count(threads)}" for mode, threads in columns]
    return table(["p50 (p10–p90), ms", *header], rows)


def _count(threads: int) -> str:
    return f"{threads} thread" + ("s" if threads > 1 else "")


def _exactness(cpu: dict[str, Any]) -> str:
    found = {(row["contestant"], row["qf"]): row for row in cpu["exactness"]}
    qualities = sorted({row["qf"] for row in cpu["exactness"]})

    def cell(row: dict[str, Any]) -> str:
        if row["psnr_db"] is None:
            return "all"
        return f"{100 * row['values_equal']:.1f} %, {row['psnr_db']:.1f} dB"

    rows = [
        [name, *(cell(found[name, qf]) for qf in qualities)] for name in _names(cpu["exactness"])
    ]
    return table(["values equal to libjpeg's, PSNR", *(f"QF {qf}" for qf in qualities)], rows)


def gpu_table(result: dict[str, Any]) -> str:
    """Every case on the GPU, a line each."""
    gpu = result["gpu"]
    if gpu is None:
        return f"On a GPU: {_MISSING}."
    found: dict[tuple[str, str, str, int], dict[str, dict[str, Any]]] = {}
    for row in gpu["rows"]:
        case = (row["op"], row["variant"], row["mode"], row["batch"])
        found.setdefault(case, {})[f"{row['contestant']}, {row['launch']}"] = row
    rows = [[", ".join((*case[:3], f"batch {case[3]}")), *_cells(by)] for case, by in found.items()]
    header = [
        "p50, us", "MB moved", "in a graph", "of copy", "eager", "its kernels", "of copy",
        "reference", "compiled", "kornia",
    ]  # fmt: skip
    note = (
        f"{gpu['device']['name']}; a copy within its memory ran at "
        f"{gpu['copy']['bytes_per_s'] / 1e12:.2f} TB/s, an empty graph took "
        f"{gpu['empty_graph']['p50_ms'] * 1000:.1f} us."
    )
    return f"{table(header, rows)}\n\n{note}"


def _cells(by: dict[str, dict[str, Any]]) -> list[str]:
    graph, eager = by.get("kernel, graph", {}), by["kernel, eager"]
    return [
        f"{eager['bytes_moved'] / 1e6:.1f}",
        _us(graph),
        _share(graph.get("share_of_copy")),
        _us(eager),
        _us(eager, "kernels_ms"),
        _share(eager.get("kernels_share_of_copy")),
        *(_us(by.get(f"{name}, eager", {})) for name in ("reference", "compiled", "kornia")),
    ]


def _us(row: dict[str, Any], key: str = "p50_ms") -> str:
    if "error" in row:
        return "failed"
    return "–" if row.get(key) is None else f"{row[key] * 1000:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
