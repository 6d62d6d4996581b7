"""Received pixels over the recovered frame, at native size: the only home of that arithmetic."""

import numpy as np
from PIL import Image

from .geometry import Box, canvas_size, placed_box
from .preprocess import from_frame, to_pixels

__all__ = ["composite"]


def _ramp(length: int, soft_start: bool, soft_stop: bool, feather_px: int) -> np.ndarray:
    """Opacity along one axis, float32: 1 inside, falling towards edges that are not the frame's."""
    index = np.arange(length, dtype=np.float32)
    opacity = np.ones(length, np.float32)
    reach = min(feather_px, length // 4) + 1
    if soft_start:
        opacity = np.minimum(opacity, (index + 1) / reach)
    if soft_stop:
        opacity = np.minimum(opacity, (length - index) / reach)
    return opacity


def composite(
    received: np.ndarray, recovered: np.ndarray, crop_box: Box, feather_px: int
) -> np.ndarray:
    """Lay the received image over the recovered frame.

    Args:
        received: HxWx3 uint8.
        recovered: 3xSxS float32 in [0, 1], from the recover network.
        crop_box: where the received image lies.
        feather_px: width of the soft edge, inside the received image.

    Returns:
        The recovered image, canvas height x width x 3 uint8. Beyond the soft edge the received
        pixels are untouched.
    """
    height, width = received.shape[:2]
    canvas_w, canvas_h = canvas_size(crop_box, width, height)
    x0, y0, x1, y1 = placed_box(crop_box, width, height)
    canvas = from_frame(recovered, canvas_w, canvas_h)
    columns = _ramp(width, x0 > 0, x1 < canvas_w, feather_px)
    rows = _ramp(height, y0 > 0, y1 < canvas_h, feather_px)
    opacity = np.empty((height, width), np.uint8)
    opacity[:] = np.rint(255.0 * columns)
    soft = rows < 1.0
    opacity[soft] = np.rint(255.0 * rows[soft, None] * columns)
    canvas.paste(Image.fromarray(received), (x0, y0), Image.fromarray(opacity))
    return to_pixels(canvas)
