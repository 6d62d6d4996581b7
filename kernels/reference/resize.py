"""Resizing 8-bit images in plain PyTorch, bit by bit as Pillow: two passes, 8 bits in between."""

import torch

from ..filters import FIXED_BITS, Table, bicubic_fixed, vertical_first
from .color import from_levels

__all__ = ["composite", "preprocess", "weighted"]


def weighted(x: torch.Tensor, table: Table, dim: int) -> torch.Tensor:
    """Sum the taps of a filter along one axis, in the type of the filter's weights."""
    last = x.shape[dim] - 1
    shape = [-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)]
    total: torch.Tensor | float = 0
    for tap, weights in enumerate(table.weights):
        taken = x.index_select(dim, (table.starts + tap).clamp(max=last))
        total = total + taken.to(weights.dtype) * weights.view(shape)
    assert isinstance(total, torch.Tensor)
    return total


def _resize_8bit(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize images, ...xHxWx3 uint8, as Pillow does with its bicubic filter."""
    old = (images.shape[-3], images.shape[-2])
    passes = [(-2, old[1], width), (-3, old[0], height)]
    if vertical_first(old, (height, width)):
        passes.reverse()
    for dim, length_in, length_out in passes:
        total = weighted(images, bicubic_fixed(length_in, length_out, images.device), dim)
        levels = (total + (1 << (FIXED_BITS - 1))) >> FIXED_BITS
        images = levels.clamp(0, 255).to(torch.uint8)
    return images


def preprocess(images: torch.Tensor, size: int) -> torch.Tensor:
    """Stretch images to the frame, see :func:`clr_infer.kernels.preprocess`."""
    return from_levels(_resize_8bit(images, size, size).movedim(-1, -3).contiguous().float())


def _ramp(
    length: int, soft_start: bool, soft_stop: bool, feather_px: int, device: torch.device
) -> torch.Tensor:
    """Opacity along one axis, float32: 1 inside, falling towards edges that are not the frame's."""
    index = torch.arange(length, dtype=torch.float32, device=device)
    opacity = torch.ones_like(index)
    reach = min(feather_px, length // 4) + 1
    if soft_start:
        opacity = torch.minimum(opacity, (index + 1) / reach)
    if soft_stop:
        opacity = torch.minimum(opacity, (length - index) / reach)
    return opacity


def composite(
    received: torch.Tensor,
    recovered: torch.Tensor,
    box_px: tuple[int, int, int, int],
    canvas_px: tuple[int, int],
    feather_px: int,
) -> torch.Tensor:
    """Lay a received image over a recovered frame, see :func:`clr_infer.kernels.composite`."""
    (x0, y0, x1, y1), (canvas_w, canvas_h) = box_px, canvas_px
    frame = (recovered.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    canvas = _resize_8bit(frame.permute(1, 2, 0), canvas_h, canvas_w)
    columns = _ramp(x1 - x0, x0 > 0, x1 < canvas_w, feather_px, received.device)
    rows = _ramp(y1 - y0, y0 > 0, y1 < canvas_h, feather_px, received.device)
    opacity = (255.0 * rows[:, None] * columns).round().int()[..., None]
    under = canvas[y0:y1, x0:x1].int()
    mixed = under * (255 - opacity) + received.int() * opacity + 128
    canvas[y0:y1, x0:x1] = (((mixed >> 8) + mixed) >> 8).to(torch.uint8)  # Pillow's division by 255
    return canvas
