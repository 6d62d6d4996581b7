"""Received images that do not lie as their originals did: mirrored, on a side, or crooked.

The localize network looks for fragments that lie upright, and tells how crooked those lie that it
finds. This module sets them straight, tries what else is common on the web, view by view, and keeps
the one that the template fits best.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from .geometry import UPRIGHT, Px, Turn

__all__ = [
    "SIDES",
    "SURE",
    "UNSEEN",
    "Found",
    "Look",
    "as_received",
    "confidence_among",
    "crookedness",
    "find_turn",
    "on_side",
    "upright",
]

SURE = 55.0
"""A score that no wrong view reaches. The codes of one axis fit a mirrored picture, too: such views
of held-out photographs reached 49, and two thirds of what the right one has."""

_LIKELY = 30.0
"""A score that only the right view reaches and a mirrored one: any other at most 26."""

_HALF = 7.5
"""A score that nine in ten mirrored fragments reach by the codes of one axis, even after JPEG 80;
of unprotected pictures one in twelve."""

_FAR_SURER = 1.4
"""By so much the score rises when a fragment is turned the right way, and more."""

_CROOKED = tuple(sign * degrees for degrees in (2, 4, 6, 8, 10, 1, 3, 5, 7, 9) for sign in (-1, 1))
"""Degrees by which pictures are tried: most are found a degree beside the right one, nearly all at
half a degree."""

_CLIMBS_MAX = 5
_STRAIGHT = 0.1
"""Degrees that are not worth resampling a picture for. Upright fragments were seen to read as
crooked by up to half of that at scores of :data:`_CLEAR`, by more where they are less sure."""

_CLEAR = 80.0
_PAYS = 1.02
"""By so much the score has to rise for a picture to be resampled that is not yet: what is told
wrongly costs it."""

SIDES = (
    *(Turn(True, 0.0), Turn(False, 90.0), Turn(False, 270.0), Turn(False, 180.0)),
    *(Turn(True, 180.0), Turn(True, 90.0), Turn(True, 270.0)),
)
"""The likeliest first."""


class Look(NamedTuple):
    """What the localize network says of a view.

    Attributes:
        score: how well the template is found in it.
        confidence: that it is protected, from 0 to 1.
        degrees: by which to rotate it, counter-clockwise, for it to lie straight.
    """

    score: float
    confidence: float
    degrees: float


UNSEEN = Look(-math.inf, 0.0, 0.0)
"""Of a view in which nothing is left to look at."""


class Found(NamedTuple):
    """The view that fits best.

    Attributes:
        turn: that makes it.
        look: at it.
        tried: how many views were looked at beside the upright one.
    """

    turn: Turn
    look: Look
    tried: int


def crookedness(skew: Sequence[float], width: int, height: int) -> float:
    """By how many degrees, counter-clockwise, a picture has to be rotated to lie straight.

    Args:
        skew: of the columns and the rows, see :class:`.networks.localize.LocalizeNetwork`.
        width: of the picture, in pixels.
        height: of it.

    Returns:
        The mean of what columns and rows say, and nothing if they do not turn the same way.
    """
    by_columns = math.degrees(math.atan(skew[0] * width / height))
    by_rows = -math.degrees(math.atan(skew[1] * height / width))
    mean, apart = 0.5 * (by_columns + by_rows), 0.5 * abs(by_columns - by_rows)
    return mean if apart < abs(mean) else 0.0


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


def on_side(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """What of a turn takes no resampling, done to an image, HxWx3: a view of it."""
    quarters = round(turn.degrees / 90.0)
    return np.rot90(pixels[:, ::-1] if turn.mirrored else pixels, quarters)


def upright(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """Set an image upright.

    Args:
        pixels: HxWx3 uint8.
        turn: what to do.

    Returns:
        The image, of its own sides. If it was crooked it is resampled, and what is left is the
        largest rectangle that holds nothing but the picture.
    """
    pixels = on_side(pixels, turn)
    crooked = turn.degrees - 90.0 * round(turn.degrees / 90.0)
    if crooked:
        height, width = pixels.shape[:2]
        rotated = Image.fromarray(pixels).rotate(crooked, Image.Resampling.BICUBIC)
        inner_w, inner_h = _inside(width, height, crooked)
        x0, y0 = (width - inner_w) // 2, (height - inner_h) // 2
        pixels = np.asarray(rotated)[y0 : y0 + inner_h, x0 : x0 + inner_w]
    return np.ascontiguousarray(pixels)


def as_received(box_px: Px, width: int, height: int, turn: Turn) -> Px:
    """Where a part of an upright image lies in the image as it was received.

    Args:
        box_px: the part.
        width: of the upright image.
        height: of the upright image.
        turn: what set it upright, by whole quarters.
    """
    x0, y0, x1, y1 = box_px
    for _ in range(round(turn.degrees / 90.0) % 4):  # back, clockwise
        x0, y0, x1, y1 = height - y1, x0, height - y0, x1
        width, height = height, width
    return (width - x1, y0, width - x0, y1) if turn.mirrored else (x0, y0, x1, y1)


class _Views:
    """Views of one picture, the best of them, and their number."""

    def __init__(self, first: Look, look_at: Callable[[Turn], Look]) -> None:
        self._look_at, self._seen = look_at, {UPRIGHT: first}
        self.turn, self.look = self._climb(UPRIGHT, first)

    @property
    def tried(self) -> int:
        """How many views were looked at beside the upright one, each of them once."""
        return len(self._seen) - 1

    def _look(self, turn: Turn) -> Look:
        if turn not in self._seen:
            self._seen[turn] = self._look_at(turn)
        return self._seen[turn]

    def _climb(self, turn: Turn, look: Look) -> tuple[Turn, Look]:
        """Rotate a view as it says that it should be, for as long as that makes it surer."""
        for _ in range(_CLIMBS_MAX):
            if abs(look.degrees) < _STRAIGHT * max(1.0, math.sqrt(_CLEAR / max(look.score, 1.0))):
                break
            further = _rotated(turn, look.degrees)
            seen = self._look(further)
            if seen.score <= (1.0 if turn.degrees % 90.0 else _PAYS) * look.score:
                break
            turn, look = further, seen
        return turn, look

    def look_among(self, turns: Iterable[Turn]) -> tuple[float, Turn]:
        """Keep the best of some views, set straight, if it is far surer than the last.

        Returns:
            The score and the turn of the best.
        """
        best, look = UPRIGHT, UNSEEN
        for turn in turns:
            turn, seen = self._climb(turn, self._look(turn))
            if seen.score > look.score:
                best, look = turn, seen
            if look.score >= SURE:
                break
        if look.score > max(_FAR_SURER * self.look.score, _LIKELY):
            self.turn, self.look = best, look
        return look.score, best

    def reflect(self) -> None:
        """Look at the reflections of the best view, which may be mirrored, as long as they are."""
        turn = None
        while self.look.score < SURE and turn != self.turn:
            turn = self.turn
            self.look_among(_reflections(turn))


def _rotated(turn: Turn, degrees: float) -> Turn:
    return turn._replace(degrees=turn.degrees + degrees)


def _reflections(turn: Turn) -> list[Turn]:
    """Where the codes of one axis fit a mirrored picture, those of both fit in one of these."""
    return [Turn(not turn.mirrored, half - turn.degrees) for half in (0.0, 180.0)]


def find_turn(
    first: Look, look_at: Callable[[Turn], Look], *, threshold: float, thorough: bool
) -> Found:
    """Find how a picture has to be turned for its template to be found.

    One that lies crooked is set straight; one of which maybe only half the template is found is
    mirrored; one that is found weakly is tried on its sides.

    Args:
        first: at the picture as it is.
        look_at: localizes a view of it.
        threshold: of the confidence from which something is found.
        thorough: try sides in any case, and look for pictures too crooked to tell, which takes up
            to a hundred views more.
    """
    views = _Views(first, look_at)
    sought = thorough or views.look.confidence >= threshold
    if sought or views.look.score >= _HALF:
        views.reflect()
    if views.look.score < _LIKELY and sought:
        best = side = views.look_among(SIDES)
        # On a wrong side half the template may fit a crooked picture: upright goes first.
        for base in (UPRIGHT, side[1]) if thorough else ():
            if views.look.score < _LIKELY:
                crooked = (_rotated(base, degrees) for degrees in _CROOKED)
                best = max(best, views.look_among(crooked))
        if views.look.score < SURE:
            views.look_among(_reflections(best[1]))
    return Found(views.turn, views.look, views.tried)


def confidence_among(confidence: float, tried: int) -> float:
    """The confidence in a view that was one of so many more: its odds, shared among them all.

    Who looks at many views of a picture that was never protected finds the best of them.
    """
    return confidence / (confidence + (1.0 + tried) * (1.0 - confidence))
