"""Colour conversion of samples in registers, JFIF full range (ITU-R BT.601).

With ``FIXED``: the 16-bit fixed-point integers of libjpeg-turbo; without: the matrix in fp32. The
twin in plain PyTorch, with the formulas, is :mod:`.reference.color`.
"""

from __future__ import annotations

from .language import jit, tl
from .rounding import round_half_even

__all__ = ["chroma_of", "clip", "from_level", "luma_of", "mark", "rgb_of", "to_pixel"]


@jit
def to_pixel(x):
    """One channel as loaded, uint8 or floating in [0, 1], as int32 0-255; NaN becomes 0."""
    if x.dtype == tl.uint8:
        return x.to(tl.int32)
    else:
        scaled = tl.minimum(tl.maximum(x.to(tl.float32) * 255.0, 0.0), 255.0)
        return round_half_even(scaled).to(tl.int32)


@jit
def clip(x):
    """Limit a level, int32 or fp32, to 0-255."""
    return tl.minimum(tl.maximum(x, 0), 255)


@jit
def mark(x, BIT: tl.constexpr):
    """Set bit number ``BIT``, int32, where a level lies in 0-255."""
    return tl.where((x >= 0) & (x <= 255), 1 << BIT, 0)


@jit
def from_level(x, KIND: tl.constexpr):
    """A level, clipped, as uint8 or as a float in [0, 1].

    1/255 in two parts, the first of 16 bits: whole levels come out as if they had been divided.
    """
    if KIND == tl.uint8:
        return clip(x).to(tl.uint8)
    else:
        level = clip(x).to(tl.float32)
        return (level * (32897.0 / 8388608.0) + level * -5.93709e-08).to(KIND)


@jit
def luma_of(r, g, b):
    """Y of int32 pixels."""
    return (19595 * r + 38470 * g + 7471 * b + 32768) >> 16


@jit
def chroma_of(r, g, b, component):
    """Cb (component 0) or Cr (1) of int32 pixels, around 128."""
    from_r = tl.where(component == 0, -11059, 32768)
    from_g = tl.where(component == 0, -21709, -27439)
    from_b = tl.where(component == 0, 32768, -5329)
    return (from_r * r + from_g * g + from_b * b + 8421375) >> 16


@jit
def rgb_of(y, cb, cr, FIXED: tl.constexpr):
    """RGB, unclipped, of Y and of chroma around 0."""
    if FIXED:
        r = y + ((91881 * cr + 32768) >> 16)
        g = y + ((-22554 * cb - 46802 * cr + 32768) >> 16)
        b = y + ((116130 * cb + 32768) >> 16)
    else:
        r = y + 1.402 * cr
        g = y - 0.344136286 * cb - 0.714136286 * cr
        b = y + 1.772 * cb
    return r, g, b
