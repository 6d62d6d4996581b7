"""Whole images under load, with contestants that answer at once or not at all."""

import asyncio
import contextlib
import os
import threading

import pytest

from clr_infer.bench import server_images
from clr_infer.bench.contestants import Contestant, in_process
from clr_infer.bench.load import Sample
from clr_infer.bench.plots import plot_server
from clr_infer.bench.server_images import image_rows
from clr_infer.samples import SAMPLE


def _contestant(name, asked, stats=None, pid=None, threads=0):
    @contextlib.asynccontextmanager
    async def opened():
        async def ask(call):
            asked.append((name, call))
            await asyncio.sleep(0)

        yield ask, stats

    facts = {"contestant": name, "transport": None, "shared_memory": False, "threads": threads}
    return Contestant(facts, pid, opened)


@pytest.fixture
def samples(monkeypatch):
    """What is measured, in turns; how it was asked for is noted."""
    measured, asked = [], []

    async def measure(ask, load, seconds):
        await ask()
        asked.append((load, seconds))
        return measured.pop(0)

    monkeypatch.setattr(server_images, "closed_loop", measure)
    monkeypatch.setattr(server_images, "fixed_rate", measure)
    return measured, asked


def _rows(contestants, calls=("locate",), concurrency=(4,), rates=(), rounds=1):
    return image_rows(contestants, calls, concurrency, rates, rounds, 2.0, lambda text: None)


def test_each_begins_in_turn_and_rounds_are_summed(samples):
    measured, asked, order = *samples, []
    latencies_ms = ([10.0, 10.0], [30.0], [50.0], [20.0, 20.0], [5.0])
    measured += [Sample(found, 1.0) for found in latencies_ms]
    both = [_contestant("session", order), _contestant("server", order)]
    session, server, fixed = _rows(both, rounds=2)
    assert [name for name, _ in order] == ["session", "server", "server", "session", "server"]
    assert session["requests"] == 4 and session["p50_ms"] == 15.0
    assert server["p50_ms"] == 40.0 and server["memory_mb"] is None and "models" not in server
    # 70 % of what the server reached, for as long as all rounds together
    assert fixed["offered_per_s"] == 0.7 and asked == [(4, 2.0)] * 4 + [(0.7, 4.0)]
    assert fixed["requests"] == 1


@pytest.mark.parametrize(
    ("answered", "seconds", "offered"), [(0, 1.0, []), (1, 50.0, [0.014]), (100, 1.0, [70.0])]
)
def test_the_rate_is_a_part_of_what_was_reached_and_never_0(samples, answered, seconds, offered):
    samples[0].extend([Sample([9.0] * answered, seconds, failed=1), Sample([9.0], 1.0)])
    rows = _rows([_contestant("server", [])])
    assert [row["offered_per_s"] for row in rows[1:]] == pytest.approx(offered)


def test_what_answered_nothing_is_not_drawn(samples, tmp_path):
    answered, silent = Sample([9.0], 1.0), Sample([], 1.0, failed=1)
    samples[0].extend([answered, silent, answered])
    rows = _rows([_contestant("server", []), _contestant("session", [])])
    assert [row["failed"] for row in rows] == [0, 1, 0]
    plot_server({"image_level": rows}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_rates_that_were_given_are_taken(samples):
    samples[0].extend([Sample([9.0], 1.0)] * 3)
    rows = _rows([_contestant("server", [])], rates=(5.0, 8.0))
    assert [row["offered_per_s"] for row in rows[1:]] == [5.0, 8.0]


def test_what_models_did_is_that_of_the_measurement_alone(samples):
    samples[0].extend([Sample([9.0], 1.0, warm=1), Sample([9.0], 1.0)])
    counts = iter((10, 14, 14, 14))

    async def stats():
        count = float(next(counts))
        done = {"requests": count, "executions": count / 2, "queue_ms": 3 * count}
        idle = dict.fromkeys((*done, "compute_infer_ms"), 7.0)
        return {"busy": done | {"compute_infer_ms": 5 * count}, "idle": idle}

    closed, fixed = _rows([_contestant("server", [], stats, pid=os.getpid())])
    assert closed["models"] == {
        "busy": {"requests_per_execution": 2.0, "queue_ms": 3.0, "compute_ms": 5.0}
    }
    assert fixed["models"] == {} and closed["memory_mb"] > 10


def test_a_contestant_has_a_name_for_people():
    one = _contestant("server", [], threads=2)
    assert one.label == "server, 2 cores a call"
    facts = {**one.facts, "transport": "grpc", "shared_memory": True, "threads": 0}
    assert (
        Contestant(facts, None, one.open).label == "server, grpc, shared memory, all cores a call"
    )


def test_a_session_is_asked_from_threads_which_decode(raccoon):
    shapes = []

    class Session:
        def locate(self, pixels):
            shapes.append(pixels.shape)
            meet.wait(5)

    meet = threading.Barrier(2)
    one = in_process(Session(), 1, {"locate": SAMPLE.read_bytes()}, 2)

    async def asked():
        async with one.open() as (ask, stats):
            assert stats is None
            await asyncio.gather(ask("locate"), ask("locate"))

    asyncio.run(asked())
    assert shapes == [raccoon.shape] * 2 and one.pid == os.getpid()
