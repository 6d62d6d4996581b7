"""Random post-processing for training: from none at all to all of it."""

from dataclasses import dataclass, replace

import numpy as np

from .steps import Chain, Step

__all__ = ["Attack", "draw_alike", "draw_attack", "draw_crop", "draw_halved"]

_FILTERS = ("resize", "gaussian", "median", "median", "noise", "tone")
"""The median is drawn more often: it is the hardest to learn."""

_PLAIN_SHARE, _HALVED_SHARE = 0.3, 0.08
"""How often, at full hardness, the image is only cropped, and how often it is halved and saved as
JPEG, beside those that it happens to befall: at both ends there is most to gain."""

_HARDEST_SHARE = 0.12
"""How often only the hardest is drawn, at full hardness: what was read worse than a guess."""

_FLOOR_BEFORE, _FLOOR_AFTER = 70, 50
"""Least quality factor of the JPEG before the crop and of the one after it."""

_QF_MAX = 96
_QF_OF_MEDIAN, _QF_OF_HALVED = 74, 71
"""Least quality factor of the JPEG after the hardest median, and after a reduction to half."""


@dataclass(frozen=True)
class Attack:
    """What happens to one protected image: before the crop, the crop, and after it.

    Attributes:
        before: of the crop.
        crop: the crop.
        after: of it.
        qf_min: least quality factor that the JPEG in ``after`` was drawn from.
    """

    before: Chain
    crop: Step
    after: Chain
    qf_min: int = _FLOOR_AFTER


def draw_crop(rng: np.random.Generator, kept_min: float, kept_max: float = 1.0) -> Step:
    """Draw a crop box whose sides are kept independently, anywhere in the frame."""
    return _anywhere(rng, rng.uniform(kept_min, kept_max, 2))


def _anywhere(rng: np.random.Generator, kept: np.ndarray) -> Step:
    """A crop that keeps these shares of the width and the height."""
    x, y = rng.uniform(0.0, np.maximum(1.0 - kept, 0.0))
    return Step("crop", (float(x), float(y), float(x + kept[0]), float(y + kept[1])))


def _least_qf(hardness: float, floor: int) -> int:
    return round(_QF_MAX - (_QF_MAX - floor) * max(hardness, 0.1))


def _draw_jpeg(rng: np.random.Generator, qf_min: int) -> Step:
    qf = int(rng.integers(qf_min, _QF_MAX + 1))
    return Step("jpeg", (qf,), rng.choice(["4:2:0", "4:2:0", "4:2:2", "4:4:4"]))


def _draw_filter(rng: np.random.Generator, hardness: float, kind: str) -> Step:
    if kind == "resize":
        return Step(kind, (float(rng.uniform(1.0 - 0.5 * hardness, 1.0 + 0.5 * hardness)),))
    if kind == "noise":
        return Step(kind, (float(rng.uniform(0.0, 0.04 * hardness)),))
    if kind == "tone":
        offset, factor = rng.uniform(-0.1, 0.1), rng.uniform(0.85, 1.15)
        return Step(kind, (float(offset * hardness), float(1 + (factor - 1) * hardness)))
    return Step(kind, (5 if rng.random() < 0.5 * hardness else 3,))


def _draw_hardest(rng: np.random.Generator) -> tuple[Chain, int]:
    """A 5x5 median, sometimes with JPEG after it, or a reduction to about half and JPEG.

    With it the least quality factor.
    """
    if rng.random() < 0.57:
        median = Step("median", (5,))
        saved = (_draw_jpeg(rng, _QF_OF_MEDIAN),) if rng.random() < 0.35 else ()
        return (median, *saved), _QF_OF_MEDIAN
    return draw_halved(rng), _QF_OF_HALVED


def draw_halved(rng: np.random.Generator) -> Chain:
    """Draw a reduction to about half, and JPEG after it."""
    return Step("resize", (float(rng.uniform(0.45, 0.7)),)), _draw_jpeg(rng, _QF_OF_HALVED)


def draw_attack(rng: np.random.Generator, hardness: float, kept_min: float = 0.5) -> Attack:
    """Draw the post-processing of one image.

    Args:
        rng: source of randomness.
        hardness: 0 crops only; 1 all kinds at full strength, in the order of the web: saved,
            cropped, filtered or resized, saved again.
        kept_min: least kept share of each side.
    """
    late = max(0.0, 2.0 * hardness - 1.0)
    kind = rng.random()
    if kind < _PLAIN_SHARE * hardness:
        return Attack((), draw_crop(rng, kept_min), ())
    if kind > 1.0 - _HALVED_SHARE * late:
        return Attack((), draw_crop(rng, kept_min), draw_halved(rng), _QF_OF_HALVED)
    if rng.random() < _HARDEST_SHARE * late:
        return Attack((), draw_crop(rng, kept_min), *_draw_hardest(rng))
    before: Chain = ()
    after: Chain = ()
    if rng.random() < 0.2 * hardness:
        before = (_draw_jpeg(rng, _least_qf(hardness, _FLOOR_BEFORE)),)
    if rng.random() < 0.35 * hardness:
        after = (_draw_filter(rng, hardness, str(rng.choice(_FILTERS))),)
    qf_min = _least_qf(hardness, _FLOOR_AFTER)
    if rng.random() < 0.65 * hardness:
        after = (*after, _draw_jpeg(rng, qf_min))
    return Attack(before, draw_crop(rng, kept_min), after, qf_min)


def draw_alike(
    rng: np.random.Generator, hardness: float, count: int, kept_min: float = 0.5
) -> list[Attack]:
    """Draw ``count`` attacks that a batch can undergo at once, see :mod:`.simulate`.

    They have the kinds, the crop size, filters and subsampling of the first; where the crop lies,
    quality factors, noise and tone are drawn for each, as they were for the first.
    """
    first = draw_attack(rng, hardness, kept_min)
    others = (_redraw(rng, first, hardness) for _ in range(count - 1))
    return [first, *others]


def _redraw(rng: np.random.Generator, attack: Attack, hardness: float) -> Attack:
    x0, y0, x1, y1 = attack.crop.values
    earlier, later = _least_qf(hardness, _FLOOR_BEFORE), attack.qf_min
    before = tuple(_redraw_step(rng, step, hardness, earlier) for step in attack.before)
    after = tuple(_redraw_step(rng, step, hardness, later) for step in attack.after)
    return replace(
        attack, before=before, crop=_anywhere(rng, np.array([x1 - x0, y1 - y0])), after=after
    )


def _redraw_step(rng: np.random.Generator, step: Step, hardness: float, qf_min: int) -> Step:
    if step.name == "jpeg":
        return replace(_draw_jpeg(rng, qf_min), subsampling=step.subsampling)
    if step.name in ("noise", "tone"):
        return _draw_filter(rng, hardness, step.name)
    return step
