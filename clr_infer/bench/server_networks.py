"""What the server adds to a network, by ``perf_analyzer`` in turns with this process."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtimes import Runtime
from ..serving.embedded import EmbeddedServer
from ..specs import SPECS
from . import perf_analyzer
from .load import Sample, summary_of

__all__ = ["network_rows"]


def network_rows(
    runtime: Runtime,
    networks: Sequence[str],
    ways: Sequence[tuple[str, bool]],
    server: EmbeddedServer,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Networks one request at a time, batch 1: through the server, and here before and after.

    Args:
        runtime: as the server's instances are: as many threads.
        networks: which.
        ways: transports, each with shared memory or without.
        server: already there.
        rounds: of each.
        seconds: of each measurement here, and of each of three windows there.
        say: told what is measured.

    Returns:
        A row for each network and way. ``overhead_p50_ms`` is the median there less that here.
    """
    rows = []
    for network in networks:
        spec = SPECS[network]
        room = max(4 * int(np.prod(t.dims(runtime.size))) for t in spec.outputs)
        for transport, shared in ways:
            say(f"{spec.model_name}, {transport}{', shared memory' if shared else ''}")
            here, there = [_alone(runtime, network, seconds)], []
            for _ in range(rounds):
                there.append(
                    perf_analyzer.measure(
                        getattr(server, f"{transport}_url"),
                        spec.model_name,
                        shared_memory=shared,
                        concurrency=1,
                        seconds=seconds,
                        output_bytes=room,
                    )
                )
                here.append(_alone(runtime, network, seconds))
            alone_ms = summary_of(here)["p50_ms"]
            found = {key: round(float(np.median([t[key] for t in there])), 3) for key in there[0]}
            rows.append(
                {
                    "network": network,
                    "transport": transport,
                    "shared_memory": shared,
                    "tool": "perf_analyzer",
                    "batch": 1,
                    "concurrency": 1,
                    **found,
                    "in_process_p50_ms": alone_ms,
                    "overhead_p50_ms": round(found["p50_ms"] - alone_ms, 3),
                }
            )
    return rows


def _alone(runtime: Runtime, network: str, seconds: float) -> Sample:
    inputs = {
        t.name: np.zeros((1, *t.dims(runtime.size)), np.float32) for t in SPECS[network].inputs
    }
    runtime.run(network, inputs)
    latencies_ms: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(latencies_ms) < 3:
        sent = time.perf_counter()
        runtime.run(network, inputs)
        latencies_ms.append((time.perf_counter() - sent) * 1000.0)
    return Sample(latencies_ms, time.perf_counter() - began)
