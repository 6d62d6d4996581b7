"""Protect, locate and recover, written once over any runtime."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .border import inside_border
from .errors import ImageError, InputError
from .geometry import UPRIGHT, Box, canvas_size, crop_mask, placed_box
from .preprocess import check_pixels, reduce_pixels
from .results import Located, Protected, Recovered, Simulated
from .runtimes.base import Runtime
from .settings import Settings
from .tiles import join_tiles, split_tiles
from .turns import SURE, Found, confidence_among, find_turn, upright

__all__ = ["PSNR_DB_RANGE", "QF_RANGE", "fg_jpeg", "locate", "protect", "recover"]

PSNR_DB_RANGE = (30.0, 50.0)
QF_RANGE = (1.0, 100.0)


class _Stopwatch:
    """Milliseconds by stage, a batch's time shared equally among its images."""

    def __init__(self, share: int) -> None:
        self.share = share
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        spent = (time.perf_counter() - began) * 1000.0 / self.share
        self.timings_ms[name] = round(self.timings_ms.get(name, 0.0) + spent, 3)


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
    pixels, clock = runtime.pixels, _Stopwatch(len(images))
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


class _Localized(NamedTuple):
    """Uploaded images, their frames and boxes where the runtime keeps them, and the verdicts."""

    received: list[Any]
    frames: Any
    boxes: Any
    located: list[Located]


_Px = tuple[int, int, int, int]

_FAR_SURER = 2.5
"""By so much the score rises without a border that hides the place of a fragment: five times and
more on held-out photographs. Without one that was protected with the picture it rises, too, but to
no more than twice."""


_VIEW_AREA_MAX = 2.0
"""Views of turned pictures are made of at most so many frames' pixels: the network sees no more."""


def _localize(
    runtime: Runtime, images: Sequence[object], settings: Settings, clock: _Stopwatch, turned: bool
) -> _Localized:
    """Localize images; those with a plain border also without it, which counts if far surer.

    Where something was found that an upright fragment is surer of, or in any case if ``turned``,
    it is also looked for on its sides.
    """
    pixels = runtime.pixels
    with clock.stage("preprocess"):
        whole = [check_pixels(image, settings) for image in images]
        views: list[tuple[int, _Px]] = [(i, (0, 0, *w.shape[1::-1])) for i, w in enumerate(whole)]
        inner = ((i, inside_border(image, settings)) for i, image in enumerate(whole))
        views += [(i, box) for i, box in inner if box is not None]
        received = [pixels.upload(_part(whole[i], box)) for i, box in views]
        frames = pixels.preprocess(received, runtime.size)
    with clock.stage("localize"):
        found = runtime.run("localize", {"received": frames})
        boxes, scores = found["crop_box"], pixels.download(found["score"])
        best = list(range(len(whole)))
        for view in range(len(whole), len(views)):
            index = views[view][0]
            if scores[view] > _FAR_SURER * max(scores[index], 0.0):
                best[index] = view
        if len(views) > len(whole):
            received, frames, boxes = [received[view] for view in best], frames[best], boxes[best]
        confidences, scores = pixels.download(found["confidence"])[best], scores[best]
        pictures = [(views[view][1], Found(UPRIGHT, 0)) for view in best]
        for index, confidence in enumerate(confidences):
            if turned or (confidence >= settings.threshold and scores[index] < SURE):
                box = pictures[index][0]
                picture, score = _part(whole[index], box), float(scores[index])
                small = reduce_pixels(picture, _VIEW_AREA_MAX * runtime.size**2)
                one = find_turn(small, score, lambda view: _score(runtime, view), turned)
                pictures[index] = box, one
                if one.turn != UPRIGHT:
                    received[index] = pixels.upload(upright(picture, one.turn))
        if any(one.turn != UPRIGHT for _, one in pictures):
            frames = pixels.preprocess(received, runtime.size)
            found = runtime.run("localize", {"received": frames})
            boxes, confidences = found["crop_box"], pixels.download(found["confidence"])
    located = [
        _verdict(*picture, image.shape[1::-1], box, float(confidence), settings)
        for picture, image, box, confidence in zip(
            pictures, received, pixels.download(boxes), confidences, strict=True
        )
    ]
    return _Localized(received, frames, boxes, located)


def _score(runtime: Runtime, picture: np.ndarray) -> float:
    """How well the template is found in a picture, HxWx3 uint8."""
    frames = runtime.pixels.preprocess([runtime.pixels.upload(picture)], runtime.size)
    return float(runtime.pixels.download(runtime.run("localize", {"received": frames})["score"])[0])


def _part(image: np.ndarray, box: _Px) -> np.ndarray:
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _verdict(
    picture: _Px,
    found: Found,
    size: tuple[int, int],
    box: np.ndarray,
    confidence: float,
    settings: Settings,
) -> Located:
    """The result for a picture that was set upright, to a size of width and height."""
    if found.turn != UPRIGHT:
        confidence = confidence_among(confidence, found.tried)
    if confidence < settings.threshold:
        return Located(False, confidence, None, None, None, None)
    width, height = size
    crop_box = Box(*(float(v) for v in np.clip(box, 0.0, 1.0)))
    canvas_px = canvas_size(crop_box, width, height)
    if canvas_px[0] * canvas_px[1] > settings.max_pixels:
        raise ImageError(
            f"the original frame would be {canvas_px[0]}x{canvas_px[1]} pixels, over the limit of "
            f"{settings.max_pixels / 1e6:g} megapixels (raise max_pixels, or reduce the image)"
        )
    box_px = placed_box(crop_box, width, height)
    mask = crop_mask(box_px, *canvas_px)
    return Located(True, confidence, crop_box, box_px, canvas_px, mask, picture, found.turn)


def locate(
    runtime: Runtime, images: Sequence[object], settings: Settings, turned: bool = False
) -> list[Located]:
    """Say of each image whether it is protected and where in its original it lay.

    Args:
        runtime: executes the localize network.
        images: as received.
        settings: limits.
        turned: look for fragments on their sides, mirrored and crooked ones in any case.

    Raises:
        ImageError: an image cannot be used.
    """
    if not images:
        return []
    clock = _Stopwatch(len(images))
    found = _localize(runtime, images, settings, clock, turned)
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
    clock = _Stopwatch(len(images))
    received, frames, boxes, located = _localize(runtime, images, settings, clock, turned)
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
        clock = _Stopwatch(1)
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


def _timed(located: Located, clock: _Stopwatch) -> Located:
    wanted = {k: v for k, v in clock.timings_ms.items() if k in ("preprocess", "localize")}
    return replace(located, timings_ms=wanted)
