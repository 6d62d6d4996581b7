"""A result of the server suite as Markdown, for the page on serving."""

from typing import Any

from ..evaluate.tables import table

__all__ = ["server_tables"]

_GOALS = {
    "network_overhead_p50_ms": "What the server adds, ms",
    "throughput_of_in_process": "Throughput beside the session's best",
}


def _label(row: dict[str, Any]) -> str:
    cores = f"{row['threads']} core a call" if row["threads"] else "all cores a call"
    if row["contestant"] == "session":
        return f"in process, {cores}"
    if row["contestant"] == "FastAPI":
        return f"FastAPI + ONNX Runtime, {cores}"
    return f"server, {row['transport']}{', shared memory' if row['shared_memory'] else ''}"


def _networks(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            f"{row['network']}, {row['transport']}{', shared memory' * row['shared_memory']}",
            f"{row['in_process_p50_ms']:.2f}",
            f"{row['p50_ms']:.2f}",
            f"{row['overhead_p50_ms']:+.2f}",
        ]
        for row in rows
        if row["batch"] == 1
    ]
    return table(["network, batch 1, p50 ms", "in process", "server", "added"], cells)


def _images(closed: list[dict[str, Any]]) -> str:
    calls = list(dict.fromkeys(row["call"] for row in closed))
    cells = []
    for label in dict.fromkeys(map(_label, closed)):
        own = [row for row in closed if _label(row) == label]
        cells.append([label])
        for call in calls:
            rows = [row for row in own if row["call"] == call]
            best = max(rows, key=lambda row: row["images_per_s"])
            most = f"{best['images_per_s']:.1f} ({best['concurrency']})"
            cells[-1].append(f"{rows[0]['p50_ms']:.0f} / {most}")
        cells[-1].append(str(max(row["memory_mb"] for row in own)))
    return table(["images, in turns", *calls, "memory, MB"], cells)


def server_tables(result: dict[str, Any]) -> str:
    """What the server adds to a network; whole images beside a session and FastAPI; the goals."""
    images, goals = result["image_level"], result["goals"]
    random = "; ".join(
        f"{row['call']} p50 {row['p50_ms']:.0f} and p99 {row['p99_ms']:.0f} ms at "
        f"{row['offered_per_s']:g}/s"
        for row in images
        if row["loop"] == "fixed rate"
    )
    verdicts = ". ".join(
        f"{text}: {'met' if goals[name]['met'] else 'missed'} (aimed at {goals[name]['goal']})"
        for name, text in _GOALS.items()
    )
    found = goals["throughput_of_in_process"]["found"]
    shares = ", ".join(f"{call} {share:.2f}" for call, share in found.items())
    plan, machine = result["plan"], result["environment"]
    return (
        f"{_networks(result['network_level'])}\n\n"
        f"{_images([row for row in images if row['loop'] == 'closed'])}\n\n"
        f"Images of {plan['width']}x{plan['height']}: p50 in ms of one caller / most images a "
        f"second (with so many callers). {machine['cpu']}, {machine['cpu_cores']} cores, which "
        f"callers and server share; profile {plan['profile']}. The server's share of the session's "
        f"best throughput: {shares}. Requests at random moments, 70 % of full load: {random}. "
        f"{verdicts}."
    )
