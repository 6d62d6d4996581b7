"""Results of the latency and runtimes suites as Markdown, for the README and docs/runtimes.md."""

from typing import Any

from ..evaluate.tables import table

__all__ = ["fastest_on_gpu", "gpu_latency_table", "runtimes_table"]


def _gpu(result: dict[str, Any]) -> str:
    name: str = result["environment"]["gpus"][0].split(",")[0]
    return name


def fastest_on_gpu(result: dict[str, Any]) -> str:
    """One picture in a sentence: networks, and from main memory to main memory."""

    def fastest(part: str, call: str, **wanted: int) -> str:
        wanted_row = {"call": call, "batch": 1, **wanted}
        rows = [row for row in result[part] if wanted_row.items() <= row.items()]
        return f"{min(row['p50_ms'] for row in rows):.1f} ms"

    protect, recover = (fastest("networks", call) for call in ("protect", "locate+recover"))
    pictures = [fastest("pictures", call, width=1920) for call in ("protect", "recover")]
    return (
        f"On one {_gpu(result)}, p50 of the fastest of four ways "
        f"([all](docs/runtimes.md#on-a-gpu)): protect network {protect}, locate, align and recover "
        f"networks {recover}; pictures of 1920x1080, memory to memory, {pictures[0]} and "
        f"{pictures[1]}."
    )


def gpu_latency_table(result: dict[str, Any]) -> str:
    """Milliseconds and images a second on a GPU: networks, then pictures from end to end."""
    names = list(dict.fromkeys(row["runtime"] for row in result["networks"]))
    rows = []
    for part in ("networks", "pictures"):
        cases: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
        for row in result[part]:
            size = f", {row['width']}x{row['height']}" if part == "pictures" else ""
            cases.setdefault((row["call"] + size, row["batch"]), {})[row["runtime"]] = row
        for (call, batch), found in cases.items():
            best = max(row["images_per_s"] for row in found.values())
            cells = [f"{found[name]['p50_ms']:.1f} ({found[name]['p95_ms']:.1f})" for name in names]
            rows.append([call, str(batch), *cells, f"{best:.0f}"])
    header = ["p50 (p95), ms", "batch", *(f"`{name}`" for name in names), "images/s, best"]
    packages = result["environment"]["packages"]
    return (
        f"{table(header, rows)}\n\n{_gpu(result)}, PyTorch {packages['torch']}, Triton "
        f"{packages['triton']}. Rows without a size are networks at 512x512 from tensor to tensor, "
        "on the GPU; rows with one, pictures from main memory to main memory."
    )


def runtimes_table(result: dict[str, Any]) -> str:
    """Batch 1 and the best throughput of every runtime and precision on a CPU.

    Args:
        result: of ``clr-infer bench runtimes``.
    """
    networks = list(dict.fromkeys(row["network"] for row in result["rows"]))
    cells = []
    for one in result["runtimes"]:
        same = {"runtime": one["runtime"], "precision": one["precision"]}
        found = [row for row in result["rows"] if same.items() <= row.items()]
        row = [one["runtime"], one["precision"]]
        for network in networks:
            mine = [r for r in found if r["network"] == network]
            best = max(mine, key=lambda r: r["images_per_s"])
            row.append(f"{mine[0]['p50_ms']:.0f} / {best['images_per_s']:.1f} ({best['batch']})")
        cells.append([*row, f"{one['load_ms'] / 1000:.1f}", str(one["peak_mb"])])
    drawn = table(["runtime", "precision", *networks, "load, s", "peak, MB"], cells)
    goals, cpu = result["goals"], result["environment"]
    plan = result["plan"]

    def both(goal: str) -> str:
        found = goals[goal]["found"]
        return f"{found['protect']:.2f} times for protect, {found['recover']:.2f} for recover"

    return (
        f"{drawn}\n\nNetworks: median ms at batch 1 / images/s at the best batch size (that size). "
        f"{cpu['cpu']}, {cpu['cpu_cores']} cores, interleaved.\n\n"
        f"Best throughput beside that of PyTorch, eagerly run (goal: 2): the embedded default "
        f"{both('embedded_of_eager_throughput')}; OpenVINO with the int8 graphs "
        f"{both('openvino_of_eager_throughput')}. From PNG to PNG at "
        f"{plan['width']}x{plan['height']}, beside reading and writing the picture (goal: under "
        f"3): the default {both('embedded_end_to_end_of_png')}; OpenVINO "
        f"{both('openvino_end_to_end_of_png')}."
    )
