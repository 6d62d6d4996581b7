"""Device memory, pinned memory and a stream, behind one interface with three implementations.

An engine needs little of CUDA: a stream, memory on both sides of the bus, copies on that stream,
and, to launch everything at once, a graph of it. cuda-python, PyTorch and PyCUDA each offer it;
whichever is installed will do. PyCUDA has no graphs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import RuntimeUnavailable

__all__ = ["BACKENDS", "DeviceBuffers", "Pair", "choose_backend"]


@dataclass(frozen=True)
class Pair:
    """A tensor's place on both sides.

    Attributes:
        host: pinned memory as an array of the tensor's shape and type.
        address: of as many bytes on the device.
        owner: what must live as long as both.
    """

    host: np.ndarray
    address: int
    owner: Any


class DeviceBuffers(Protocol):
    """One stream on GPU 0 and memory for it; used by one thread at a time, by any thread.

    Attributes:
        name: of the library behind it.
        stream: the CUDA stream's handle.
    """

    name: str
    stream: int

    def pair(self, shape: tuple[int, ...], dtype: np.dtype) -> Pair:
        """Allocate a tensor on both sides.

        Raises:
            MemoryError: there is not enough of it.
        """
        ...

    def upload(self, pair: Pair) -> None:
        """Copy to the device, in the stream's order."""
        ...

    def download(self, pair: Pair) -> None:
        """Copy to the host, in the stream's order."""
        ...

    def synchronize(self) -> None:
        """Wait until the stream has done everything."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what ``work`` puts on the stream as a CUDA graph; nothing is run.

        Returns:
            What launches the graph on the stream; ``None`` where the library has no graphs or
            the work cannot be recorded.
        """
        ...

    def release(self) -> None:
        """Free the stream, the graphs and every pair."""
        ...


def _cuda_python() -> DeviceBuffers:
    from .device_cuda_python import CudaPythonBuffers

    return CudaPythonBuffers()


def _torch() -> DeviceBuffers:
    from .device_torch import TorchBuffers

    return TorchBuffers()


def _pycuda() -> DeviceBuffers:
    from .device_pycuda import PyCudaBuffers

    return PyCudaBuffers()


BACKENDS: dict[str, Callable[[], DeviceBuffers]] = {
    "cuda-python": _cuda_python,
    "torch": _torch,
    "pycuda": _pycuda,
}
"""In the order in which they are tried: graphs first, then what is lightest to import."""


def choose_backend(
    prefer: str | None = None, backends: Mapping[str, Callable[[], DeviceBuffers]] = BACKENDS
) -> Callable[[], DeviceBuffers]:
    """Find a library that works here.

    Args:
        prefer: a key of ``backends`` that must be the one; ``None`` takes the first that works.
        backends: what there is; each opens a stream or raises ``ImportError`` (not installed) or
            ``OSError`` (no driver, no GPU).

    Returns:
        What opens a stream, called once more for each that is needed.

    Raises:
        RuntimeUnavailable: none works; the message says why of each.
    """
    if prefer is not None and prefer not in backends:
        raise RuntimeUnavailable(f"there is no device library {prefer!r}: {', '.join(backends)}")
    reasons = []
    for name in [prefer] if prefer is not None else backends:
        try:
            backends[name]().release()
        except (ImportError, OSError) as error:
            reasons.append(f"{name}: {error}")
            continue
        return backends[name]
    raise RuntimeUnavailable(
        "engines need an NVIDIA GPU with its driver and one of these: " + "; ".join(reasons)
    )
