"""Memory and CPU time of a family of processes."""

import os

import pytest

from clr_infer.bench.usage import Usage


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_page_that_processes_share_counts_once():
    usage = Usage(os.getpid())
    before = usage.memory_mb()
    kept = b"\1" * (64 << 20)
    alone = usage.memory_mb()
    assert 60 < alone - before < 70
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:  # it has all our pages, and touches none
        os.write(ready[1], b"r")
        os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        assert usage.memory_mb() - alone < 30
        assert usage.memory_mb(children=False) < alone - 25  # half of what both have
    finally:
        os.write(done[1], b"d")
        os.waitpid(child, 0)
    assert len(kept) == 64 << 20


def test_cpu_time_is_counted():
    usage = Usage(os.getpid())
    while usage.cpu_s() < 0.05:
        sum(range(10_000))
    assert usage.cpu_cores() > 0
