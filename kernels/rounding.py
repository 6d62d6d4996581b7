"""Rounding inside Triton kernels."""

from __future__ import annotations

from .language import jit, tl

__all__ = ["round_half_even"]


@jit
def round_half_even(x):
    """Round |x| < 2^22 to the nearest integer: its fraction falls off the end of 1.5 x 2^23."""
    large: tl.constexpr = 12582912.0
    return (x + large) - large
