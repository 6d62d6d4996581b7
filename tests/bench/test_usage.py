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


_LARGE = """
kept = b"1" * (64 << 20)
print("ready", flush=True)
input()
"""


def test_what_children_start_counts_too():
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_LARGE!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code]
    with subprocess.Popen(words, **pipes) as parent:
        assert parent.stdout.readline() == b"ready\n"
        usage = Usage(parent.pid)
        assert usage.memory_mb() > 64 > usage.memory_mb(children=False)
        parent.communicate(b"\n")


def test_cpu_time_is_counted_from_then_on():
    def spent_s():
        now = os.times()
        return now.user + now.system

    usage, before = Usage(os.getpid()), spent_s()
    while spent_s() - before < 0.4:
        os.urandom(1 << 20)  # the system's time
        sum(range(10_000))
    assert abs(usage.cpu_s() - (spent_s() - before)) < 0.1
    assert usage.cpu_cores() > 0
