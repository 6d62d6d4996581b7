"""Natural images for the measurements, cut from the photograph that ships with the package."""

import numpy as np
from PIL import Image

from ...samples import SAMPLE

__all__ = ["photograph", "squares"]

_STARTS = [(x, y) for y in (5, 507) for x in (3, 258, 513, 766)]


def squares(count: int, size: int = 256) -> np.ndarray:
    """Squares of one photograph, off its own JPEG blocks: ``count``x``size``x``size``x3 uint8."""
    whole = photograph()
    chosen = [_STARTS[index % len(_STARTS)] for index in range(count)]
    return np.stack([whole[y : y + size, x : x + size] for x, y in chosen])


def photograph(size_px: tuple[int, int] | None = None) -> np.ndarray:
    """The photograph, HxWx3 uint8, stretched to a width and height if they are given."""
    with Image.open(SAMPLE) as file:
        picture = file.convert("RGB")
    return np.asarray(picture.resize(size_px, Image.Resampling.BICUBIC) if size_px else picture)
