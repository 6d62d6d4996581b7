"""What anybody could draw without a protection, given the TRUE place of the fragment.

The place is a gift: a fragment alone does not tell it. Each filling keeps the received pixels and
guesses the cropped-out area from them.
"""

import numpy as np
from PIL import Image, ImageFilter

from ..errors import InputError
from ..preprocess import resize_pixels

__all__ = ["BASELINES", "BLUR_SIGMAS_PX", "blur_name", "fill_baselines", "mean_colour"]

BLUR_SIGMAS_PX = (8, 16, 32)


def blur_name(sigma_px: int) -> str:
    """The name of the blurred outpainting of this sigma."""
    return f"blur{sigma_px}"


BASELINES = ("mean_colour", "edge", *(blur_name(sigma) for sigma in BLUR_SIGMAS_PX))


def mean_colour(received: np.ndarray) -> np.ndarray:
    """The mean colour of an image HxWx3 uint8, as three uint8."""
    return np.rint(received.mean((0, 1))).astype(np.uint8)


def fill_baselines(
    received: np.ndarray, box_px: tuple[int, int, int, int], width: int, height: int
) -> dict[str, np.ndarray]:
    """Fill the cropped-out area in every way of :data:`BASELINES`.

    ``mean_colour`` paints it in the fragment's mean colour, ``edge`` repeats the fragment's
    outermost pixels, and ``blur8``, ``blur16`` and ``blur32`` blur that with a Gaussian of so many
    pixels (Pillow's, three box filters).

    Args:
        received: the fragment, HxWx3 uint8, of any size; it is resized to its true one.
        box_px: the true box in pixels of the original.
        width: of the original.
        height: of the original.

    Returns:
        By name, height x width x 3 uint8.

    Raises:
        InputError: the box does not lie in the frame.
    """
    x0, y0, x1, y1 = box_px
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(f"the box {box_px} does not lie in a frame of {width}x{height} pixels")
    inside = resize_pixels(received, x1 - x0, y1 - y0)
    edge = np.pad(inside, ((y0, height - y1), (x0, width - x1), (0, 0)), mode="edge")
    plain = np.empty_like(edge)
    plain[:] = mean_colour(inside)
    filled = {"mean_colour": plain, "edge": edge}
    for sigma in BLUR_SIGMAS_PX:
        blurred = Image.fromarray(edge).filter(ImageFilter.GaussianBlur(sigma))
        filled[blur_name(sigma)] = np.array(blurred)
    for image in filled.values():
        image[y0:y1, x0:x1] = inside
    return filled
