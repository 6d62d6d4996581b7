"""Protect, locate and recover, written once over any runtime."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .errors import InputError
from .localization import localize
from .preprocess import check_pixels
from .results import Located, Protected, Recovered, Simulated
from .runtimes.base import Runtime
from .settings import Settings
from .stopwatch import Stopwatch
from .tiles import join_tiles, split_tiles

__all__ = ["PSNR_DB_RANGE", "QF_RANGE", "fg_jpeg", "locate", "protect", "recover"]

PSNR_DB_RANGE = (30.0, 50.0)
QF_RANGE = (1.0, 100.0)


def protect(
    runtime: Runtime,
    images: Sequence[object],
    psnr_db: float,
    settings: Settings,
    refined: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Protected]:
    """Protect images, HxWx3 uint8 or PIL, each at its own size.

    Args:
        runtime: executes the protect network.
        images: the originals.
        psnr_db: strength.
        settings: limits.
        refined: makes the residual of one image, HxWx3 uint8, in the network's place, see
            :class:`.refine.Refiner`.

    Raises:
        ImageError: an image cannot be used.
        InputError: the strength is out of range.
    """
    low, high = PSNR_DB_RANGE
    if not low <= psnr_db <= high:
        raise InputError(f"strength must be a PSNR between {low:g} and {high:g} dB, not {psnr_db}")
    if not images:
        return []
    pixels, clock = runtime.pixels, Stopwatch(len(images))
    with clock.stage("preprocess"):
        originals = [pixels.upload(check_pixels(image, settings)) for image in images]
        frames = pixels.preprocess(originals, runtime.size) if refined is None else None
    with clock.stage("protect"):
        if refined is None:
            residuals = runtime.run("protect", {"image": frames})["residual"]
        else:
            made = [refined(pixels.download(original)) for original in originals]
            residuals = pixels.upload(np.stack(made))
    with clock.stage("merge"):
        merged = [
            pixels.residual_merge(o, r, pixels.residual_psnr_db(r) + psnr_db - runtime.psnr_db)
            for o, r in zip(originals, residuals, strict=True)
        ]
    return [Protected(image, psnr, dict(clock.timings_ms)) for image, psnr in merged]


def locate(
    runtime: Runtime, images: Sequence[object], settings: Settings, turned: bool = False
) -> list[Located]:
    """Say of each image whether it is protected and where in its original it lay.

    Args:
        runtime: executes the localize network.
        images: as received.
        settings: limits.
        turned: look for fragments on their sides, mirrored and very crooked ones in any case.

    Raises:
        ImageError: an image cannot be used.
    """
    if not images:
        return []
    clock = Stopwatch(len(images))
    found = localize(runtime, images, settings, clock, turned)
    return [_timed(one, clock) for one in found.located]


def recover(
    runtime: Runtime, images: Sequence[object], settings: Settings, turned: bool = False
) -> list[Recovered]:
    """Recover the whole original of each image that is protected, see :func:`locate`.

    Raises:
        ImageError: an image cannot be used.
    """
    if not images:
        return []
    clock = Stopwatch(len(images))
    received, frames, boxes, located = localize(runtime, images, settings, clock, turned)
    which = [i for i, one in enumerate(located) if one.protected]
    recovered: dict[int, np.ndarray] = {}
    uncertainty: dict[int, np.ndarray] = {}
    if which:
        with clock.stage("align"):
            aligned = runtime.run("align", {"received": frames[which]})["aligned"]
        with clock.stage("recover"):
            inputs = {"aligned": aligned, "crop_box": boxes[which]}
            found = runtime.run("recover", inputs)
            spread = 255.0 * runtime.pixels.download(found["uncertainty"])
        with clock.stage("composite"):
            for index, frame, cells in zip(which, found["recovered"], spread, strict=True):
                box = located[index].crop_box
                assert box is not None
                recovered[index] = runtime.pixels.composite(
                    received[index], frame, box, settings.feather_px
                )
                uncertainty[index] = cells[0]
    return [
        Recovered(recovered.get(i), _timed(one, clock), dict(clock.timings_ms), uncertainty.get(i))
        for i, one in enumerate(located)
    ]


def fg_jpeg(
    runtime: Runtime, images: Sequence[object], qf: float, settings: Settings
) -> list[Simulated]:
    """Show images as JPEG 4:2:0 of a quality factor would leave them, each at its own size.

    Unlike the other networks FG-JPEG sees native pixels, a tile at a time.

    Raises:
        ImageError: an image cannot be used.
        InputError: the quality factor is out of range.
    """
    low, high = QF_RANGE
    if not low <= qf <= high:
        raise InputError(f"the quality factor must lie between {low:g} and {high:g}, not {qf}")
    results = []
    for image in images:
        clock = Stopwatch(1)
        with clock.stage("preprocess"):
            pixels = check_pixels(image, settings)
        simulated = []
        for tile in split_tiles(pixels, runtime.size):
            with clock.stage("fg_jpeg"):
                tensors = {"image": tile[None], "qf": np.array([qf], np.float32)}
                uploaded = {name: runtime.pixels.upload(value) for name, value in tensors.items()}
                frame = runtime.run("fg_jpeg", uploaded)["simulated"][0]
                simulated.append(runtime.pixels.download(frame))
        with clock.stage("merge"):
            merged = join_tiles(simulated, *pixels.shape[:2])
        results.append(Simulated(merged, dict(clock.timings_ms)))
    return results


def _timed(located: Located, clock: Stopwatch) -> Located:
    wanted = {k: v for k, v in clock.timings_ms.items() if k in ("preprocess", "localize")}
    return replace(located, timings_ms=wanted)
