"""Quantisation of coefficients in registers, and its derivative.

Coefficients ``c`` come in eighths, as int32; ``step`` is the fp32 step of the quantisation table.

    exact   sign(c) floor((|c| + 4 step) / (8 step)) step        libjpeg's, in integers
    soft    (n + (x - n)^3) step,   x = c / (8 step), n the level nearest to x
    noise   (x + u - 1/2) step,     u uniform in [0, 1)

The twin in plain PyTorch is :mod:`.reference.quantize`.
"""

from __future__ import annotations

from .language import jit, tl

__all__ = ["requantise", "soft_parts"]


@jit
def _nearest(x):
    """The nearest whole number, halves away from zero."""
    size = tl.floor(tl.abs(x) + 0.5)
    return tl.where(x < 0, -size, size)


@jit
def requantise(c, step, index, seed, ROUNDING: tl.constexpr):
    """Quantise, round and dequantise: int32 for ``"exact"``, else fp32, in whole units.

    Args:
        c: coefficients in eighths, int32.
        step: their steps, fp32; whole numbers for ``"exact"``.
        index: their places in the sequence of random numbers, for ``"noise"``.
        seed: of that sequence.
        ROUNDING: ``"exact"``, ``"soft"`` or ``"noise"``.
    """
    if ROUNDING == "exact":
        whole = step.to(tl.int32)
        # The half keeps the quotient, whose numerator is below 2^20, off the whole numbers that
        # the rounding of fp32 could miss.
        quotient = ((tl.abs(c) + 4 * whole).to(tl.float32) + 0.5) * tl.div_rn(0.125, step)
        value = quotient.to(tl.int32) * whole
        return tl.where(c < 0, -value, value)
    else:
        x = tl.div_rn(c.to(tl.float32) * 0.125, step)
        if ROUNDING == "soft":
            nearest = _nearest(x)
            rest = x - nearest
            return (nearest + rest * rest * rest) * step
        else:
            return (x + tl.rand(seed, index) - 0.5) * step


@jit
def soft_parts(c, step):
    """The derivatives of ``"soft"`` with respect to the coefficient (whole units) and the step."""
    x = tl.div_rn(c.to(tl.float32) * 0.125, step)
    nearest = _nearest(x)
    rest = x - nearest
    slope = 3.0 * rest * rest
    return slope, nearest + rest * rest * rest - x * slope
