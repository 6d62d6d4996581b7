"""Random post-processing for training: from none at all to all of it."""

from dataclasses import dataclass

import numpy as np

from .steps import Chain, Step

__all__ = ["Attack", "draw_attack", "draw_crop"]


@dataclass(frozen=True)
class Attack:
    """What happens to one protected image: before the crop, the crop, and after it."""

    before: Chain
    crop: Step
    after: Chain


def draw_crop(rng: np.random.Generator, kept_min: float, kept_max: float = 1.0) -> Step:
    """Draw a crop box whose sides are kept independently, anywhere in the frame."""
    kept = rng.uniform(kept_min, kept_max, 2)
    x, y = rng.uniform(0.0, 1.0 - kept)
    return Step("crop", (float(x), float(y), float(x + kept[0]), float(y + kept[1])))


def _draw_jpeg(rng: np.random.Generator, hardness: float, floor: int) -> Step:
    qf = int(rng.integers(round(96 - (96 - floor) * max(hardness, 0.1)), 97))
    return Step("jpeg", (qf,), rng.choice(["4:2:0", "4:2:0", "4:2:2", "4:4:4"]))


def _draw_filter(rng: np.random.Generator, hardness: float) -> Step:
    kind = rng.choice(["resize", "gaussian", "median", "noise", "tone"])
    if kind == "resize":
        return Step("resize", (float(rng.uniform(1.0 - 0.5 * hardness, 1.0 + 0.5 * hardness)),))
    if kind == "noise":
        return Step("noise", (float(rng.uniform(0.0, 0.04 * hardness)),))
    if kind == "tone":
        offset, factor = rng.uniform(-0.1, 0.1), rng.uniform(0.85, 1.15)
        return Step("tone", (float(offset * hardness), float(1 + (factor - 1) * hardness)))
    return Step(str(kind), (5 if rng.random() < 0.5 * hardness else 3,))


def draw_attack(rng: np.random.Generator, hardness: float, kept_min: float = 0.5) -> Attack:
    """Draw the post-processing of one image.

    Args:
        rng: source of randomness.
        hardness: 0 crops only; 1 all kinds at full strength, in the order of the web: saved,
            cropped, filtered or resized, saved again.
        kept_min: least kept share of each side.
    """
    before: Chain = ()
    after: Chain = ()
    if rng.random() < 0.2 * hardness:
        before = (_draw_jpeg(rng, hardness, 70),)
    if rng.random() < 0.3 * hardness:
        after = (_draw_filter(rng, hardness),)
    if rng.random() < 0.75 * hardness:
        after = (*after, _draw_jpeg(rng, hardness, 50))
    return Attack(before, draw_crop(rng, kept_min), after)
