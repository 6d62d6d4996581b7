"""Resizing 8-bit images on the device, bit by bit as Pillow: ``preprocess`` and ``composite``.

One pass an axis, in integers, rounded to 8 bits in between:

    out[o, k, i] = clip((sum_t w[t, k] in[o, start[k] + t, i] + 2^21) >> 22, 0, 255)

Along rows, o is the row and i the channel; along columns, o is the image and i column and channel.
The second pass ends in a frame (``/ 255``) or under the received pixels: neither costs a pass of
its own. Under opaque received pixels nothing is resampled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from . import reference
from .aot import Launch
from .checks import check_box, check_frame, check_image, check_images, check_size, same_device
from .dispatch import Impl, launch, resolve
from .filters import bicubic_fixed, vertical_first
from .language import jit, tl
from .rounding import round_half_even

__all__ = ["LAUNCHES", "composite", "preprocess"]

_BLOCK = 512
_EXACT = {"enable_fp_fusion": False}  # a product is rounded before it is added, as on the CPU
# What differs from picture to picture: one machine code for all, see language.ANY_SIZE.
_ANY_PASS = ("blocks", "length_in", "length_out", "inner", "taps")
_ANY_CANVAS = (*_ANY_PASS, "canvas_w", "canvas_h", "left", "top", "width", "height")


@jit
def _resampled(
    image,  # OxNxI uint8, or a frame 3xSxS float32 in [0, 1] read as SxSx3
    starts,  # K int32
    weights,  # TxK int32
    outer,  # of this program
    index,  # BLOCK of K * I
    wanted,  # BLOCK, which of them
    length_in,  # N
    length_out,  # K
    inner,  # I
    taps,  # T
    plane,  # S * S
    FRAME_IN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Levels 0 to 255, BLOCK int32, of one pass."""
    k = index // inner
    i = index % inner
    start = tl.load(starts + k, mask=wanted, other=0)
    total = tl.full((BLOCK,), 1 << 21, tl.int32)
    for tap in range(taps):
        weight = tl.load(weights + tap * length_out + k, mask=wanted, other=0)
        at = start + tap
        valid = wanted & (at < length_in)
        if FRAME_IN:
            source = (i % 3) * plane + (outer * length_in + at) * (inner // 3) + i // 3
            value = tl.load(image + source, mask=valid, other=0.0)
            value = tl.minimum(tl.maximum(value, 0.0), 1.0) * 255.0
            level = round_half_even(value).to(tl.int32)
        else:
            source = (outer * length_in + at) * inner + i
            level = tl.load(image + source, mask=valid, other=0).to(tl.int32)
        total += weight * level
    return tl.minimum(tl.maximum(total >> 22, 0), 255)


@jit(do_not_specialize=_ANY_PASS)
def _resize_kernel(
    image,  # see _resampled
    starts,  # K int32
    weights,  # TxK int32
    out,  # OxKxI uint8, or frames Bx3xSxS float32
    blocks,  # programs for each of O
    length_in,
    length_out,
    inner,
    taps,
    plane,  # pixels of a frame
    FRAME_IN: tl.constexpr,
    FRAME_OUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    outer = program // blocks
    index = (program % blocks).to(tl.int32) * BLOCK + tl.arange(0, BLOCK)
    wanted = index < length_out * inner
    level = _resampled(
        image, starts, weights, outer, index, wanted,
        length_in, length_out, inner, taps, plane, FRAME_IN, BLOCK,
    )  # fmt: skip
    if FRAME_OUT:
        pixel = outer * (length_out * inner // 3)
        target = (pixel // plane * 3 + index % 3) * plane + pixel % plane + index // 3
        tl.store(out + target, tl.div_rn(level.to(tl.float32), 255.0), mask=wanted)
    else:
        target = outer * length_out * inner + index
        tl.store(out + target, level.to(tl.uint8), mask=wanted)


@jit
def _opacity(position, length, soft_start, soft_stop, reach):
    """Opacity along one axis at ``position``; 1 away from edges."""
    whole = tl.full(position.shape, 1.0, tl.float32)
    first = tl.where(soft_start, tl.div_rn((position + 1).to(tl.float32), reach), whole)
    last = tl.where(soft_stop, tl.div_rn((length - position).to(tl.float32), reach), whole)
    return tl.minimum(whole, tl.minimum(first, last))


@jit(do_not_specialize=_ANY_CANVAS)
def _composite_kernel(
    image,  # see _resampled
    starts,  # K int32
    weights,  # TxK int32
    received,  # hxwx3 uint8
    out,  # HxWx3 uint8, flat also OxKxI
    blocks,  # programs for each of O
    length_in,
    length_out,
    inner,
    taps,
    plane,
    canvas_w,  # W
    canvas_h,  # H
    left,  # of the received image in the canvas
    top,
    width,  # w
    height,  # h
    reach_x,  # feather and one, float32
    reach_y,
    FRAME_IN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    outer = program // blocks
    index = (program % blocks).to(tl.int32) * BLOCK + tl.arange(0, BLOCK)
    in_canvas = index < length_out * inner
    pixel = (outer * (length_out * inner // 3)).to(tl.int32) + index // 3
    x = pixel % canvas_w - left
    y = pixel // canvas_w - top
    inside = in_canvas & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    across = _opacity(x, width, left > 0, left + width < canvas_w, reach_x)
    down = _opacity(y, height, top > 0, top + height < canvas_h, reach_y)
    opacity = round_half_even(255.0 * down * across).to(tl.int32)
    opacity = tl.where(inside, opacity, 0)
    under = _resampled(
        image, starts, weights, outer, index, in_canvas & (opacity < 255),
        length_in, length_out, inner, taps, plane, FRAME_IN, BLOCK,
    )  # fmt: skip
    source = (y.to(tl.int64) * width + x) * 3 + index % 3
    over = tl.load(received + source, mask=inside, other=0).to(tl.int32)
    mixed = under * (255 - opacity) + over * opacity + 128
    target = outer * length_out * inner + index
    tl.store(out + target, (((mixed >> 8) + mixed) >> 8).to(tl.uint8), mask=in_canvas)


class _Pass(NamedTuple):
    """One pass over an image seen as outer x length x inner."""

    outer: int
    length_in: int
    length_out: int
    inner: int

    @property
    def blocks(self) -> int:
        return -(-self.length_out * self.inner // _BLOCK)


def _passes(batch: int, old: tuple[int, int], new: tuple[int, int]) -> tuple[_Pass, _Pass]:
    """Both passes in Pillow's order; sizes are (height, width)."""
    (old_h, old_w), (new_h, new_w) = old, new
    if vertical_first(old, new):
        return _Pass(batch, old_h, new_h, 3 * old_w), _Pass(batch * new_h, old_w, new_w, 3)
    return _Pass(batch * old_h, old_w, new_w, 3), _Pass(batch, old_h, new_h, 3 * new_w)


def _resize(
    image: torch.Tensor, step: _Pass, out: torch.Tensor, plane: int, frame_in: bool, frame_out: bool
) -> None:
    table = bicubic_fixed(step.length_in, step.length_out, image.device)
    launch(
        _resize_kernel,
        (step.outer * step.blocks,),
        image,
        *table,
        out,
        step.blocks,
        step.length_in,
        step.length_out,
        step.inner,
        len(table.weights),
        plane,
        FRAME_IN=frame_in,
        FRAME_OUT=frame_out,
        BLOCK=_BLOCK,
        **_EXACT,
    )


def _first_pass(image: torch.Tensor, step: _Pass, plane: int, frame_in: bool) -> torch.Tensor:
    """The pass whose result is an 8-bit image; one that would only copy is left out."""
    if step.length_in == step.length_out:
        return image
    shape = (step.outer, step.length_out, step.inner)
    out = torch.empty(shape, dtype=torch.uint8, device=image.device)
    _resize(image, step, out, plane, frame_in, frame_out=False)
    return out


def _launch_preprocess(images: torch.Tensor, size: int) -> torch.Tensor:
    batch, height, width = images.shape[:3]
    first, last = _passes(batch, (height, width), (size, size))
    half = _first_pass(images.contiguous(), first, size * size, frame_in=False)
    out = torch.empty((batch, 3, size, size), dtype=torch.float32, device=images.device)
    _resize(half, last, out, size * size, frame_in=False, frame_out=True)
    return out


def _launch_composite(
    received: torch.Tensor,
    recovered: torch.Tensor,
    box_px: tuple[int, int, int, int],
    canvas_px: tuple[int, int],
    feather_px: int,
) -> torch.Tensor:
    height, width = received.shape[:2]
    canvas_w, canvas_h = canvas_px
    size = recovered.shape[-1]
    first, last = _passes(1, (size, size), (canvas_h, canvas_w))
    half = _first_pass(recovered.contiguous(), first, size * size, frame_in=True)
    table = bicubic_fixed(last.length_in, last.length_out, received.device)
    out = torch.empty((canvas_h, canvas_w, 3), dtype=torch.uint8, device=received.device)
    launch(
        _composite_kernel,
        (last.outer * last.blocks,),
        half,
        *table,
        received.contiguous(),
        out,
        last.blocks,
        last.length_in,
        last.length_out,
        last.inner,
        len(table.weights),
        size * size,
        canvas_w,
        canvas_h,
        box_px[0],
        box_px[1],
        width,
        height,
        float(min(feather_px, width // 4) + 1),
        float(min(feather_px, height // 4) + 1),
        FRAME_IN=half.is_floating_point(),
        BLOCK=_BLOCK,
        **_EXACT,
    )
    return out


def preprocess(images: torch.Tensor, size: int, impl: Impl = "auto") -> torch.Tensor:
    """Stretch images to the networks' frame, antialiased, bit by bit as Pillow 13 does (bicubic).

    Args:
        images: HxWx3 or BxHxWx3 uint8 RGB, of any size.
        size: side of the frame in pixels.
        impl: see :func:`clr_infer.kernels.resolve`.

    Returns:
        Frames 3xSxS or Bx3xSxS float32, [0, 1], on 8-bit levels.

    Raises:
        ValueError: an argument cannot be used; the message names it.
        KernelUnavailable: ``impl`` cannot run here.
    """
    check_images("images", images)
    check_size("size", size)
    if resolve("preprocess", impl, images.device) == "torch":
        return reference.preprocess(images, size)
    frames = _launch_preprocess(images if images.ndim == 4 else images[None], size)
    return frames if images.ndim == 4 else frames[0]


def composite(
    received: torch.Tensor,
    recovered: torch.Tensor,
    box_px: tuple[int, int, int, int],
    canvas_px: tuple[int, int],
    feather_px: int,
    impl: Impl = "auto",
) -> torch.Tensor:
    """Lay a received image over a recovered frame, bit by bit as Pillow 13 does.

    Args:
        received: hxwx3 uint8 RGB.
        recovered: 3xSxS float32; clipped to [0, 1].
        box_px: x0, y0, x1, y1 of the received image in the canvas; its size is w x h.
        canvas_px: width W and height H of the canvas.
        feather_px: width of the soft edge, inside the received image; edges of the canvas have
            none.
        impl: see :func:`clr_infer.kernels.resolve`.

    Returns:
        The canvas, HxWx3 uint8. Beyond the soft edge the received pixels are untouched.

    Raises:
        ValueError: an argument cannot be used; the message names it.
        KernelUnavailable: ``impl`` cannot run here.
    """
    check_image("received", received)
    check_frame("recovered", recovered)
    same_device("recovered", recovered, "received", received)
    check_box(box_px, canvas_px, received)
    if feather_px < 0:
        raise ValueError(f"feather_px must be at least 0, not {feather_px}")
    if resolve("composite", impl, received.device) == "torch":
        return reference.composite(received, recovered, box_px, canvas_px, feather_px)
    return _launch_composite(received, recovered, box_px, canvas_px, feather_px)


_PASS_TYPES = {
    "image": "*u8",
    "starts": "*i32",
    "weights": "*i32",
    **dict.fromkeys((*_ANY_PASS, "plane"), "i32"),
}
_FRAME_TYPES = {**_PASS_TYPES, "image": "*fp32"}
_CANVAS_TYPES = {
    "received": "*u8",
    "out": "*u8",
    **dict.fromkeys(_ANY_CANVAS, "i32"),
    "reach_x": "fp32",
    "reach_y": "fp32",
}
LAUNCHES = {
    "preprocess_first": Launch(
        _resize_kernel,
        {**_PASS_TYPES, "out": "*u8"},
        {"FRAME_IN": False, "FRAME_OUT": False, "BLOCK": _BLOCK},
        _EXACT,
    ),
    "preprocess_last": Launch(
        _resize_kernel,
        {**_PASS_TYPES, "out": "*fp32"},
        {"FRAME_IN": False, "FRAME_OUT": True, "BLOCK": _BLOCK},
        _EXACT,
    ),
    "composite_first": Launch(
        _resize_kernel,
        {**_FRAME_TYPES, "out": "*u8"},
        {"FRAME_IN": True, "FRAME_OUT": False, "BLOCK": _BLOCK},
        _EXACT,
    ),
    "composite_last": Launch(
        _composite_kernel,
        {**_PASS_TYPES, **_CANVAS_TYPES},
        {"FRAME_IN": False, "BLOCK": _BLOCK},
        _EXACT,
    ),
    "composite_only": Launch(
        _composite_kernel,
        {**_FRAME_TYPES, **_CANVAS_TYPES},
        {"FRAME_IN": True, "BLOCK": _BLOCK},
        _EXACT,
    ),
}
