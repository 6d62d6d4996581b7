"""8x8 orthonormal DCT-II of blocks, and its inverse (DCT-III).

C[u, v] = sum_xy D[u, x] P[x, y] D[v, y],   D[0, x] = sqrt(1/8),
D[u, x] = 1/2 cos((2 x + 1) u pi / 16)

Integer tensors go through the fixed-point transform of libjpeg-turbo, see :mod:`.islow`.
"""

import math

import torch

from ..constants import constant_like
from .islow import dct_islow, idct_islow

__all__ = ["DCT_MATRIX", "blocks_to_plane", "dct_blocks", "idct_blocks", "plane_to_blocks"]

DCT_MATRIX = torch.tensor(
    [
        [
            (math.sqrt(0.125) if u == 0 else 0.5) * math.cos((2 * x + 1) * u * math.pi / 16)
            for x in range(8)
        ]
        for u in range(8)
    ],
    dtype=torch.float64,
)


def plane_to_blocks(plane: torch.Tensor) -> torch.Tensor:
    """Cut planes, BxHxW with H and W multiples of 8, into blocks, Bx(H/8)x(W/8)x8x8."""
    batch, height, width = plane.shape
    return plane.view(batch, height // 8, 8, width // 8, 8).permute(0, 1, 3, 2, 4)


def blocks_to_plane(blocks: torch.Tensor) -> torch.Tensor:
    """Join blocks, Bx(H/8)x(W/8)x8x8, into planes, BxHxW."""
    batch, rows, cols = blocks.shape[:3]
    return blocks.permute(0, 1, 3, 2, 4).reshape(batch, rows * 8, cols * 8)


def dct_blocks(blocks: torch.Tensor) -> torch.Tensor:
    """Transform blocks of samples, ...x8x8, into coefficients of the same shape.

    Integers in (level-shifted samples): int32 coefficients in eighths out, equal to libjpeg's.
    """
    if not blocks.is_floating_point():
        first = blocks.int().movedim((-2, -1), (0, 1)).contiguous()
        return dct_islow(first).movedim((0, 1), (-2, -1))
    matrix = constant_like(DCT_MATRIX, blocks)
    return matrix @ blocks @ matrix.T


def idct_blocks(coefficients: torch.Tensor) -> torch.Tensor:
    """Transform coefficients, ...x8x8, back into blocks of samples.

    Integers in (dequantised coefficients, in whole units): int32 samples out, equal to libjpeg's
    before it adds 128 and clips.
    """
    if not coefficients.is_floating_point():
        first = coefficients.int().movedim((-2, -1), (0, 1)).contiguous()
        return idct_islow(first).movedim((0, 1), (-2, -1))
    matrix = constant_like(DCT_MATRIX, coefficients)
    return matrix.T @ coefficients @ matrix
