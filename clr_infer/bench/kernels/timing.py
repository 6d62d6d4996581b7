"""Medians and percentiles of calls that are repeated."""

import ctypes
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

__all__ = ["host_times", "keep_freed_memory", "rounds", "summary"]

_WARM_UP = 2
_FEWEST, _STEADY = 10, 0.1
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's names for mallopt
_Name = TypeVar("_Name", bound=Hashable)


def summary(times_ms: list[float]) -> dict[str, Any]:
    """Median, 10th and 90th percentile in milliseconds, and the number of runs."""
    p10, p50, p90 = (float(value) for value in np.percentile(times_ms, [10, 50, 90]))
    return {
        "p10_ms": float(f"{p10:.4g}"),
        "p50_ms": float(f"{p50:.4g}"),
        "p90_ms": float(f"{p90:.4g}"),
        "runs": len(times_ms),
    }


def keep_freed_memory() -> bool:
    """Keep for this process what it frees, where the C library is glibc.

    Otherwise large temporaries go back to the system and come again page by page, and whether they
    do depends on what ran before: one and the same call is two or three times as slow. Calls that
    allocate much, as the peers do, gain most by this.

    Returns:
        Whether it took effect.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def _once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000.0


def _steady(times_ms: list[float]) -> bool:
    p10, p50, p90 = np.percentile(times_ms, [10, 50, 90])
    return p90 - p10 <= _STEADY * p50


def rounds(
    calls: Mapping[_Name, Callable[[], Any]], seconds: float, repeats: int | None = None
) -> dict[_Name, list[float]]:
    """Time calls in turn, so that a busy moment of the machine strikes all of them alike.

    Args:
        calls: what to time, by name; each runs twice before it counts.
        seconds: to spend on a call, on average.
        repeats: exactly as many rounds; without it, at least ten, until 80 % of the times of every
            call lie within a tenth of its median, or the seconds are over.

    Returns:
        Milliseconds of each run, by name.
    """
    for _ in range(_WARM_UP):
        for call in calls.values():
            call()
    times: dict[_Name, list[float]] = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds * len(calls)

    def more(done: int) -> bool:
        if repeats is not None:
            return done < repeats
        if done < _FEWEST:
            return True
        return time.perf_counter() < deadline and not all(map(_steady, times.values()))

    done = 0
    while more(done):
        for name, call in calls.items():
            times[name].append(_once(call))
        done += 1
    return times


def host_times(call: Callable[[], Any], measure_ms: float, fewest: int = 1) -> list[float]:
    """Milliseconds of each run of one call on the host.

    Args:
        call: what to time; it runs once before it counts.
        measure_ms: of all runs together, about.
        fewest: runs, however long they take.
    """
    call()
    times: list[float] = []
    while len(times) < fewest or sum(times) < measure_ms:
        times.append(_once(call))
    return times
