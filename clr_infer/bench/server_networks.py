"""What the server adds to a network, by ``perf_analyzer`` in turns with this process."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..runtimes import Runtime
from ..specs import SPECS
from . import perf_analyzer
from .load import Sample, summary_of

__all__ = ["network_rows"]


def network_rows(
    runtime: Runtime,
    networks: Sequence[str],
    batches: Sequence[int],
    ways: Sequence[tuple[str, bool]],
    urls: Mapping[str, str],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Networks, one request at a time: through the server, and here before and after.

    Args:
        runtime: as the server's instances are: as many threads.
        networks: which.
        batches: images in a request.
        ways: transports, each with shared memory or without.
        urls: of the server, by transport.
        rounds: of each.
        seconds: of each measurement here, and of each of three windows there.
        say: told what is measured.

    Returns:
        A row for each network, batch and way. ``overhead_p50_ms`` is the median there less that
        here.
    """
    rows = []
    for network, batch, (transport, shared) in itertools.product(networks, batches, ways):
        spec = SPECS[network]
        room = max(4 * batch * int(np.prod(t.dims(runtime.size))) for t in spec.outputs)
        way = f"{transport}{', shared memory' if shared else ''}"
        say(f"{spec.model_name}, {way}, batch {batch}")
        here, there = [_alone(runtime, network, batch, seconds)], []
        for _ in range(rounds):
            there.append(
                perf_analyzer.measure(
                    urls[transport],
                    spec.model_name,
                    shared_memory=shared,
                    batch=batch,
                    concurrency=1,
                    seconds=seconds,
                    output_bytes=room,
                )
            )
            here.append(_alone(runtime, network, batch, seconds))
        alone_ms = summary_of(here)["p50_ms"]
        found = {key: round(float(np.median([t[key] for t in there])), 3) for key in there[0]}
        rows.append(
            {
                "network": network,
                "transport": transport,
                "shared_memory": shared,
                "tool": "perf_analyzer",
                "batch": batch,
                "concurrency": 1,
                **found,
                "in_process_p50_ms": alone_ms,
                "overhead_p50_ms": round(found["p50_ms"] - alone_ms, 3),
            }
        )
    return rows


def _alone(runtime: Runtime, network: str, batch: int, seconds: float) -> Sample:
    dims = {t.name: (batch, *t.dims(runtime.size)) for t in SPECS[network].inputs}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in dims.items()}
    runtime.run(network, inputs)
    latencies_ms: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(latencies_ms) < 3:
        sent = time.perf_counter()
        runtime.run(network, inputs)
        latencies_ms.append((time.perf_counter() - sent) * 1000.0)
    return Sample(latencies_ms, time.perf_counter() - began)
