"""Quantisation of coefficients in registers, and its derivative.

Coefficients ``c`` come in eighths, as int32; ``step`` is the fp32 step of the quantisation table.

    exact   sign(c) floor((|c| + 4 step) / (8 step)) step        libjpeg's, in integers
    soft    (n + (x - n)^3) step,   x = c / (8 step), n the level nearest to x
    noise   (x + u - 1/2) step,     u uniform in [0, 1)

The twin in plain PyTorch is :mod:`.reference.quantize`.
"""

from __future__ import annotations

from .language import jit, tl

__all__ = ["exact_level", "requantise", "smooth_level", "soft_parts"]


@jit
def _nearest(x):
    """The nearest whole number, halves away from zero."""
    size = tl.floor(tl.abs(x) + 0.5)
    return tl.where(x < 0, -size, size)


@jit
def exact_level(c, step):
    """The level of coefficients in eighths, int32; ``step`` is fp32 and a whole number."""
    # The half keeps the quotient, whose numerator is below 2^20, off the whole numbers that the
    # rounding of fp32 could miss.
    numerator = (tl.abs(c) + 4 * step.to(tl.int32)).to(tl.float32) + 0.5
    level = (numerator * tl.div_rn(0.125, step)).to(tl.int32)
    return tl.where(c < 0, -level, level)


@jit
def smooth_level(x, index, seed, ROUNDING: tl.constexpr):
    """The level of fp32 coefficients in units of a step.

    Args:
        x: coefficients.
        index: their places in the sequence of random numbers, for ``"noise"``.
        seed: of that sequence.
        ROUNDING: ``"nearest"``, ``"soft"`` or ``"noise"``.
    """
    if ROUNDING == "noise":
        return x + tl.rand(seed, index) - 0.5
    else:
        nearest = _nearest(x)
        if ROUNDING == "soft":
            rest = x - nearest
            return nearest + rest * rest * rest
        else:
            return nearest


@jit
def requantise(c, step, index, seed, ROUNDING: tl.constexpr):
    """Quantise and dequantise coefficients in eighths, int32, to whole units.

    int32 for ``"exact"``, else fp32; the other arguments are those of :func:`smooth_level`.
    """
    if ROUNDING == "exact":
        return exact_level(c, step) * step.to(tl.int32)
    else:
        x = tl.div_rn(c.to(tl.float32) * 0.125, step)
        return smooth_level(x, index, seed, ROUNDING) * step


@jit
def soft_parts(c, step):
    """The derivatives of ``"soft"`` with respect to the coefficient (whole units) and the step."""
    x = tl.div_rn(c.to(tl.float32) * 0.125, step)
    nearest = _nearest(x)
    rest = x - nearest
    slope = 3.0 * rest * rest
    return slope, nearest + rest * rest * rest - x * slope
