"""Where the GPU suite runs: on a CUDA device, or on a CPU that stands in for it."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from ...errors import RuntimeUnavailable
from ...kernels.language import HAS_TRITON
from .timing import host_times

__all__ = ["Cuda", "Machine", "Rehearsal", "why_no_gpu"]

_PROFILED = 20
_FLUSH_BYTES = 1 << 28
_Call = Callable[[], Any]


def why_no_gpu() -> str | None:
    """Why kernels cannot be measured here; ``None`` where they can."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    return None if HAS_TRITON else "triton is not installed"


class Machine(Protocol):
    """A device and how time is taken on it.

    Attributes:
        device: of all tensors.
        impl: of the kernels.
        compiler: the backend of ``torch.compile``.
    """

    device: torch.device
    impl: str
    compiler: str

    def describe(self) -> dict[str, Any]:
        """What it is."""
        ...

    def times(self, call: _Call, measure_ms: float) -> list[float]:
        """Milliseconds of each run of a call, for about ``measure_ms``, caches cold."""
        ...

    def captured(self, build: Callable[[], _Call]) -> _Call:
        """What ``build`` returns, as a CUDA graph."""
        ...

    def kernels_ms(self, call: _Call, names: set[str]) -> float | None:
        """Mean milliseconds of a call that are spent in kernels of these names."""
        ...


class Cuda:
    """The current CUDA device: times by events, the L2 cache flushed before each run."""

    impl, compiler = "triton", "inductor"

    def __init__(self) -> None:
        """Take the current device.

        Raises:
            RuntimeUnavailable: there is none, or no Triton.
        """
        reason = why_no_gpu()
        if reason:
            raise RuntimeUnavailable(f"kernels cannot be measured: {reason}")
        self.device = torch.device("cuda", torch.cuda.current_device())

    def describe(self) -> dict[str, Any]:
        """Name, architecture, multiprocessors, memory and the version of CUDA."""
        found = torch.cuda.get_device_properties(self.device)
        return {
            "name": found.name,
            "arch": f"sm_{found.major}{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "memory_bytes": found.total_memory,
            "cuda": torch.version.cuda,
        }

    def times(self, call: _Call, measure_ms: float) -> list[float]:
        """Milliseconds between the events around each run, on the device."""
        from triton.testing import do_bench

        return do_bench(call, warmup=25, rep=int(measure_ms), return_mode="all")

    def captured(self, build: Callable[[], _Call]) -> _Call:
        """Built on the stream of the capture, since a way back runs on that of its forward."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            call = build()
            for _ in range(3):
                call()
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            result = call()

        def replay() -> Any:
            graph.replay()
            return call, result  # what the graph reads and writes lives as long as it does

        return replay

    def kernels_ms(self, call: _Call, names: set[str]) -> float | None:
        """By the profiler; ``None`` if it sees no such kernel."""
        from torch.profiler import ProfilerActivity, profile

        flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device=self.device)
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            for _ in range(_PROFILED):
                flush.zero_()
                call()
            torch.cuda.synchronize(self.device)
        spent = sum(row.device_time_total for row in trace.key_averages() if row.key in names)
        return spent / 1000.0 / _PROFILED or None


class Rehearsal:
    """A CPU on which everything runs that would run on a GPU, to no purpose but that."""

    impl, compiler = "torch", "eager"
    device = torch.device("cpu")

    def describe(self) -> dict[str, Any]:
        """That this is no measurement."""
        return {"name": "rehearsal on a CPU"}

    def times(self, call: _Call, measure_ms: float) -> list[float]:
        """Milliseconds on the host."""
        return host_times(call, measure_ms)

    def captured(self, build: Callable[[], _Call]) -> _Call:
        """The call itself."""
        return build()

    def kernels_ms(self, call: _Call, names: set[str]) -> float | None:
        """There are no kernels."""
        call()
        return None
