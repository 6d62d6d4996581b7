"""What was painted over, guessed from what lies around it: ever smoother farther in.

Averages of what is left are pulled up a pyramid and pushed down again into the holes (Gortler et
al., "The lumigraph", 1996), as the recover network does beyond the edges of a fragment.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .geometry import Px
from .preprocess import to_pixels

__all__ = ["filled"]

_ENOUGH = 0.25
"""The share of a block that has to be left for its average to count."""


def filled(pixels: np.ndarray, holes: Sequence[Px]) -> np.ndarray:
    """An image with holes in it, filled.

    Args:
        pixels: HxWx3 uint8.
        holes: x0, y0, x1, y1 in pixels of the image.

    Returns:
        HxWx3 uint8; what lies in no hole is untouched. Where nothing is left the holes are black.
    """
    left = np.full(pixels.shape[:2], 255, np.uint8)
    for x0, y0, x1, y1 in holes:
        left[y0:y1, x0:x1] = 0
    seen = pixels * (left[..., None] > 0)
    shares, colours = [Image.fromarray(left)], [Image.fromarray(seen)]
    while max(shares[-1].size) > 1:
        shares.append(shares[-1].reduce(2))
        colours.append(colours[-1].reduce(2))
    mean = seen.sum((0, 1), keepdims=True) / max(np.count_nonzero(left), 1)
    guess = np.rint(mean).astype(np.uint8)
    for share, colour in zip(reversed(shares), reversed(colours), strict=True):
        width, height = share.size
        within = None if guess.shape[:2] == (1, 1) else (0.0, 0.0, width / 2, height / 2)
        smooth = Image.fromarray(guess).resize(share.size, Image.Resampling.BILINEAR, box=within)
        weight = np.asarray(share, np.float32)[..., None] / 255.0
        own = np.asarray(colour) / np.maximum(weight, _ENOUGH)
        own = np.rint(own).clip(0.0, 255.0).astype(np.uint8)
        guess = np.where(weight >= _ENOUGH, own, to_pixels(smooth))
    return guess
