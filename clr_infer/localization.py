"""Where received images lay in their originals: without a border of theirs, and set upright."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .border import inside_border, was_added
from .geometry import UPRIGHT, Box, Px, Turn, canvas_size, crop_mask, placed_box
from .image_checks import check_canvas
from .preprocess import check_pixels, reduce_pixels
from .results import Located
from .runtimes.base import Runtime
from .settings import Settings
from .specs import not_finite
from .stopwatch import Stopwatch
from .turns import UNSEEN, Found, Look, confidence_among, crookedness, find_turn, upright

__all__ = ["Localized", "localize"]

_FAR_SURER = 2.5
"""By so much the score rises without a border that hides the place of a fragment: five times and
more on held-out photographs. Without one that was protected with the picture it rises, too, but to
no more than twice."""

_VIEW_AREA_MAX = 2.0
"""Views of turned pictures are made of at most so many frames' pixels: the network sees no more."""


class Localized(NamedTuple):
    """Uploaded images, their frames and boxes where the runtime keeps them, and the verdicts."""

    received: list[Any]
    frames: Any
    boxes: Any
    located: list[Located]


def localize(
    runtime: Runtime,
    images: Sequence[object],
    settings: Settings,
    clock: Stopwatch,
    turned: bool = False,
) -> Localized:
    """Localize images, each in the view of it that shows nothing but its original.

    Those with a plain border are looked at without it as well: it is cut off if the fragment is far
    surer then, or if the original does not show it. What is found crooked is set straight. Where
    something was found that an upright fragment is surer of, or in any case if ``turned``, it is
    also looked for on its sides; where nothing is found with a plain border, within it as well.

    Args:
        runtime: executes the networks.
        images: as received.
        settings: limits.
        clock: stages ``preprocess`` and ``localize``.
        turned: look for what is too crooked to be found, too.

    Raises:
        ImageError: an image cannot be used.
        ModelError: the network's numbers are not finite.
    """
    pixels = runtime.pixels
    with clock.stage("preprocess"):
        whole = [check_pixels(image, settings) for image in images]
        views: list[tuple[int, Px]] = [(i, (0, 0, *w.shape[1::-1])) for i, w in enumerate(whole)]
        inner = ((i, inside_border(image, settings)) for i, image in enumerate(whole))
        views += [(i, box) for i, box in inner if box is not None]
        within = {i: view for view, (i, _) in enumerate(views) if view >= len(whole)}
        received = [pixels.upload(_part(whole[i], box)) for i, box in views]
        frames = pixels.preprocess(received, runtime.size)
    with clock.stage("localize"):
        found = _found(runtime, frames)
        best = _without_added_borders(runtime, whole, views, frames, found, settings)

        def sought(view: int) -> Found:
            picture = _part(whole[views[view][0]], views[view][1])
            first, look_at = _look(found, view, picture), _looking_at(runtime, picture)
            return find_turn(first, look_at, threshold=settings.threshold, thorough=turned)

        turns = [sought(view) for view in best]
        for index, view in within.items():
            with_border = turns[index]
            if best[index] == index and with_border.look.confidence < settings.threshold:
                one = sought(view)
                tried = with_border.tried + 1 + one.tried
                if one.look.score > _FAR_SURER * max(with_border.look.score, 0.0):
                    best[index], turns[index] = view, one._replace(tried=tried)
        if within:
            found = _Found(*(field[best] for field in found))
            received, frames = [received[view] for view in best], frames[best]
        pictures = [(views[view][1], one) for view, one in zip(best, turns, strict=True)]
        for index, (picture_px, one) in enumerate(pictures):
            if one.turn != UPRIGHT:
                turned_px = upright(_part(whole[index], picture_px), one.turn)
                received[index] = pixels.upload(turned_px)
        if any(one.turn != UPRIGHT for _, one in pictures):
            frames = pixels.preprocess(received, runtime.size)
            found = _found(runtime, frames)
    located = [
        _verdict(*picture, image.shape[1::-1], box, float(confidence), settings)
        for picture, image, box, confidence in zip(
            pictures, received, found.corners, found.confidences, strict=True
        )
    ]
    return Localized(received, frames, found.boxes, located)


class _Found(NamedTuple):
    """What the localize network says of a batch; the boxes both there and on the host."""

    boxes: Any
    corners: np.ndarray
    confidences: np.ndarray
    scores: np.ndarray
    skews: np.ndarray


def _found(runtime: Runtime, frames: Any) -> _Found:
    outputs = runtime.run("localize", {"received": frames})
    names = ("crop_box", "confidence", "score", "skew")
    facts = runtime.pixels.download_all([outputs[name] for name in names])
    if not all(np.isfinite(fact).all() for fact in facts):
        raise not_finite("localize")
    return _Found(outputs["crop_box"], *facts)


def _without_added_borders(
    runtime: Runtime,
    whole: Sequence[np.ndarray],
    views: Sequence[tuple[int, Px]],
    frames: Any,
    found: _Found,
    settings: Settings,
) -> list[int]:
    """The view of each image to go on with: itself, or what lies inside a border of its own."""
    best = list(range(len(whole)))
    for view in range(len(whole), len(views)):
        index, picture_px = views[view]
        added = found.scores[view] > _FAR_SURER * max(found.scores[index], 0.0)
        if not added and min(found.confidences[[view, index]]) >= settings.threshold:
            own = slice(view, view + 1)
            crop_box = Box(*found.corners[view].tolist())
            recover = functools.partial(_recovered, runtime, frames[own], found.boxes[own])
            added = was_added(whole[index], picture_px, crop_box, runtime.size, recover)
        if added:
            best[index] = view
    return best


def _part(image: np.ndarray, box: Px) -> np.ndarray:
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _recovered(runtime: Runtime, frames: Any, boxes: Any) -> tuple[np.ndarray, np.ndarray]:
    """The frame of one image, 3xSxS, and its uncertainty by cells, both in [0, 1]."""
    aligned = runtime.run("align", {"received": frames})["aligned"]
    found = runtime.run("recover", {"aligned": aligned, "crop_box": boxes})
    recovered, uncertainty = (
        runtime.pixels.download(found[name])[0] for name in ("recovered", "uncertainty")
    )
    return recovered, uncertainty[0]


def _look(found: _Found, index: int, picture: np.ndarray) -> Look:
    height, width = picture.shape[:2]
    degrees = crookedness(found.skews[index].tolist(), width, height)
    return Look(float(found.scores[index]), float(found.confidences[index]), degrees)


def _looking_at(runtime: Runtime, picture: np.ndarray) -> Callable[[Turn], Look]:
    """What localizes views of a picture, HxWx3 uint8."""

    @functools.cache
    def small() -> np.ndarray:
        return reduce_pixels(picture, _VIEW_AREA_MAX * runtime.size**2)

    def look_at(turn: Turn) -> Look:
        view = upright(small(), turn)
        if min(view.shape[:2]) < 2:
            return UNSEEN
        frames = runtime.pixels.preprocess([runtime.pixels.upload(view)], runtime.size)
        return _look(_found(runtime, frames), 0, view)

    return look_at


def _verdict(
    picture: Px,
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
    check_canvas(*canvas_px, settings)
    box_px = placed_box(crop_box, width, height)
    mask = crop_mask(box_px, *canvas_px)
    return Located(True, confidence, crop_box, box_px, canvas_px, mask, picture, found.turn)
