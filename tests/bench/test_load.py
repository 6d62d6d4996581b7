"""Load generators against something whose speed is known."""

import asyncio

import pytest

from clr_infer.bench import load
from clr_infer.bench.load import (
    Sample,
    batch_summary,
    closed_loop,
    fixed_rate,
    highest_rate,
    summary,
    summary_of,
)
from clr_infer.errors import ServerUnavailable


def _served_one_by_one(seconds):
    lock = asyncio.Lock()

    async def ask():
        async with lock:
            await asyncio.sleep(seconds)

    return ask


def test_percentiles_are_those_of_the_latencies():
    found = summary([float(v) for v in range(1, 101)], 10.0)
    assert found["p50_ms"] == 50.5 and found["images_per_s"] == 10.0
    assert (found["p95_ms"], found["p99_ms"]) == (95.05, 99.01)
    assert summary([], 1.0, failed=3) == {"requests": 0, "failed": 3, "images_per_s": 0.0}


def test_the_throughput_of_batches_counts_slow_calls_too():
    found = batch_summary([10.0] * 9 + [110.0], 4)
    assert found["p50_ms"] == 10.0 and found["images_per_s"] == 200.0  # 40 in 200 ms
    assert found["p50_ms"] < found["p95_ms"] < found["p99_ms"] and found["runs"] == 10


def test_few_calls_have_no_95th_percentile():
    assert set(batch_summary([10.0] * 9, 1)) == {"batch", "p50_ms", "images_per_s", "runs"}


def test_samples_of_the_same_thing_are_summed():
    samples = [Sample([10.0, 30.0], 2.0, failed=1, warm=4), Sample([20.0], 1.0, failed=2)]
    found = summary_of(samples)
    assert (found["requests"], found["failed"], found["images_per_s"]) == (3, 3, 1.0)
    assert found["p50_ms"] == 20.0
    assert [sample.asked for sample in samples] == [7, 3]


def test_a_closed_loop_waits_for_its_turn():
    async def run():
        return await closed_loop(_served_one_by_one(0.005), 4, 0.4)

    sample = asyncio.run(run())
    found = summary_of([sample])
    assert sample.asked == found["requests"] + 4  # each caller's first does not count
    assert found["p50_ms"] > 3 * 5.0  # four callers, one place
    assert found["images_per_s"] < 1 / 0.005


def test_a_fixed_rate_shows_what_a_closed_loop_hides():
    async def run():
        ask = _served_one_by_one(0.02)
        return await closed_loop(ask, 1, 0.3), await fixed_rate(ask, 100.0, 0.5)

    closed, overloaded = (summary_of([sample]) for sample in asyncio.run(run()))
    assert overloaded["p50_ms"] > 2 * closed["p50_ms"]


def test_a_low_rate_sends_a_few_all_the_same_and_waits_for_the_last():
    answered = []

    async def ask():
        await asyncio.sleep(0.05)
        answered.append(1)

    sample = asyncio.run(fixed_rate(ask, 50.0, 0.0))
    assert len(sample.latencies_ms) == 3 and sample.asked == len(answered) == 4
    assert min(sample.latencies_ms) > 49.0


def test_a_rate_at_which_some_fail_is_not_reached(monkeypatch):
    async def closed_loop(ask, concurrency, seconds):
        return Sample([10.0] * 100, 1.0)

    async def fixed_rate(ask, per_s, seconds):
        return Sample([10.0], 1.0, failed=int(per_s > 50.0))

    monkeypatch.setattr(load, "closed_loop", closed_loop)
    monkeypatch.setattr(load, "fixed_rate", fixed_rate)
    found = asyncio.run(highest_rate(None, "p50", 10.0, 1.0, lambda text: None))
    assert 50.0 - 120.0 / 2**6 <= found["rate_per_s"] <= 50.0


def test_failures_are_counted_and_not_timed():
    async def refuse():
        raise ServerUnavailable("busy")

    async def run():
        turn = iter([False] * 2 + [True] * 10_000)

        async def ask():
            if next(turn):
                await asyncio.sleep(0.002)
                await refuse()

        return await closed_loop(ask, 2, 0.05)

    found = summary_of([asyncio.run(run())])
    assert found["failed"] > 0 and found["requests"] == 0


def _refused_at_first(count):
    """The first so many are refused, the others answered at once."""
    asked = iter(range(10**9))

    async def ask():
        await asyncio.sleep(0.001)
        if next(asked) < count:
            raise ServerUnavailable("busy")

    return ask


@pytest.mark.parametrize("measure", [closed_loop, fixed_rate])
def test_a_refusal_while_warming_up_counts_for_nothing(measure):
    sample = asyncio.run(measure(_refused_at_first(1), 50, 0.05))
    assert sample.failed == 0 and sample.latencies_ms


def test_where_nobody_answers_nothing_is_measured():
    with pytest.raises(ServerUnavailable, match="busy"):
        asyncio.run(closed_loop(_refused_at_first(10**9), 4, 60.0))


def test_no_rate_is_tried_where_nothing_is_answered_after_warming_up(monkeypatch):
    async def closed_loop(ask, concurrency, seconds):
        return Sample([], 1.0, failed=9)

    monkeypatch.setattr(load, "closed_loop", closed_loop)
    found = asyncio.run(highest_rate(None, "p50", 10.0, 1.0, lambda text: None))
    assert found == {"rate_per_s": 0.0, "trials": []}


@pytest.mark.parametrize(("limit_ms", "reachable"), [(200.0, True), (1.0, False)])
def test_the_highest_rate_keeps_the_limit(limit_ms, reachable):
    async def run():
        ask = _served_one_by_one(0.01)
        return await highest_rate(ask, "p95", limit_ms, 0.4, lambda text: None)

    found = asyncio.run(run())
    assert len(found["trials"]) == 6
    assert (found["rate_per_s"] > 0) == reachable
    assert all(trial["p95_ms"] <= limit_ms for trial in found["trials"] if trial["met"])
    assert found["rate_per_s"] < 120  # it cannot do more than 100
