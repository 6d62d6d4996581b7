"""The 8x8 DCT of libjpeg-turbo, "islow", in 32-bit integers, and its inverse.

The algorithm of Loeffler, Ligtenberg and Moschytz ("Practical fast 1-D DCT algorithms with 11
multiplications", 1989) with 13-bit constants: rows and columns one after the other, each rounded
where libjpeg rounds. Coefficients are in eighths of the orthonormal DCT's unit.

Blocks come with their own axes first, 8x8x..., so that each of the eight values of a row or
column is one contiguous tensor.
"""

import torch

__all__ = ["dct_islow", "idct_islow"]

_BITS = 13  # of the constants
_EXTRA = 2  # bits kept between the two passes
# The constants of the algorithm, times 2^13.
_0_298, _0_390, _0_541, _0_765, _0_899, _1_175 = 2446, 3196, 4433, 6270, 7373, 9633
_1_501, _1_847, _1_961, _2_053, _2_562, _3_072 = 12299, 15137, 16069, 16819, 20995, 25172


def _descale(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Divide by 2^bits, halves up."""
    return (x + (1 << (bits - 1))) >> bits


def _forward(x: torch.Tensor, axis: int, even_bits: int, bits: int) -> torch.Tensor:
    """One pass along ``axis``; a negative ``even_bits`` shifts up."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x.unbind(axis)
    s0, s1, s2, s3 = x0 + x7, x1 + x6, x2 + x5, x3 + x4
    d0, d1, d2, d3 = x0 - x7, x1 - x6, x2 - x5, x3 - x4
    e0, e1, e2, e3 = s0 + s3, s1 + s2, s1 - s2, s0 - s3
    if even_bits < 0:
        y0, y4 = (e0 + e1) << -even_bits, (e0 - e1) << -even_bits
    else:
        y0, y4 = _descale(e0 + e1, even_bits), _descale(e0 - e1, even_bits)
    z = (e2 + e3) * _0_541
    y2, y6 = _descale(z + e3 * _0_765, bits), _descale(z - e2 * _1_847, bits)
    z5 = (d3 + d1 + d2 + d0) * _1_175
    z1, z2 = (d3 + d0) * -_0_899, (d2 + d1) * -_2_562
    z3, z4 = z5 - (d3 + d1) * _1_961, z5 - (d2 + d0) * _0_390
    y7 = _descale(d3 * _0_298 + z1 + z3, bits)
    y5 = _descale(d2 * _2_053 + z2 + z4, bits)
    y3 = _descale(d1 * _3_072 + z2 + z3, bits)
    y1 = _descale(d0 * _1_501 + z1 + z4, bits)
    return torch.stack((y0, y1, y2, y3, y4, y5, y6, y7), axis)


def _inverse(y: torch.Tensor, axis: int, bits: int) -> torch.Tensor:
    """One pass of the inverse along ``axis``."""
    y0, y1, y2, y3, y4, y5, y6, y7 = y.unbind(axis)
    z = (y2 + y6) * _0_541
    t2, t3 = z - y6 * _1_847, z + y2 * _0_765
    t0, t1 = (y0 + y4) << _BITS, (y0 - y4) << _BITS
    e0, e3, e1, e2 = t0 + t3, t0 - t3, t1 + t2, t1 - t2
    z5 = (y7 + y3 + y5 + y1) * _1_175
    z1, z2 = (y7 + y1) * -_0_899, (y5 + y3) * -_2_562
    z3, z4 = z5 - (y7 + y3) * _1_961, z5 - (y5 + y1) * _0_390
    o0, o1 = y7 * _0_298 + z1 + z3, y5 * _2_053 + z2 + z4
    o2, o3 = y3 * _3_072 + z2 + z3, y1 * _1_501 + z1 + z4
    rows = (e0 + o3, e1 + o2, e2 + o1, e3 + o0, e3 - o0, e2 - o1, e1 - o2, e0 - o3)
    return torch.stack([_descale(row, bits) for row in rows], axis)


def dct_islow(samples: torch.Tensor) -> torch.Tensor:
    """Level-shifted samples, 8x8x... int32 (rows, then columns), to coefficients in eighths."""
    rows = _forward(samples, 1, -_EXTRA, _BITS - _EXTRA)
    return _forward(rows, 0, _EXTRA, _BITS + _EXTRA)


def idct_islow(coefficients: torch.Tensor) -> torch.Tensor:
    """Dequantised coefficients, 8x8x... int32 (in whole units), to level-shifted samples."""
    columns = _inverse(coefficients, 0, _BITS - _EXTRA)
    return _inverse(columns, 1, _BITS + _EXTRA + 3)
