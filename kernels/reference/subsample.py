"""Chroma subsampling as libjpeg-turbo does it: a mean on the way down, a triangle on the way up.

Both end on 8-bit levels, rounded with a bias that alternates from column to column so that the
mean stays fair. Integer planes are rounded so, equal to libjpeg-turbo's; floating planes are left
unrounded, the linear maps whose gradients the codec has.
"""

import torch
import torch.nn.functional as F

from ..options import SUBSAMPLING_FACTORS, Subsampling, Upsampling

__all__ = [
    "column_bias",
    "downsample",
    "pad_edge",
    "upsample",
]


def column_bias(plane: torch.Tensor, even: int, odd: int) -> torch.Tensor:
    """What libjpeg adds before it rounds down, alternating by column; W int64."""
    return torch.arange(plane.shape[-1], device=plane.device) % 2 * (odd - even) + even


def pad_edge(plane: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Repeat the last row and column of ...xHxW until it is ...x``height``x``width``."""
    for axis, length in ((-2, height), (-1, width)):
        if plane.shape[axis] < length:
            index = torch.arange(length, device=plane.device).clamp(max=plane.shape[axis] - 1)
            plane = plane.index_select(axis, index)
    return plane


def downsample(plane: torch.Tensor, subsampling: Subsampling) -> torch.Tensor:
    """Take the mean of each chroma cell: BxHxW, multiples of the cell, to Bx(H/dy)x(W/dx)."""
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    if down_x == 1:
        return plane
    total = plane[..., 0::2] + plane[..., 1::2]
    if down_y == 2:
        total = total[..., 0::2, :] + total[..., 1::2, :]
    if plane.is_floating_point():
        return total / (down_y * down_x)
    return (total + column_bias(total, down_y - 1, down_y).int()) >> down_y


def upsample(
    plane: torch.Tensor, subsampling: Subsampling, upsampling: Upsampling = "triangle"
) -> torch.Tensor:
    """Bring a chroma plane, Bxhxw, back to Bx(h dy)x(w dx).

    ``"triangle"`` weighs the nearest sample 3/4 and the next 1/4 along each halved axis (libjpeg's
    "fancy" upsampling), ``"replicate"`` repeats it.
    """
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    if upsampling == "replicate":
        return plane.repeat_interleave(down_y, -2).repeat_interleave(down_x, -1)
    if down_x == 1:
        return plane
    if plane.is_floating_point():
        size = (plane.shape[-2] * down_y, plane.shape[-1] * down_x)
        return F.interpolate(plane[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    if down_y == 2:
        framed = torch.cat([plane[:, :1], plane, plane[:, -1:]], 1)
        above, below = 3 * plane + framed[:, :-2], 3 * plane + framed[:, 2:]
        plane = torch.stack([above, below], 2).flatten(1, 2)
    framed = torch.cat([plane[..., :1], plane, plane[..., -1:]], -1)
    even, odd = 3 * plane + framed[..., :-2], 3 * plane + framed[..., 2:]
    bits, even_bias, odd_bias = (4, 8, 7) if down_y == 2 else (2, 1, 2)
    return torch.stack([(even + even_bias) >> bits, (odd + odd_bias) >> bits], -1).flatten(-2)
