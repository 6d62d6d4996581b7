"""The JPEG round trip as one differentiable function, in plain PyTorch.

    RGB -> YCbCr -> (chroma mean) -> DCT -> quantise, round, dequantise -> IDCT
        -> (triangle chroma upsampling) -> RGB

Every rounding that libjpeg-turbo does on its way is done here too, with its ties and dithered
biases, straight through: only the fixed-point error of its DCT remains between the two.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from ..jpeg_tables import quantisation_tables
from .color import rgb_to_ycbcr, ycbcr_to_rgb
from .dct import blocks_to_plane, dct_blocks, idct_blocks, plane_to_blocks
from .quantize import Rounding, round_with, ste_floor, ste_round

__all__ = ["SUBSAMPLING_FACTORS", "Subsampling", "decode", "encode", "jpeg_simulate"]

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
SUBSAMPLING_FACTORS: dict[str, tuple[int, int]] = {
    "4:4:4": (1, 1),
    "4:2:2": (1, 2),
    "4:2:0": (2, 2),
}
"""Vertical and horizontal chroma decimation of each subsampling."""


class Coefficients(NamedTuple):
    """DCT coefficients in units of their quantisation step, before rounding.

    luma is Bxhxwx8x8, chroma 2Bxh'xw'x8x8 (all Cb, then all Cr); the steps broadcast to them.
    """

    luma: torch.Tensor
    chroma: torch.Tensor
    luma_step: torch.Tensor
    chroma_step: torch.Tensor


def _check(images: torch.Tensor, qf: torch.Tensor, subsampling: str) -> torch.Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images must be Bx3xHxW and not empty, not {tuple(images.shape)}")
    if subsampling not in SUBSAMPLING_FACTORS:
        raise ValueError(
            f"subsampling must be one of {list(SUBSAMPLING_FACTORS)}, not {subsampling!r}"
        )
    qf = torch.as_tensor(qf, dtype=torch.float32, device=images.device).reshape(-1)
    if qf.numel() not in (1, images.shape[0]):
        raise ValueError(f"qf has {qf.numel()} values for a batch of {images.shape[0]}")
    if not bool(((qf >= 1) & (qf <= 100)).all()):
        raise ValueError("qf must lie between 1 and 100")
    return qf.expand(images.shape[0])


def _column_bias(plane: torch.Tensor, even: int, odd: int) -> torch.Tensor:
    """What libjpeg adds before it rounds down, alternating by column, so that the mean is fair."""
    return torch.arange(plane.shape[-1], device=plane.device) % 2 * (odd - even) + even


def _coefficients(plane: torch.Tensor) -> torch.Tensor:
    """DCT coefficients of a plane, in the eighths that libjpeg's integer DCT delivers."""
    return ste_round(8.0 * dct_blocks(plane_to_blocks(plane))) / 8.0


def encode(
    images: torch.Tensor,
    qf: torch.Tensor,
    subsampling: Subsampling = "4:2:0",
    tables: torch.Tensor | None = None,
) -> Coefficients:
    """Do the encoder's half up to, but without, the rounding of the coefficients.

    Args:
        images: Bx3xHxW, [0, 1].
        qf: quality factors, B, 1 to 100; unchecked here, see :func:`jpeg_simulate`.
        subsampling: chroma subsampling.
        tables: explicit quantisation tables, Bx2x8x8, in place of ``qf``.
    """
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    height, width = images.shape[-2:]
    if tables is None:
        tables = quantisation_tables(qf, rounded=not qf.requires_grad)
    ycbcr = ste_round(rgb_to_ycbcr(ste_round(images.clamp(0, 1) * 255.0)))
    pad_x, pad_y = -width % (8 * down_x), -height % (8 * down_y)
    ycbcr = F.pad(ycbcr, (0, pad_x, 0, pad_y), mode="replicate") - 128.0
    chroma = ycbcr[:, 1:].transpose(0, 1).flatten(0, 1)
    if down_y * down_x > 1:
        total = F.avg_pool2d(chroma[:, None], (down_y, down_x))[:, 0] * (down_y * down_x)
        chroma = ste_floor((total + _column_bias(total, down_y - 1, down_y)) / (down_y * down_x))
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
        chroma = ste_floor(chroma + _column_bias(chroma, even, odd) / parts)
    chroma = chroma[..., :height, :width]
    chroma = chroma.reshape(2, -1, height, width).transpose(0, 1)
    rgb = ycbcr_to_rgb(torch.cat([luma[..., :height, :width], chroma], dim=1))
    return ste_round(rgb).clamp(0.0, 255.0) / 255.0


def jpeg_simulate(
    images: torch.Tensor,
    qf: torch.Tensor,
    subsampling: Subsampling = "4:2:0",
    rounding: Rounding = "ste",
    tables: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pass images through a differentiable JPEG round trip.

    Args:
        images: Bx3xHxW, [0, 1]; any H and W of at least 1.
        qf: quality factors, B or one, 1 to 100, continuous.
        subsampling: chroma subsampling, upsampled with libjpeg-turbo's triangle filter.
        rounding: the surrogate for the rounding of coefficients, see :mod:`.quantize`.
        tables: explicit quantisation tables, Bx2x8x8, in place of ``qf``.

    Returns:
        Images Bx3xHxW, [0, 1], on 8-bit levels.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    qf = _check(images, qf, subsampling)
    steps = encode(images, qf, subsampling, tables)
    rounded = steps._replace(
        luma=round_with(steps.luma, rounding), chroma=round_with(steps.chroma, rounding)
    )
    return decode(rounded, images.shape[-2], images.shape[-1], subsampling)
