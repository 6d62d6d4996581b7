"""Memory and CPU time of a family of processes."""

import os
import subprocess
import sys

from clr_infer.bench.usage import Usage

_SHARED = """
import os
from clr_infer.bench.usage import Usage
usage = Usage(os.getpid())
before = usage.memory_mb()
kept = b"1" * (64 << 20)
alone = usage.memory_mb()
ready, done = os.pipe(), os.pipe()
if not (child := os.fork()):  # it has all pages of ours, and touches hardly any
    os.write(ready[1], b"r")
    os.read(done[0], 1)
    os._exit(0)
os.read(ready[0], 1)
print(alone - before, usage.memory_mb() - before, usage.memory_mb(children=False) - before)
os.write(done[1], b"d")
os.waitpid(child, 0)
"""


def test_a_page_that_processes_share_counts_once():
    words = [sys.executable, "-c", _SHARED]  # a small process, in which nothing else goes on
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    alone, both, parent = map(float, printed.split())
    assert 60 < alone < 70
    assert both < alone + 20
    assert parent < alone - 25  # half of what both have


def test_cpu_time_is_counted():
    usage = Usage(os.getpid())
    while usage.cpu_s() < 0.05:
        sum(range(10_000))
    assert usage.cpu_cores() > 0
