"""8x8 DCT and IDCT as register butterflies, fixed-point ("islow") and floating.

The algorithm of Loeffler, Ligtenberg and Moschytz (1989) along one axis; eight values of a row or
column live in eight tensors, so that a thread works on its own registers. Between the two axes
blocks are transposed among the eight threads that share one, see :func:`transpose8`: the only
data movement.

With ``FIXED`` the constants have 13 bits and every pass rounds where libjpeg rounds, so that the
results equal libjpeg-turbo's. Without it the transform is orthonormal.
"""

from __future__ import annotations

from .language import constexpr_function, jit, tl

__all__ = ["dct8", "idct8", "join8", "load8", "store8", "transpose8"]

# A row or column is a tuple of eight tensors [N], one element per thread.


@constexpr_function
def _constant(value: float, fixed: bool) -> float:
    return int(value * 8192 + 0.5) if fixed else value


@jit
def _descale(x, BITS: tl.constexpr, FIXED: tl.constexpr):
    """Divide by 2^BITS, halves up; floating values carry no scale."""
    if FIXED:
        return (x + (1 << (BITS - 1))) >> BITS
    else:
        return x


@jit
def _unit(x, FIXED: tl.constexpr):
    """Make a floating axis orthonormal: the butterfly's gain is the square root of 8."""
    if FIXED:
        return x
    else:
        return [value * 0.3535533905932738 for value in x]


@jit
def dct8(x, FIRST: tl.constexpr, FIXED: tl.constexpr):
    """One axis of the DCT; ``FIRST`` is the pass along rows, whose result keeps two more bits."""
    BITS: tl.constexpr = 11 if FIRST else 15
    x0, x1, x2, x3, x4, x5, x6, x7 = x
    s0, s1, s2, s3 = x0 + x7, x1 + x6, x2 + x5, x3 + x4
    d0, d1, d2, d3 = x0 - x7, x1 - x6, x2 - x5, x3 - x4
    e0, e1, e2, e3 = s0 + s3, s1 + s2, s1 - s2, s0 - s3
    y0, y4 = e0 + e1, e0 - e1
    if FIXED:
        if FIRST:
            y0, y4 = y0 << 2, y4 << 2
        else:
            y0, y4 = _descale(y0, 2, True), _descale(y4, 2, True)
    z = (e2 + e3) * _constant(0.541196100, FIXED)
    y2 = _descale(z + e3 * _constant(0.765366865, FIXED), BITS, FIXED)
    y6 = _descale(z - e2 * _constant(1.847759065, FIXED), BITS, FIXED)
    z5 = (d3 + d1 + d2 + d0) * _constant(1.175875602, FIXED)
    z1 = (d3 + d0) * _constant(0.899976223, FIXED)
    z2 = (d2 + d1) * _constant(2.562915447, FIXED)
    z3 = z5 - (d3 + d1) * _constant(1.961570560, FIXED)
    z4 = z5 - (d2 + d0) * _constant(0.390180644, FIXED)
    y7 = _descale(d3 * _constant(0.298631336, FIXED) - z1 + z3, BITS, FIXED)
    y5 = _descale(d2 * _constant(2.053119869, FIXED) - z2 + z4, BITS, FIXED)
    y3 = _descale(d1 * _constant(3.072711026, FIXED) - z2 + z3, BITS, FIXED)
    y1 = _descale(d0 * _constant(1.501321110, FIXED) - z1 + z4, BITS, FIXED)
    return _unit((y0, y1, y2, y3, y4, y5, y6, y7), FIXED)


@jit
def idct8(y, FIRST: tl.constexpr, FIXED: tl.constexpr):
    """One axis of the IDCT; ``FIRST`` is the pass along columns."""
    BITS: tl.constexpr = 11 if FIRST else 18
    y0, y1, y2, y3, y4, y5, y6, y7 = y
    z = (y2 + y6) * _constant(0.541196100, FIXED)
    t2 = z - y6 * _constant(1.847759065, FIXED)
    t3 = z + y2 * _constant(0.765366865, FIXED)
    t0, t1 = y0 + y4, y0 - y4
    if FIXED:
        t0, t1 = t0 << 13, t1 << 13
    e0, e3, e1, e2 = t0 + t3, t0 - t3, t1 + t2, t1 - t2
    z5 = (y7 + y3 + y5 + y1) * _constant(1.175875602, FIXED)
    z1 = (y7 + y1) * _constant(0.899976223, FIXED)
    z2 = (y5 + y3) * _constant(2.562915447, FIXED)
    z3 = z5 - (y7 + y3) * _constant(1.961570560, FIXED)
    z4 = z5 - (y5 + y1) * _constant(0.390180644, FIXED)
    o0 = y7 * _constant(0.298631336, FIXED) - z1 + z3
    o1 = y5 * _constant(2.053119869, FIXED) - z2 + z4
    o2 = y3 * _constant(3.072711026, FIXED) - z2 + z3
    o3 = y1 * _constant(1.501321110, FIXED) - z1 + z4
    x0, x7 = _descale(e0 + o3, BITS, FIXED), _descale(e0 - o3, BITS, FIXED)
    x1, x6 = _descale(e1 + o2, BITS, FIXED), _descale(e1 - o2, BITS, FIXED)
    x2, x5 = _descale(e2 + o1, BITS, FIXED), _descale(e2 - o1, BITS, FIXED)
    x3, x4 = _descale(e3 + o0, BITS, FIXED), _descale(e3 - o0, BITS, FIXED)
    return _unit((x0, x1, x2, x3, x4, x5, x6, x7), FIXED)


@jit
def join8(x):
    """Eight tensors [N] as one [N, 8]."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x
    even = tl.join(tl.join(x0, x4), tl.join(x2, x6))
    odd = tl.join(tl.join(x1, x5), tl.join(x3, x7))
    return tl.reshape(tl.join(even, odd), (x0.shape[0], 8))


@jit
def _split8(x):
    """One tensor [N, 8] as eight [N]."""
    even, odd = tl.split(tl.reshape(x, (x.shape[0], 2, 2, 2)))
    x04, x26 = tl.split(even)
    x15, x37 = tl.split(odd)
    x0, x4 = tl.split(x04)
    x2, x6 = tl.split(x26)
    x1, x5 = tl.split(x15)
    x3, x7 = tl.split(x37)
    return x0, x1, x2, x3, x4, x5, x6, x7


@jit
def transpose8(x):
    """Transpose 8x8 blocks: threads n..n+7 hold the rows of a block, then its columns."""
    x = join8(x)
    N: tl.constexpr = x.shape[0]
    blocks = tl.permute(tl.reshape(x, (N // 8, 8, 8)), (0, 2, 1))
    return _split8(tl.reshape(blocks, (N, 8)))


@jit
def load8(pointers, mask, WIDE: tl.constexpr):
    """Load eight neighbouring elements for each thread.

    Args:
        pointers: to the first, [N].
        mask: [N].
        WIDE: elements that fit 16 bytes, 4 or at least 8.
    """
    if WIDE == 4:
        step = tl.arange(0, 4)[None, :]
        a = tl.load(pointers[:, None] + step, mask=mask[:, None], other=0)
        b = tl.load(pointers[:, None] + 4 + step, mask=mask[:, None], other=0)
        a02, a13 = tl.split(tl.reshape(a, (a.shape[0], 2, 2)))
        b02, b13 = tl.split(tl.reshape(b, (b.shape[0], 2, 2)))
        a0, a2 = tl.split(a02)
        a1, a3 = tl.split(a13)
        b0, b2 = tl.split(b02)
        b1, b3 = tl.split(b13)
        return a0, a1, a2, a3, b0, b1, b2, b3
    else:
        step = tl.arange(0, 8)[None, :]
        return _split8(tl.load(pointers[:, None] + step, mask=mask[:, None], other=0))


@jit
def store8(pointers, x, mask, WIDE: tl.constexpr):
    """Store eight neighbouring elements for each thread, see :func:`load8`."""
    if WIDE == 4:
        x0, x1, x2, x3, x4, x5, x6, x7 = x
        step = tl.arange(0, 4)[None, :]
        a = tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (x0.shape[0], 4))
        b = tl.reshape(tl.join(tl.join(x4, x6), tl.join(x5, x7)), (x0.shape[0], 4))
        tl.store(pointers[:, None] + step, a, mask=mask[:, None])
        tl.store(pointers[:, None] + 4 + step, b, mask=mask[:, None])
    else:
        step = tl.arange(0, 8)[None, :]
        tl.store(pointers[:, None] + step, join8(x), mask=mask[:, None])
