"""Resampling filters as tables, one row of weights for each output sample.

A filter h of support s resamples a row of n samples to m. Output k looks at the place
c = (k + 1/2) n / m of the row; with z = max(n / m, 1), the antialiasing,

    w[k, i] = h((i + 1/2 - c) / z) / sum_j h((j + 1/2 - c) / z),   |i + 1/2 - c| <= s z

These are Pillow's filters, in double precision and in its order of operations, so that the tables
equal Pillow's bit by bit.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = [
    "FIXED_BITS",
    "Table",
    "bicubic_fixed",
    "bilinear",
    "bilinear_gram",
    "vertical_first",
]

FIXED_BITS = 22
"""Pillow weighs 8-bit samples by integers in units of 2**-22."""

_CACHED = 256


class Table(NamedTuple):
    """A filter for one pair of lengths.

    Attributes:
        starts: first input sample of each output sample, int32.
        weights: taps x outputs; row t weighs input ``starts + t``, and is 0 where that is past the
            filter or past the last input.
    """

    starts: torch.Tensor
    weights: torch.Tensor


def vertical_first(size_in: tuple[int, int], size_out: tuple[int, int]) -> bool:
    """Whether Pillow 13 resamples columns before rows; sizes are (height, width).

    It rounds to 8 bits in between, so that the order shows in the result.
    """
    fewer_rows, fewer_columns = size_in[0] - size_out[0], size_in[1] - size_out[1]
    return fewer_rows > max(0, 2 * fewer_columns)


def _cubic(x: torch.Tensor) -> torch.Tensor:
    """Keys' cubic convolution with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))


def _triangle(x: torch.Tensor) -> torch.Tensor:
    return (1.0 - x.abs()).clamp(min=0.0)


def _table(
    shape: Callable[[torch.Tensor], torch.Tensor], support: float, length_in: int, length_out: int
) -> Table:
    """The filter's table in float64; an axis that keeps its length is copied."""
    index = torch.arange(length_out, dtype=torch.float64)
    if length_in == length_out:
        return Table(index.int(), torch.ones(1, length_out, dtype=torch.float64))
    scale = length_in / length_out
    stretch = max(scale, 1.0)
    centre = (index + 0.5) * scale
    starts = (centre - support * stretch + 0.5).long().clamp(min=0)
    counts = (centre + support * stretch + 0.5).long().clamp(max=length_in) - starts
    taps = torch.arange(int(counts.max()))[:, None]
    weights = shape(((taps + starts) - centre + 0.5) * (1.0 / stretch))
    weights = torch.where(taps < counts, weights, 0.0)
    total = torch.zeros(length_out, dtype=torch.float64)
    for row in weights:  # in this order: the last bit depends on it
        total += row
    return Table(starts.int(), weights / total)


@functools.lru_cache(_CACHED)
def bicubic_fixed(length_in: int, length_out: int, device: torch.device) -> Table:
    """Pillow's antialiased bicubic filter for 8-bit samples; weights int32 in units of 2**-22."""
    starts, weights = _table(_cubic, 2.0, length_in, length_out)
    scaled = weights * (1 << FIXED_BITS)
    rounded = (scaled + torch.where(scaled < 0, -0.5, 0.5)).int()  # halves away from zero
    return Table(starts.to(device), rounded.to(device))


@functools.lru_cache(_CACHED)
def bilinear(
    length_in: int, length_out: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Table:
    """Pillow's antialiased bilinear filter for float samples."""
    starts, weights = _table(_triangle, 1.0, length_in, length_out)
    return Table(starts.to(device), weights.to(device, dtype))


@functools.lru_cache(_CACHED)
def bilinear_gram(length_in: int, length_out: int, device: torch.device) -> torch.Tensor:
    """The band of W^T W, where the matrix W is the bilinear filter.

    Returns:
        (2 r + 1) x ``length_in``, float32: row d holds the products of inputs i and i + d - r.
    """
    starts, weights = _table(_triangle, 1.0, length_in, length_out)
    taps = len(weights)
    band = torch.zeros(2 * taps - 1, length_in, dtype=torch.float64)
    for one in range(taps):
        at = (starts.long() + one).clamp(max=length_in - 1)
        for other in range(taps):
            band[other - one + taps - 1].index_add_(0, at, weights[one] * weights[other])
    return band.to(device, torch.float32)
