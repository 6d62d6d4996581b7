"""Received images that do not lie as their originals did: mirrored, on a side, or crooked.

The localize network looks for fragments that lie upright. This module tries what else is common on
the web, view by view, and keeps the one that the template fits best.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from .geometry import UPRIGHT, Turn

__all__ = ["SURE", "Found", "confidence_among", "find_turn", "upright"]

SURE = 40.0
"""A score that upright fragments reach unless they were treated harshly, and others never: where
only the codes of one axis are met, or none, at most 26 were seen on held-out photographs."""

_FAR_SURER = 2.0
"""By so much the score rises when a fragment is turned the right way, and more. Between wrong ways
it differs less, or stays where nothing is found."""

_CROOKED = tuple(0.5 * k for k in range(-10, 11) if k)
"""Degrees by which pictures are tried; half a step beside the right one costs little score."""

_AROUND = (-0.4, -0.2, 0.0, 0.2, 0.4)
"""Degrees around the best view, to find the top of the score between them."""

_CLIMBS_MAX = 4
_STRAIGHT = 0.04
"""Degrees that are not worth resampling a picture for: a tenth of a pixel at the frame's edge."""

_SIDES = tuple(Turn(mirrored, 90.0 * k) for mirrored in (False, True) for k in range(4))[1:]


class Found(NamedTuple):
    """The view that fits best.

    Attributes:
        turn: that makes it.
        tried: how many views were looked at beside the upright one.
    """

    turn: Turn
    tried: int


def _inside(width: int, height: int, degrees: float) -> tuple[int, int]:
    """Sides of the largest upright rectangle in one that was rotated about its centre."""
    angle = math.radians(abs(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    long, short = max(width, height), min(width, height)
    if short <= 2.0 * sine * cosine * long:
        half = 0.5 * short
        inner = (half / sine, half / cosine)
        inner_w, inner_h = inner if width >= height else inner[::-1]
    else:
        inner_w = (width * cosine - height * sine) / math.cos(2.0 * angle)
        inner_h = (height * cosine - width * sine) / math.cos(2.0 * angle)
    # As many lines less on either side, so that the centre stays where it is.
    return (
        width - 2 * math.ceil((width - inner_w) / 2),
        height - 2 * math.ceil((height - inner_h) / 2),
    )


def upright(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """Set an image upright.

    Args:
        pixels: HxWx3 uint8.
        turn: what to do.

    Returns:
        The image, of its own sides. If it was crooked it is resampled, and what is left is the
        largest rectangle that holds nothing but the picture.
    """
    quarters = round(turn.degrees / 90.0)
    pixels = np.rot90(pixels[:, ::-1] if turn.mirrored else pixels, quarters)
    crooked = turn.degrees - 90.0 * quarters
    if crooked:
        height, width = pixels.shape[:2]
        rotated = Image.fromarray(pixels).rotate(crooked, Image.Resampling.BICUBIC)
        inner_w, inner_h = _inside(width, height, crooked)
        x0, y0 = (width - inner_w) // 2, (height - inner_h) // 2
        pixels = np.asarray(rotated)[y0 : y0 + inner_h, x0 : x0 + inner_w]
    return np.ascontiguousarray(pixels)


class _Views:
    """Scores of views of one picture, the best of them, and their number."""

    def __init__(
        self, picture: np.ndarray, score: float, score_of: Callable[[np.ndarray], float]
    ) -> None:
        self._picture, self._score_of = picture, score_of
        self.turn, self.score, self.tried = UPRIGHT, score, 0

    def _look(self, turn: Turn) -> float:
        view = upright(self._picture, turn)
        self.tried += 1
        return self._score_of(view) if min(view.shape[:2]) > 1 else -math.inf

    def look_among(self, turns: Iterable[Turn], *, far_surer: bool = True) -> Turn:
        """The best of some views; it is kept if it is far surer, or just surer, than the last."""
        score, turn = max((self._look(turn), turn) for turn in turns)
        if score > max(self.score, 0.0) * (_FAR_SURER if far_surer else 1.0):
            self.turn, self.score = turn, score
        return turn

    def straighten(self) -> None:
        """Climb to where the score is best, to a small fraction of a degree."""
        start = centre = self.turn
        for _ in range(_CLIMBS_MAX):
            # All of them resampled, the middle one too: that costs some score.
            scores = [self._look(_rotated(centre, offset or 1e-3)) for offset in _AROUND]
            best = int(np.argmax(scores))
            if 0 < best < len(_AROUND) - 1:
                break
            centre = _rotated(centre, _AROUND[best])
        else:
            return
        curve, slope, _ = np.polyfit(_AROUND, scores, 2)
        if curve >= 0.0:
            return
        top = _rotated(centre, float(np.clip(-slope / (2.0 * curve), _AROUND[0], _AROUND[-1])))
        if abs(top.degrees - start.degrees) > _STRAIGHT:
            self.look_among([top], far_surer=False)


def _rotated(turn: Turn, degrees: float) -> Turn:
    return turn._replace(degrees=turn.degrees + degrees)


def find_turn(
    picture: np.ndarray, score: float, score_of: Callable[[np.ndarray], float], thorough: bool
) -> Found:
    """Find how a picture has to be turned for its template to be found.

    Args:
        picture: as received, HxWx3 uint8.
        score: of it as it is, see :class:`.networks.localize.LocalizeNetwork`.
        score_of: localizes an upright picture.
        thorough: look for crooked ones as well, which takes up to sixty views more.
    """
    views = _Views(picture, score, score_of)
    if views.score < SURE:
        side = views.look_among(_SIDES)
        # On a wrong side half the template may fit a crooked picture: upright goes first.
        for base in (UPRIGHT, side) if thorough else ():
            if views.score < SURE:
                views.look_among(_rotated(base, degrees) for degrees in _CROOKED)
    if thorough:
        views.straighten()
    return Found(views.turn, views.tried)


def confidence_among(confidence: float, tried: int) -> float:
    """The confidence in a view that was one of so many more: its odds, shared among them all.

    Who looks at many views of a picture that was never protected finds the best of them.
    """
    return confidence / (confidence + (1.0 + tried) * (1.0 - confidence))
