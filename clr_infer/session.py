"""In-process use: ``load()`` and ``Session``."""

import functools
import numbers
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from . import pipeline
from .errors import InputError, ModelError
from .geometry import FULL_FRAME, Box
from .refine import REFINE_STEPS_MAX, Refiner
from .results import Located, Protected, Recovered, Simulated
from .runtimes import Runtime, open_runtime
from .settings import DEFAULT_SETTINGS, Settings
from .specs import PIPELINE_NETWORKS
from .weights import Weights

__all__ = ["Session", "load"]

_WARM_UPS = 2
_PART = Box(0.1, 0.1, 0.9, 0.9)


class Session:
    """Protect, locate and recover in this process; safe to use from several threads.

    Images are uint8 RGB arrays, HxWx3, or PIL images, of any size within the settings' limits.
    Used in a ``with`` statement it is closed at the end.

    Args:
        runtime: executes the networks.
        weights: their facts.
        settings: limits.
        threads: CPU threads of refinement; ``None`` takes all cores.
    """

    def __init__(
        self,
        runtime: Runtime,
        weights: Weights,
        settings: Settings,
        threads: int | None = None,
    ) -> None:
        self.runtime, self.weights, self.settings = runtime, weights, settings
        self._threads, self._closed = threads, False
        self._refining = threading.Lock()
        self._refiner: Refiner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks; nothing may be running. A second call does nothing."""
        self._closed, self._refiner = True, None
        self.runtime.close()

    def _open(self) -> Runtime:
        if self._closed:
            raise ModelError("the session was closed; load it again")
        return self.runtime

    def warm_up(self, batch: int = 1) -> None:
        """Load what protect, locate and recover need and run it, so that the first call is fast.

        Every network runs twice, as engines record their CUDA graphs in the second run, and
        everything that is done to pixels once.

        Args:
            batch: images a call; CUDA graphs and compiled networks are made for each batch size.

        Raises:
            WeightsError: a network's file is missing or damaged.
            ModelError: a network cannot run here.
        """
        runtime = self._open()
        for spec in PIPELINE_NETWORKS:
            dims = {t.name: (batch, *t.dims(runtime.size)) for t in spec.inputs}
            tensors = {name: np.full(shape, 0.5, np.float32) for name, shape in dims.items()}
            if "crop_box" in tensors:
                tensors["crop_box"] = np.tile(np.array([FULL_FRAME], np.float32), (batch, 1))
            for _ in range(_WARM_UPS):
                runtime.run(spec.name, tensors)
        pixels, size = runtime.pixels, runtime.size
        image = pixels.upload(np.full((size + size // 2, 2 * size, 3), 128, np.uint8))
        frame = pixels.preprocess([image], size)[0]
        pixels.residual_merge(image, frame, runtime.psnr_db)
        pixels.composite(image, frame, _PART, self.settings.feather_px)

    def protect(
        self,
        image: object,
        *,
        psnr_db: float | None = None,
        refine: int = 0,
        copy: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Protected:
        """Protect an image.

        Args:
            image: the original.
            psnr_db: strength, as PSNR of the protected image to the original: lower is stronger,
                more robust and more visible. Smooth images, which hide less, come out up to some
                dB above it. ``None`` takes the default of the weights.
            refine: steps to improve the payload of this image by, see :class:`.refine.Refiner`:
                seconds on a CPU, to be recovered better, seen less and found more surely. 0 takes
                the network's as it is.
            copy: also write a copy of the original into the lowest bits, whatever the strength: no
                image that holds one is above 51 dB. Crops of at least half of each side that stay
                lossless show it, sharp, and their exact place; it ends with the first JPEG, where
                the networks go on alone. See :mod:`clr_infer.fragile_copy`.
            progress: called after each step of refining with how many are done; what it raises
                ends them.

        Raises:
            ImageError: the image cannot be used, or is too small to hold a copy.
            InputError: the strength is not between 30 and 50 dB, or the steps not from 0 to 1000.
            RuntimeUnavailable: refining needs PyTorch, a copy a Pillow with AVIF.
        """
        return self.protect_batch(
            [image], psnr_db=psnr_db, refine=refine, copy=copy, progress=progress
        )[0]

    def locate(self, image: object, *, turned: bool = False) -> Located:
        """Say whether an image is protected and where in its original it lay.

        Args:
            image: as received.
            turned: take the time, up to a hundred times as long, to look for fragments that were
                mirrored, laid on a side, or set crooked by up to ten degrees. Without it a
                fragment is set straight that says how crooked it lies, which most do up to two
                degrees; where half the template may be found it is looked for mirrored, and
                where little of it is found, on its sides.

        Raises:
            ImageError: the image cannot be used.
        """
        return self.locate_batch([image], turned=turned)[0]

    def recover(self, image: object, *, turned: bool = False) -> Recovered:
        """Recover the whole original of a fragment, see :meth:`locate`.

        Raises:
            ImageError: the image cannot be used.
        """
        return self.recover_batch([image], turned=turned)[0]

    def fg_jpeg(self, image: object, qf: float) -> Simulated:
        """Show an image as JPEG 4:2:0 would leave it, by FG-JPEG.

        Args:
            image: of any size.
            qf: JPEG quality factor, 1 to 100, continuous.

        Raises:
            ImageError: the image cannot be used.
            InputError: the quality factor is out of range.
        """
        return self.fg_jpeg_batch([image], qf)[0]

    def protect_batch(
        self,
        images: Iterable[object],
        *,
        psnr_db: float | None = None,
        refine: int = 0,
        copy: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[Protected]:
        """Protect several images in one run of the network, see :meth:`protect`."""
        strength = self.weights.default_psnr_db if psnr_db is None else psnr_db
        runtime, listed = self._open(), _listed(images)
        refined = self._refined(refine, progress) if refine else None
        return pipeline.protect(runtime, listed, strength, self.settings, refined, copy)

    def _refined(
        self, steps: int, progress: Callable[[int], None] | None
    ) -> Callable[[np.ndarray], np.ndarray]:
        if not isinstance(steps, numbers.Integral) or not 0 < steps <= REFINE_STEPS_MAX:
            raise InputError(f"refine must be 0 to {REFINE_STEPS_MAX} steps, not {steps!r}")
        refiner = self.open_refiner()
        return functools.partial(refiner.residual, steps=int(steps), progress=progress)

    def open_refiner(self) -> Refiner:
        """Load what refining needs, or give what was loaded.

        Raises:
            RuntimeUnavailable: PyTorch is missing.
            WeightsError: the weights do not fit these networks.
        """
        with self._refining:
            if self._refiner is None:
                self._refiner = Refiner(self.weights, self._threads)
            return self._refiner

    def locate_batch(self, images: Iterable[object], *, turned: bool = False) -> list[Located]:
        """Locate several images in one run of the networks, see :meth:`locate`."""
        return pipeline.locate(self._open(), _listed(images), self.settings, turned)

    def recover_batch(self, images: Iterable[object], *, turned: bool = False) -> list[Recovered]:
        """Recover several images in one run of the networks, see :meth:`recover`."""
        return pipeline.recover(self._open(), _listed(images), self.settings, turned)

    def fg_jpeg_batch(self, images: Iterable[object], qf: float) -> list[Simulated]:
        """Simulate JPEG on several images, see :meth:`fg_jpeg`."""
        return pipeline.fg_jpeg(self._open(), _listed(images), qf, self.settings)


def _listed(images: object) -> list[object]:
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        kind = type(images).__name__
        raise InputError(f"images come as a list or another iterable, not as {kind}")
    return list(images)


def load(
    runtime: str = "auto",
    *,
    weights: Path | str | None = None,
    threads: int | None = None,
    settings: Settings = DEFAULT_SETTINGS,
) -> Session:
    """Open the networks.

    Args:
        runtime: ``"auto"`` (the fastest that works here), or one of
            :data:`clr_infer.runtimes.RUNTIMES`.
        weights: a folder of weights; ``None`` takes those in the package.
        threads: CPU threads within one call; ``None`` takes all cores.
        settings: limits of what is accepted.

    Raises:
        WeightsError: the weights are missing or damaged.
        RuntimeUnavailable: the runtime does not work here; the message says what to install.
        EngineMismatch: an engine in the folder was not built for this machine.
    """
    opened = Weights(weights)
    return Session(open_runtime(runtime, opened, threads), opened, settings, threads)
