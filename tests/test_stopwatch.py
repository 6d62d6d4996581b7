"""Milliseconds by stage, on a clock that is set."""

from types import SimpleNamespace

import pytest

from clr_infer import stopwatch
from clr_infer.stopwatch import Stopwatch


def test_a_stage_sums_its_time_and_shares_it_among_the_images(monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 5.5, 7.0, 7.25])
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    watch = Stopwatch(2)
    for name in ("network", "network", "pixels"):
        with watch.stage(name):
            pass
    assert watch.timings_ms == pytest.approx({"network": 750.0, "pixels": 125.0})
