"""Load on anything that can be awaited: a closed loop, or a fixed rate of requests."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ClrError

__all__ = [
    "FEWEST",
    "Sample",
    "batch_summary",
    "closed_loop",
    "fixed_rate",
    "highest_rate",
    "summary",
    "summary_of",
]

FEWEST = 10
"""Of fewer calls there is no 95th percentile, only their slowest."""

_LEAST = 3  # requests at a fixed rate, however low

_Ask = Callable[[], Awaitable[Any]]


def summary(latencies_ms: list[float], seconds: float, failed: int = 0) -> dict[str, float]:
    """Percentiles and throughput of one measurement."""
    if not latencies_ms:
        return {"requests": 0, "failed": failed, "images_per_s": 0.0}
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99])
    return {
        "requests": len(latencies_ms),
        "failed": failed,
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "images_per_s": round(len(latencies_ms) / seconds, 3),
    }


def batch_summary(times_ms: list[float], batch: int) -> dict[str, float]:
    """Percentiles and throughput of calls on a batch, one after the other.

    Args:
        times_ms: of each call.
        batch: images in each.

    Returns:
        ``batch``, ``p50_ms``, ``images_per_s`` of all calls together, ``runs``; from
        :data:`FEWEST` runs on ``p95_ms`` and ``p99_ms``.
    """
    found = summary(times_ms, sum(times_ms) / 1000.0)
    wanted = ("p50_ms", "p95_ms", "p99_ms") if len(times_ms) >= FEWEST else ("p50_ms",)
    return {
        "batch": batch,
        **{key: found[key] for key in wanted},
        "images_per_s": round(1000.0 * batch * len(times_ms) / sum(times_ms), 2),
        "runs": len(times_ms),
    }


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        latencies_ms: of the requests that were answered.
        seconds: that it took.
        failed: requests that were not.
        warm: requests before, which count for nothing else.
    """

    latencies_ms: list[float]
    seconds: float
    failed: int = 0
    warm: int = 0

    @property
    def asked(self) -> int:
        """All requests."""
        return self.warm + len(self.latencies_ms) + self.failed


def summary_of(samples: Sequence[Sample]) -> dict[str, float]:
    """The summary of several measurements of the same thing, see :func:`summary`."""
    return summary(
        [value for sample in samples for value in sample.latencies_ms],
        sum(sample.seconds for sample in samples),
        sum(sample.failed for sample in samples),
    )


async def _refused(ask: _Ask) -> ClrError | None:
    """Send a request; why it was refused, if it was."""
    try:
        await ask()
    except ClrError as error:
        return error
    return None


async def closed_loop(ask: _Ask, concurrency: int, seconds: float) -> Sample:
    """So many callers, each of which asks again as soon as it is answered.

    Warmed up by one request of each caller, which does not count.

    Raises:
        ClrError: not one of those was answered.
    """
    latencies_ms: list[float] = []
    failed = 0
    outcomes = await asyncio.gather(*(_refused(ask) for _ in range(concurrency)))
    if (refusal := outcomes[0]) and all(outcomes):
        raise refusal
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal failed
        while (sent := time.perf_counter()) - began < seconds:
            try:
                await ask()
            except ClrError:
                failed += 1
            else:
                latencies_ms.append((time.perf_counter() - sent) * 1000.0)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return Sample(latencies_ms, time.perf_counter() - began, failed, warm=concurrency)


async def fixed_rate(ask: _Ask, per_s: float, seconds: float) -> Sample:
    """Requests at random moments (a Poisson process), whether or not earlier ones are answered.

    Latency counts from the moment that a request was due, so that a generator that falls behind
    does not flatter the server.
    """
    clock = random.Random(0)
    latencies_ms: list[float] = []
    failed = 0
    await _refused(ask)  # warms up, or does not: that is seen from the others
    began = time.perf_counter()

    async def one(due: float) -> None:
        nonlocal failed
        try:
            await ask()
        except ClrError:
            failed += 1
        else:
            latencies_ms.append((time.perf_counter() - due) * 1000.0)

    tasks: list[asyncio.Task[None]] = []
    due = began
    while (due := due + clock.expovariate(per_s)) < began + seconds or len(tasks) < _LEAST:
        await asyncio.sleep(max(due - time.perf_counter(), 0.0))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return Sample(latencies_ms, time.perf_counter() - began, failed, warm=1)


async def highest_rate(
    ask: _Ask, percentile: str, limit_ms: float, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """The highest rate of random requests whose latency stays below a limit, by bisection.

    Args:
        ask: sends one request.
        percentile: ``"p50"``, ``"p95"`` or ``"p99"``.
        limit_ms: of that percentile.
        seconds: of each trial.
        say: told of every trial.

    Returns:
        ``rate_per_s``, 0 if none meets the limit, and all ``trials``.
    """
    most = summary_of([await closed_loop(ask, 8, seconds)])["images_per_s"]
    low, high, trials = 0.0, 1.2 * most, []
    for _ in range(6 if most else 0):
        rate = (low + high) / 2
        found = {"offered_per_s": rate, **summary_of([await fixed_rate(ask, rate, seconds)])}
        met = bool(found["requests"]) and not found["failed"]
        met = met and found[f"{percentile}_ms"] <= limit_ms
        reached = found.get(f"{percentile}_ms")
        say(f"{rate:.1f}/s: {percentile} {reached} ms, {'met' if met else 'missed'}")
        trials.append({**found, "met": met})
        low, high = (rate, high) if met else (low, rate)
    return {"rate_per_s": round(low, 2), "trials": trials}
