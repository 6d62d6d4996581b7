"""The codec in floating point, in two halves, for networks that stand between them.

Plain operators only, so that it can be exported wherever a network can. Every rounding that
libjpeg-turbo does on its way is done here too, with its ties and dithered biases, straight
through: only the fixed-point error of its DCT remains between the two.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..jpeg_tables import quantisation_tables
from ..options import SUBSAMPLING_FACTORS, Subsampling
from .color import rgb_to_ycbcr, ycbcr_to_rgb
from .dct import blocks_to_plane, dct_blocks, idct_blocks, plane_to_blocks
from .quantize import ste_floor, ste_round
from .subsample import column_bias

__all__ = ["Coefficients", "decode", "encode"]


class Coefficients(NamedTuple):
    """DCT coefficients in units of their quantisation step, before rounding.

    luma is Bxhxwx8x8, chroma 2Bxh'xw'x8x8 (all Cb, then all Cr); the steps broadcast to them.
    """

    luma: torch.Tensor
    chroma: torch.Tensor
    luma_step: torch.Tensor
    chroma_step: torch.Tensor


def _coefficients(plane: torch.Tensor) -> torch.Tensor:
    """DCT coefficients of a plane, in the eighths that libjpeg's integer DCT delivers."""
    return ste_round(8.0 * dct_blocks(plane_to_blocks(plane))) / 8.0


def encode(
    images: torch.Tensor, qf: torch.Tensor, subsampling: Subsampling = "4:2:0"
) -> Coefficients:
    """Do the encoder's half up to, but without, the rounding of the coefficients.

    Args:
        images: Bx3xHxW, [0, 1].
        qf: quality factors, B, 1 to 100; unchecked here.
        subsampling: chroma subsampling.
    """
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    height, width = images.shape[-2:]
    tables = quantisation_tables(qf, rounded=not qf.requires_grad)
    ycbcr = ste_round(rgb_to_ycbcr(ste_round(images.clamp(0, 1) * 255.0)))
    pad_x, pad_y = -width % (8 * down_x), -height % (8 * down_y)
    ycbcr = F.pad(ycbcr, (0, pad_x, 0, pad_y), mode="replicate") - 128.0
    chroma = ycbcr[:, 1:].transpose(0, 1).flatten(0, 1)
    if down_y * down_x > 1:
        total = F.avg_pool2d(chroma[:, None], (down_y, down_x))[:, 0] * (down_y * down_x)
        chroma = ste_floor((total + column_bias(total, down_y - 1, down_y)) / (down_y * down_x))
    luma_step = tables[:, 0, None, None]
    chroma_step = tables[:, 1, None, None].repeat(2, 1, 1, 1, 1)
    return Coefficients(
        _coefficients(ycbcr[:, 0]) / luma_step,
        _coefficients(chroma) / chroma_step,
        luma_step,
        chroma_step,
    )


def _sample_plane(levels: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    plane = blocks_to_plane(idct_blocks(levels * step)) + 128.0
    return ste_round(plane).clamp(0.0, 255.0)


def decode(
    coefficients: Coefficients, height: int, width: int, subsampling: Subsampling = "4:2:0"
) -> torch.Tensor:
    """Do the decoder's half: rounded coefficients to images, Bx3xHxW, [0, 1], 8-bit levels."""
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    luma = _sample_plane(coefficients.luma, coefficients.luma_step)[:, None]
    chroma = _sample_plane(coefficients.chroma, coefficients.chroma_step)[:, None]
    if down_y * down_x > 1:  # libjpeg's "fancy" upsampling never looks into the padding
        chroma = chroma[..., : -(-height // down_y), : -(-width // down_x)]
        size = (chroma.shape[-2] * down_y, chroma.shape[-1] * down_x)
        chroma = F.interpolate(chroma, size=size, mode="bilinear", align_corners=False)
        parts, even, odd = (16, 8, 7) if down_y == 2 else (4, 1, 2)
        chroma = ste_floor(chroma + column_bias(chroma, even, odd) / parts)
    chroma = chroma[..., :height, :width]
    chroma = chroma.reshape(2, -1, height, width).transpose(0, 1)
    rgb = ycbcr_to_rgb(torch.cat([luma[..., :height, :width], chroma], dim=1))
    return ste_round(rgb).clamp(0.0, 255.0) / 255.0
