"""What the kernel suite measures, and how long."""

import os
from dataclasses import dataclass
from typing import Any

__all__ = ["BACKWARD", "BOTH", "FORWARD", "QUICK", "REHEARSED", "KernelPlan"]

FORWARD, BACKWARD, BOTH = "forward", "backward", "forward+backward"


def _all_cores() -> tuple[int, ...]:
    return tuple(sorted({1, len(os.sched_getaffinity(0))}))


@dataclass(frozen=True)
class KernelPlan:
    """What is measured.

    Attributes:
        images: in the batch on the CPU, squares of 256 pixels cut from a photograph.
        qf: of everything that is timed, at 4:2:0 unless a row says otherwise.
        exact_at: quality factors at which results are compared with libjpeg's.
        threads: numbers of threads on the CPU; each is measured.
        repeats: of each call on the CPU; ``None`` repeats until the spread is small or the
            seconds are over.
        seconds: on the CPU, for each call and number of threads, on average.
        batches: on the GPU.
        size_px: side of the images on the GPU.
        native_px: width and height of what is stretched to ``size_px`` and back.
        subsamplings: on the GPU.
        measure_ms: on the GPU, for each call.
        copy_bytes: what the copy that sets the roof moves, one way.
        with_compile: measure the references under ``torch.compile`` as well.
    """

    images: int = 8
    qf: int = 75
    exact_at: tuple[int, ...] = (10, 50, 75, 90, 95)
    threads: tuple[int, ...] = _all_cores()
    repeats: int | None = None
    seconds: float = 3.0
    batches: tuple[int, ...] = (32, 1)
    size_px: int = 512
    native_px: tuple[int, int] = (1024, 768)
    subsamplings: tuple[str, ...] = ("4:2:0", "4:4:4")
    measure_ms: int = 100
    copy_bytes: int = 1 << 29
    with_compile: bool = True


QUICK: dict[str, Any] = {
    "images": 2,
    "exact_at": (75,),
    "threads": (1,),
    "repeats": 3,
    "subsamplings": ("4:2:0",),
    "measure_ms": 20,
    "with_compile": False,
}
"""Changes to the plan for a first look."""

REHEARSED: dict[str, Any] = {
    "batches": (2, 1),
    "size_px": 32,
    "native_px": (64, 48),
    "measure_ms": 1,
    "copy_bytes": 1 << 20,
}
"""Changes to the plan when a CPU stands in for the GPU."""
