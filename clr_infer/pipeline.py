"""Protect, locate and recover, written once over any runtime."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from .composite import composite
from .errors import InputError
from .fill import filled
from .fragile_copy import FragileCopy, code_copy, read_copy, with_copy
from .localization import Localized, localize
from .preprocess import check_pixels, from_frame
from .residual import mean_squared_error, psnr_of_mse
from .results import Located, Protected, Recovered, Simulated
from .runtimes.base import Runtime
from .settings import Settings
from .specs import not_finite
from .stopwatch import Stopwatch
from .tiles import join_tiles, split_tiles

__all__ = ["PSNR_DB_RANGE", "QF_RANGE", "fg_jpeg", "locate", "protect", "recover"]

PSNR_DB_RANGE = (30.0, 50.0)
QF_RANGE = (1.0, 100.0)

_LOCATING = ("copy", "preprocess", "localize")
"""Stages that the place of an image is known after."""


def protect(
    runtime: Runtime,
    images: Sequence[object],
    psnr_db: float,
    settings: Settings,
    refined: Callable[[np.ndarray], np.ndarray] | None = None,
    with_copies: bool = False,
) -> list[Protected]:
    """Protect images, HxWx3 uint8 or PIL, each at its own size.

    Args:
        runtime: executes the protect network.
        images: the originals.
        psnr_db: strength.
        settings: limits.
        refined: makes the residual of one image, HxWx3 uint8, in the network's place, see
            :class:`.refine.Refiner`.
        with_copies: write a fragile copy into each image, see :mod:`.fragile_copy`.

    Raises:
        ImageError: an image cannot be used, or is too small for a copy.
        InputError: the strength is out of range.
    """
    _check_range(psnr_db, PSNR_DB_RANGE, "strength must be a PSNR in dB")
    if not images:
        return []
    pixels, clock = runtime.pixels, Stopwatch(len(images))
    with clock.stage("preprocess"):
        whole = [check_pixels(image, settings) for image in images]
        originals = [pixels.upload(image) for image in whole]
        frames = pixels.preprocess(originals, runtime.size) if refined is None else None
    if with_copies:
        with clock.stage("copy"):
            copies = [code_copy(image) for image in whole]
    with clock.stage("protect"):
        if refined is None:
            residuals = runtime.run("protect", {"image": frames})["residual"]
        else:
            residuals = pixels.upload(np.stack([refined(image) for image in whole]))
    with clock.stage("merge"):
        strengths = pixels.residual_psnr_db(residuals)
        merged = [
            pixels.residual_merge(original, residual, strength + psnr_db - runtime.psnr_db)
            for original, residual, strength in zip(originals, residuals, strengths, strict=True)
        ]
    if not with_copies:
        return [Protected(image, psnr, dict(clock.timings_ms)) for image, psnr in merged]
    with clock.stage("copy"):
        marked = [
            with_copy(image, copy, settings)
            for (image, _), copy in zip(merged, copies, strict=True)
        ]
        measured = [
            psnr_of_mse(mean_squared_error(*pair)) for pair in zip(whole, marked, strict=True)
        ]
    return [
        Protected(image, psnr, dict(clock.timings_ms), psnr_of_mse(copy.error**2))
        for image, psnr, copy in zip(marked, measured, copies, strict=True)
    ]


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
    whole, copies = _read_copies(images, settings, clock, turned)
    located = {index: copy.located for index, copy in copies.items()}
    blind = [index for index in range(len(whole)) if index not in copies]
    if blind:
        found = localize(runtime, [whole[i] for i in blind], settings, clock, turned)
        located |= zip(blind, found.located, strict=True)
    return [_timed(located[index], clock) for index in range(len(whole))]


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
    whole, copies = _read_copies(images, settings, clock, turned)
    recovered: dict[int, Recovered] = {}
    with clock.stage("composite"):
        for index, copy in copies.items():
            if copy.image is not None:
                recovered[index] = _shown(copy, copy.image, settings)
    placed = [index for index in copies if index not in recovered]
    if placed:
        found = _by_tiles(runtime, [copies[index] for index in placed], clock)
        made = _reconstructed(runtime, found, settings, clock)
        for index, one in zip(placed, made, strict=True):
            recovered[index] = _unsure_of_altered(one, copies[index].picture)
    blind = [index for index in range(len(whole)) if index not in copies]
    if blind:
        found = localize(runtime, [whole[i] for i in blind], settings, clock, turned)
        recovered |= zip(blind, _reconstructed(runtime, found, settings, clock), strict=True)
    return [
        replace(one, located=_timed(one.located, clock), timings_ms=dict(clock.timings_ms))
        for _, one in sorted(recovered.items())
    ]


def _read_copies(
    images: Sequence[object], settings: Settings, clock: Stopwatch, turned: bool
) -> tuple[list[np.ndarray], dict[int, FragileCopy]]:
    """The images' pixels, and the copies of those that hold one by their index."""
    with clock.stage("copy"):
        whole = [check_pixels(image, settings) for image in images]
        copies = ((i, read_copy(image, settings, turned)) for i, image in enumerate(whole))
        return whole, {i: copy for i, copy in copies if copy is not None}


def _shown(copy: FragileCopy, image: np.ndarray, settings: Settings) -> Recovered:
    """A recovered original whose missing and altered parts its own copy shows."""
    located = copy.located
    assert located.crop_box is not None
    frame = image.transpose(2, 0, 1) / np.float32(255.0)
    canvas = composite(copy.picture, frame, located.crop_box, settings.feather_px)
    if located.altered_px:
        whole = from_frame(frame, *canvas.shape[1::-1])
        for x0, y0, x1, y1 in located.altered_px:
            canvas[y0:y1, x0:x1] = np.asarray(whole.crop((x0, y0, x1, y1)))
    return Recovered(canvas, located, {}, copy.cell_uncertainty, from_copy=True)


def _by_tiles(runtime: Runtime, copies: Sequence[FragileCopy], clock: Stopwatch) -> Localized:
    """Fragments that hold too little of a copy to show it, but say where they lay.

    What was painted over is filled: the networks would read it as they read the rest.
    """
    located = [copy.located for copy in copies]
    with clock.stage("preprocess"):
        received = [runtime.pixels.upload(_without_altered(copy)) for copy in copies]
        frames = runtime.pixels.preprocess(received, runtime.size)
        boxes = np.array([one.crop_box for one in located], np.float32)
        return Localized(received, frames, runtime.pixels.upload(boxes), located)


def _without_altered(copy: FragileCopy) -> np.ndarray:
    """What was received, its altered parts filled with what lies around them."""
    located = copy.located
    if not located.altered_px:
        return copy.picture
    assert located.box_px is not None
    x, y = located.box_px[:2]
    holes = [(x0 - x, y0 - y, x1 - x, y1 - y) for x0, y0, x1, y1 in located.altered_px]
    return filled(copy.picture, holes)


def _unsure_of_altered(recovered: Recovered, picture: np.ndarray) -> Recovered:
    """With an uncertainty of altered cells that is at least the contrast of the picture.

    Their filling is a guess, which the network took for received pixels.
    """
    located, cells = recovered.located, recovered.cell_uncertainty
    if cells is None or located.canvas_px is None or not located.altered_px:
        return recovered
    cells, contrast = cells.copy(), np.float32(picture.std((0, 1)).max())
    scale = np.tile(np.divide(cells.shape[::-1], located.canvas_px), 2)
    for x0, y0, x1, y1 in np.multiply(located.altered_px, scale):
        within = np.s_[int(y0) : math.ceil(y1), int(x0) : math.ceil(x1)]
        cells[within] = np.maximum(cells[within], contrast)
    return replace(recovered, cell_uncertainty=cells)


def _reconstructed(
    runtime: Runtime, found: Localized, settings: Settings, clock: Stopwatch
) -> list[Recovered]:
    """What the networks show of the originals of those that are protected."""
    received, frames, boxes, located = found
    which = [i for i, one in enumerate(located) if one.protected]
    recovered: dict[int, np.ndarray] = {}
    uncertainty: dict[int, np.ndarray] = {}
    if which:
        if len(which) < len(located):
            frames, boxes = frames[which], boxes[which]
        with clock.stage("align"):
            aligned = runtime.run("align", {"received": frames})["aligned"]
        with clock.stage("recover"):
            outputs = runtime.run("recover", {"aligned": aligned, "crop_box": boxes})
        with clock.stage("composite"):
            for index, frame in zip(which, outputs["recovered"], strict=True):
                box = located[index].crop_box
                assert box is not None
                recovered[index] = runtime.pixels.composite(
                    received[index], frame, box, settings.feather_px
                )
            spread = 255.0 * runtime.pixels.download(outputs["uncertainty"])
            if not np.isfinite(spread).all():
                raise not_finite("recover")
            uncertainty = {index: cells[0] for index, cells in zip(which, spread, strict=True)}
    return [
        Recovered(recovered.get(i), one, {}, uncertainty.get(i)) for i, one in enumerate(located)
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
    _check_range(qf, QF_RANGE, "the quality factor must lie")
    results = []
    for image in images:
        clock = Stopwatch(1)
        with clock.stage("preprocess"):
            pixels = check_pixels(image, settings)
        with clock.stage("fg_jpeg"):
            tiles = (_compressed(runtime, tile, qf) for tile in split_tiles(pixels, runtime.size))
            merged = join_tiles(tiles, runtime.size, *pixels.shape[:2])
        results.append(Simulated(merged, dict(clock.timings_ms)))
    return results


def _check_range(value: object, limits: tuple[float, float], what: str) -> None:
    low, high = limits
    if not isinstance(value, Real) or not low <= float(value) <= high:
        raise InputError(f"{what} between {low:g} and {high:g}, not {value!r}")


def _compressed(runtime: Runtime, tile: np.ndarray, qf: float) -> np.ndarray:
    tensors = {"image": tile[None], "qf": np.array([qf], np.float32)}
    uploaded = {name: runtime.pixels.upload(value) for name, value in tensors.items()}
    return runtime.pixels.download(runtime.run("fg_jpeg", uploaded)["simulated"][0])


def _timed(located: Located, clock: Stopwatch) -> Located:
    wanted = {k: v for k, v in clock.timings_ms.items() if k in _LOCATING}
    return replace(located, timings_ms=wanted)
