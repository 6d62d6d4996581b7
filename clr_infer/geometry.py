"""Crop boxes and turns: what they are, and the only home of the boxes' arithmetic."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

__all__ = [
    "FULL_FRAME",
    "UPRIGHT",
    "Box",
    "Px",
    "Turn",
    "box_iou",
    "box_to_pixels",
    "canvas_size",
    "common_px",
    "crop_mask",
    "enclosing_px",
    "placed_box",
]


Px = tuple[int, int, int, int]
"""A box in whole pixels: x0, y0, x1, y1."""


class Box(NamedTuple):
    """A crop box in fractions of the original frame; (0, 0) is the top left corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """The kept share of the frame, 0 to 1."""
        return max(self.x1 - self.x0, 0.0) * max(self.y1 - self.y0, 0.0)


FULL_FRAME = Box(0.0, 0.0, 1.0, 1.0)


class Turn(NamedTuple):
    """What sets a received image upright: it is mirrored left to right, then rotated.

    Attributes:
        mirrored: whether it is.
        degrees: counter-clockwise.
    """

    mirrored: bool = False
    degrees: float = 0.0


UPRIGHT = Turn()


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.area + b.area - width * height)


def box_to_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Round a box to whole pixels of a frame, at least one pixel on each side."""
    x0 = min(max(round(box.x0 * width), 0), width - 1)
    y0 = min(max(round(box.y0 * height), 0), height - 1)
    x1 = min(max(round(box.x1 * width), x0 + 1), width)
    y1 = min(max(round(box.y1 * height), y0 + 1), height)
    return x0, y0, x1, y1


def canvas_size(box: Box, width: int, height: int) -> tuple[int, int]:
    """The size of the original frame, at the pixel scale of its ``width`` x ``height`` crop."""
    return (
        max(width, round(width / (box.x1 - box.x0))),
        max(height, round(height / (box.y1 - box.y0))),
    )


def placed_box(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Where a ``width`` x ``height`` crop lies, in whole pixels of its canvas."""
    canvas_w, canvas_h = canvas_size(box, width, height)
    x0 = min(max(round(box.x0 * canvas_w), 0), canvas_w - width)
    y0 = min(max(round(box.y0 * canvas_h), 0), canvas_h - height)
    return x0, y0, x0 + width, y0 + height


def common_px(a: Px, b: Px) -> Px:
    """What two boxes in pixels have in common."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def enclosing_px(a: Px, b: Px) -> Px:
    """The least box in pixels that holds two others."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def crop_mask(box_px: Px, width: int, height: int, altered_px: Iterable[Px] = ()) -> np.ndarray:
    """Draw a mask, HxW uint8: 255 where the received image shows the original, else 0.

    Args:
        box_px: where it lies.
        width: of the canvas.
        height: of the canvas.
        altered_px: boxes within it that show something else.
    """
    mask = np.zeros((height, width), np.uint8)
    for value, boxes in ((255, (box_px,)), (0, altered_px)):
        for x0, y0, x1, y1 in boxes:
            mask[y0:y1, x0:x1] = value
    return mask
