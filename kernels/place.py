"""Putting received images back into their frames, on the device: ``place``.

    canvas[i, j] = sum_pq a[i, p] b[j, q] received[p, q]
    a[i, p] = max(0, 1 - |s(i) - p| / r) / (their sum over p),   r = max(1, 1 / (y1 - y0))

where s(i) is the place of row i in the received image, clipped to it, and b likewise. The weights
are computed where they are needed: a triangle that reaches r samples, not a matrix.
"""

from __future__ import annotations

import torch

from . import reference
from .aot import Launch
from .checks import check_crop_boxes, check_frames, same_device
from .dispatch import Impl, KernelUnavailable, launch, resolve
from .language import jit, tl

__all__ = ["LAUNCHES", "place"]

_ROWS, _COLS = 4, 64


@jit
def _source(index, start, stop, size):
    """Place of frame samples in the received image, first tap, and reach of the triangle."""
    extent = tl.maximum(stop - start, 1e-3)
    centre = tl.div_rn(index.to(tl.float32) + 0.5, size * 1.0)
    position = tl.div_rn(centre - start, extent) * size - 0.5
    position = tl.minimum(tl.maximum(position, 0.0), size - 1.0)
    reach = tl.maximum(tl.div_rn(1.0, extent), 1.0)
    first = tl.maximum(tl.ceil(position - reach), 0.0).to(tl.int32)
    covered = (centre >= start) & (centre <= stop)
    return position, first, reach, covered


@jit
def _place_kernel(
    received,  # Bx3xSxS float32
    boxes,  # Bx4 float32
    canvas,  # Bx3xSxS float32
    mask,  # Bx1xSxS float32
    size,  # S
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    y = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    x = tl.program_id(1) * COLS + tl.arange(0, COLS)[None, :]
    inside = (y < size) & (x < size)
    box = boxes + batch * 4
    at_y, first_y, reach_y, rows = _source(y, tl.load(box + 1), tl.load(box + 3), size)
    at_x, first_x, reach_x, cols = _source(x, tl.load(box), tl.load(box + 2), size)
    plane = size * size
    source = received + batch * 3 * plane
    red = tl.zeros((ROWS, COLS), tl.float32)
    green = tl.zeros((ROWS, COLS), tl.float32)
    blue = tl.zeros((ROWS, COLS), tl.float32)
    total_y = tl.zeros((ROWS, 1), tl.float32)
    total_x = tl.zeros((1, COLS), tl.float32)
    taps_y = tl.minimum((2.0 * reach_y).to(tl.int32) + 1, size)
    taps_x = tl.minimum((2.0 * reach_x).to(tl.int32) + 1, size)
    for tap_x in range(taps_x):
        p = first_x + tap_x
        weight = tl.maximum(1.0 - tl.abs(at_x - p) / reach_x, 0.0)
        total_x += tl.where(p < size, weight, 0.0)
    for tap_y in range(taps_y):
        q = first_y + tap_y
        weight_y = tl.where(q < size, tl.maximum(1.0 - tl.abs(at_y - q) / reach_y, 0.0), 0.0)
        total_y += weight_y
        for tap_x in range(taps_x):
            p = first_x + tap_x
            weight = weight_y * tl.maximum(1.0 - tl.abs(at_x - p) / reach_x, 0.0)
            valid = inside & (q < size) & (p < size)
            pixel = source + q * size + p
            red += weight * tl.load(pixel, mask=valid, other=0.0)
            green += weight * tl.load(pixel + plane, mask=valid, other=0.0)
            blue += weight * tl.load(pixel + 2 * plane, mask=valid, other=0.0)
    total = total_y * total_x
    target = canvas + batch * 3 * plane + y * size + x
    tl.store(target, red / total, mask=inside)
    tl.store(target + plane, green / total, mask=inside)
    tl.store(target + 2 * plane, blue / total, mask=inside)
    seen = tl.where(rows & cols, 1.0, 0.0)
    tl.store(mask + batch * plane + y * size + x, seen, mask=inside)


def _launch_place(
    received: torch.Tensor, crop_box: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    received, boxes = received.contiguous(), crop_box.contiguous()
    batch, _, size, _ = received.shape
    canvas = torch.empty_like(received)
    mask = torch.empty((batch, 1, size, size), dtype=torch.float32, device=received.device)
    grid = (-(-size // _ROWS), -(-size // _COLS), batch)
    launch(_place_kernel, grid, received, boxes, canvas, mask, size, ROWS=_ROWS, COLS=_COLS)
    return canvas, mask


def place(
    received: torch.Tensor, crop_box: torch.Tensor, impl: Impl = "auto"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put received images back into the frames that they were cut from.

    Args:
        received: Bx3xSxS float32, stretched to the full frame.
        crop_box: Bx4 float32, (x0, y0, x1, y1) in fractions of the original frame.
        impl: see :func:`clr_infer.kernels.resolve`. The Triton kernel has no gradient: ``"auto"``
            takes PyTorch where one is needed, and while a graph is exported or compiled.

    Returns:
        The canvas Bx3xSxS, with the crop's edges replicated outside it, and the crop mask
        Bx1xSxS, 1 where the received image shows the original.

    Raises:
        ValueError: an argument cannot be used; the message names it.
        KernelUnavailable: ``impl`` cannot run here.
    """
    if torch.compiler.is_compiling():  # nothing may look at values in a graph
        return reference.place(received, crop_box)
    check_frames("received", received)
    check_crop_boxes("crop_box", crop_box, len(received))
    same_device("crop_box", crop_box, "received", received)
    if torch.is_grad_enabled() and (received.requires_grad or crop_box.requires_grad):
        if impl == "triton":
            raise KernelUnavailable('place: impl="triton" has no gradient: take impl="torch"')
        impl = "torch"
    if resolve("place", impl, received.device) == "torch":
        return reference.place(received, crop_box)
    return _launch_place(received, crop_box)


LAUNCHES = {
    "place": Launch(
        _place_kernel,
        {**dict.fromkeys(("received", "boxes", "canvas", "mask"), "*fp32"), "size": "i32"},
        {"ROWS": _ROWS, "COLS": _COLS},
    ),
}
