"""Whole images under load: all contestants in turns, so that a machine's moods meet them alike."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from .contestants import Contestant, Stats
from .load import Sample, closed_loop, fixed_rate, summary_of
from .usage import Usage

__all__ = ["image_rows"]

_FULL = 0.7  # of what the closed loop reached is asked for at a fixed rate


def image_rows(
    contestants: Sequence[Contestant],
    calls: Sequence[str],
    concurrency: Sequence[int],
    rates: Sequence[float],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A row for each call, load and contestant.

    Args:
        contestants: whom to ask; the server is among them.
        calls: of ``locate``, ``protect`` and ``recover``.
        concurrency: requests under way in a closed loop.
        rates: requests a second at random moments, of the server alone; empty takes one, 70 % of
            what its closed loop reached, or none where it answered nothing.
        rounds: in each, every contestant is measured once; the one to begin rotates.
        seconds: of each measurement.
        say: told what is measured.
    """
    return asyncio.run(_rows(contestants, calls, concurrency, rates, rounds, seconds, say))


async def _rows(
    contestants: Sequence[Contestant],
    calls: Sequence[str],
    concurrency: Sequence[int],
    rates: Sequence[float],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(one.open()) for one in contestants]
        for call in calls:
            asks = [partial(ask, call) for ask, _ in doors]
            meters = [_Meter(one, door[1]) for one, door in zip(contestants, doors, strict=True)]
            for count in concurrency:
                say(f"{call}, {count} under way: {len(contestants)} in turns, {rounds} rounds")
                for turn in range(rounds):
                    for index in _rotated(len(contestants), turn):
                        await meters[index].add(partial(closed_loop, asks[index], count, seconds))
                load = {"call": call, "loop": "closed", "concurrency": count}
                rows += [{**load, **meter.taken()} for meter in meters]
            reached = max(
                row["images_per_s"]
                for row in rows
                if row["call"] == call and row["contestant"] == "server"
            )
            index = next(
                i for i, one in enumerate(contestants) if one.facts["contestant"] == "server"
            )
            for rate in rates or _full(reached):
                say(f"{call}, {contestants[index].label}: {rate:g} a second")
                await meters[index].add(partial(fixed_rate, asks[index], rate, rounds * seconds))
                load = {"call": call, "loop": "fixed rate", "offered_per_s": rate}
                rows.append({**load, **meters[index].taken()})
    return rows


def _full(reached: float) -> Sequence[float]:
    """The rate that is asked for where none was given; none where nothing was answered."""
    rate = _FULL * reached
    return [round(rate, 1) or rate] if rate else []


def _rotated(count: int, turn: int) -> list[int]:
    return [(index + turn) % count for index in range(count)]


class _Meter:
    """Gathers what one contestant does under one load."""

    def __init__(self, contestant: Contestant, stats: Stats | None) -> None:
        self._contestant, self._stats = contestant, stats
        self._forget()

    def _forget(self) -> None:
        self._samples: list[Sample] = []
        self._cpu_s = 0.0
        self._memory_mb = 0.0
        self._models: dict[str, dict[str, float]] = {}

    async def add(self, measure: Callable[[], Awaitable[Sample]]) -> None:
        # All of CPU time below this process: whoever asks shares the cores with whoever answers.
        usage = Usage(os.getpid())
        before = await self._stats() if self._stats else {}
        self._samples.append(await measure())
        self._cpu_s += usage.cpu_s()
        if pid := self._contestant.pid:
            memory_mb = Usage(pid).memory_mb(children=pid != os.getpid())
            self._memory_mb = max(self._memory_mb, memory_mb)
        for model, now in (await self._stats() if self._stats else {}).items():
            total = self._models.setdefault(model, dict.fromkeys(now, 0.0))
            for key in now:
                total[key] += now[key] - before.get(model, {}).get(key, 0.0)

    def taken(self) -> dict[str, Any]:
        """The row; begins anew."""
        found, asked = summary_of(self._samples), sum(s.asked for s in self._samples)
        row: dict[str, Any] = {
            **self._contestant.facts,
            **found,
            "cpu_ms_per_image": round(1000.0 * self._cpu_s / asked, 1),
            "memory_mb": round(self._memory_mb) if self._contestant.pid else None,
        }
        if self._stats:
            row["models"] = {m: _split(t) for m, t in self._models.items() if t["requests"]}
        self._forget()
        return row


def _split(total: dict[str, float]) -> dict[str, float]:
    """Where a model's requests spent their time, in mean ms, and how they were batched."""
    return {
        "requests_per_execution": round(total["requests"] / max(total["executions"], 1.0), 2),
        "queue_ms": round(total["queue_ms"] / total["requests"], 3),
        "compute_ms": round(total["compute_infer_ms"] / total["requests"], 3),
    }
