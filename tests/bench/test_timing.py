"""Repeating calls until their times are steady."""

import itertools
import platform
import time

from clr_infer.bench.kernels.timing import host_times, keep_freed_memory, rounds, summary


def test_percentiles_are_those_of_the_runs():
    found = summary([float(value) for value in range(1, 102)])
    assert found == {"p10_ms": 11.0, "p50_ms": 51.0, "p90_ms": 91.0, "runs": 101}


def test_calls_take_turns():
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    found = rounds(calls, 0.0, repeats=3)
    assert order == ["a", "b"] * 5
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}


def test_a_call_that_never_settles_stops_when_its_time_is_over():
    pauses = itertools.cycle((0.0, 0.004))
    found = rounds({"uneven": lambda: time.sleep(next(pauses))}, seconds=0.08)
    assert 10 <= len(found["uneven"]) < 100


def test_host_times_fill_the_time_given():
    assert sum(host_times(lambda: time.sleep(0.001), 5.0)) >= 5.0


def test_slow_calls_are_run_as_often_as_is_asked_for():
    done = []
    assert len(host_times(lambda: done.append(time.sleep(0.002)), 1.0, fewest=10)) == 10
    assert len(done) == 11  # one to warm up


def test_memory_is_kept_where_the_c_library_can():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
