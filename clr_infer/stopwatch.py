"""Milliseconds by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Milliseconds by stage, a batch's time shared equally among its images.

    Args:
        share: images of the batch.
    """

    def __init__(self, share: int) -> None:
        self.share = share
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done in this context to a stage."""
        began = time.perf_counter()
        yield
        spent = (time.perf_counter() - began) * 1000.0 / self.share
        self.timings_ms[name] = round(self.timings_ms.get(name, 0.0) + spent, 3)
