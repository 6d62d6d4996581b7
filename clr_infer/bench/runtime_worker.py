"""A runtime in a process of its own: its load time and peak memory are its alone."""

import io
import multiprocessing
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ClrError, ModelError
from ..geometry import FULL_FRAME, Box, box_to_pixels
from ..image_io import encode_image, read_image
from ..samples import SAMPLE
from ..session import Session, load
from ..specs import SPECS

__all__ = ["Candidate", "Worker", "working"]

_KEPT = Box(0.1, 0.15, 0.85, 0.9)
_WARM_UPS = 2  # engines record their CUDA graphs in the second run


@dataclass(frozen=True)
class Candidate:
    """A runtime and the weights it runs.

    Attributes:
        runtime: its name.
        precision: of the graphs or layers.
        folder: of weights; ``None`` takes those in the package.
    """

    runtime: str
    precision: str
    folder: str | None = None

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.runtime}, {self.precision}"


class Worker:
    """The parent's side of a worker process.

    Raises:
        ModelError: the runtime cannot do what it is asked to; the worker goes on.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _ask(self, *request: Any) -> Any:
        self._connection.send(request)
        try:
            failed, answer = self._connection.recv()
        except EOFError as error:
            raise ModelError("the worker died; was memory short?") from error
        if failed:
            raise ModelError(answer)
        return answer

    def open(self) -> float:
        """Load the runtime and warm it up, see :meth:`.Session.warm_up`; milliseconds."""
        return self._ask("open")

    def run(self, network: str, batch: int) -> float:
        """Run a network on a batch; milliseconds, from arrays to arrays in main memory."""
        return self._ask("run", network, batch)

    def picture(self, call: str, width: int, height: int) -> float:
        """From PNG to PNG, ``call`` being ``protect``, ``recover`` or ``copy``; milliseconds."""
        return self._ask("picture", call, width, height)

    def peak_mb(self) -> int:
        """Most memory resident so far."""
        return self._ask("peak_mb")


class _Inside:
    """The worker's side: a method for each request."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._inputs: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        self._pictures: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._session: Session

    def open(self) -> float:
        began = time.perf_counter()
        self._session = load(self._candidate.runtime, weights=self._candidate.folder)
        self._session.warm_up()
        return (time.perf_counter() - began) * 1000.0

    def run(self, network: str, batch: int) -> float:
        runtime = self._session.runtime
        if (network, batch) not in self._inputs:
            self._inputs.clear()
            self._inputs[network, batch] = _network_inputs(network, runtime.size, batch)
            for _ in range(_WARM_UPS):
                runtime.run(network, self._inputs[network, batch])
        began = time.perf_counter()
        runtime.run(network, self._inputs[network, batch])
        return (time.perf_counter() - began) * 1000.0

    def picture(self, call: str, width: int, height: int) -> float:
        if (width, height) not in self._pictures:
            self._pictures[width, height] = self._make_pictures(width, height)
        whole, fragment = self._pictures[width, height]
        began = time.perf_counter()
        pixels = read_image(fragment if call == "recover" else whole).pixels
        done = pixels if call == "copy" else getattr(self._session, call)(pixels).image
        encode_image(done, format="PNG")
        return (time.perf_counter() - began) * 1000.0

    def _make_pictures(self, width: int, height: int) -> tuple[bytes, bytes]:
        """A photograph, and a fragment of it when protected, as PNG."""
        photo = Image.open(SAMPLE).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        x0, y0, x1, y1 = box_to_pixels(_KEPT, width, height)
        fragment = self._session.protect(photo).image[y0:y1, x0:x1]
        whole = io.BytesIO()
        photo.save(whole, "PNG")
        return whole.getvalue(), encode_image(np.ascontiguousarray(fragment), format="PNG")

    def peak_mb(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _network_inputs(network: str, size: int, batch: int) -> dict[str, np.ndarray]:
    photo = Image.open(SAMPLE).convert("RGB").resize((size, size))
    frame = np.asarray(photo, np.float32).transpose(2, 0, 1) / np.float32(255.0)
    values = {"crop_box": np.array(FULL_FRAME, np.float32), "qf": np.float32(80.0)}
    return {
        t.name: np.repeat(np.asarray(values.get(t.name, frame))[None], batch, axis=0)
        for t in SPECS[network].inputs
    }


def _work(connection: Connection, candidate: Candidate) -> None:
    inside = _Inside(candidate)
    while True:
        try:
            name, *arguments = connection.recv()
        except EOFError:  # the parent is done
            return
        try:
            connection.send((False, getattr(inside, name)(*arguments)))
        except (ClrError, MemoryError) as error:
            connection.send((True, f"{candidate.label}: {str(error) or type(error).__name__}"))
        except Exception as error:  # compilers and drivers raise nearly anything
            connection.send((True, f"{candidate.label}: {type(error).__name__}: {error}"[:500]))


@contextmanager
def working(candidate: Candidate) -> Iterator[Worker]:
    """Start a worker; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, candidate), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Worker(ours)
    finally:
        ours.close()
        process.terminate()
        process.join()
