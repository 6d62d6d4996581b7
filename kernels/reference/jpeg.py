"""The JPEG round trip, exact to libjpeg-turbo, with named gradient surrogates.

    RGB -> YCbCr -> (chroma mean) -> DCT -> quantise, dequantise -> IDCT
        -> (triangle chroma upsampling) -> RGB

Each stage exists twice: in the integers of libjpeg-turbo, and as the smooth map that they
approximate. The value is that of the integers and the gradient that of the smooth map, straight
through, for as long as the rounding of the coefficients allows:

- ``hard`` and ``ste`` are exact to the last pixel.
- ``soft`` and ``noise`` are exact up to the coefficients; behind the surrogate, whose values are
  no integers, the decoder is the smooth map itself and nothing more is rounded.
"""

import torch

from ..jpeg_checks import check_pixels, check_simulate, tables_for
from ..options import (
    SUBSAMPLING_FACTORS,
    Rounding,
    Subsampling,
    padded_size,
    upsampling_of,
)
from .color import from_levels, rgb_to_ycbcr, ycbcr_to_rgb
from .dct import blocks_to_plane, dct_blocks, idct_blocks, plane_to_blocks
from .islow import dct_islow, idct_islow
from .philox import philox_uniform
from .quantize import dequantise, quantise, round_with
from .subsample import downsample, pad_edge, upsample

__all__ = [
    "draw_seed",
    "jpeg_roundtrip",
    "jpeg_simulate",
    "noise_index",
    "simulate",
]

Planes = tuple[torch.Tensor, torch.Tensor]
"""Luma BxHxW and chroma 2BxH'xW' (all Cb, then all Cr)."""


class _Straight(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx, value: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:  # noqa: ANN001
        return value.to(smooth.dtype)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[None, torch.Tensor]:  # noqa: ANN001
        return None, grad


def _to_planes(rgb: torch.Tensor, subsampling: Subsampling) -> Planes:
    """RGB, Bx3xHxW on the 0-255 scale, to padded planes; integers stay integers."""
    down_y = SUBSAMPLING_FACTORS[subsampling][0]
    height, width = padded_size(rgb.shape[-2], rgb.shape[-1], subsampling)
    ycbcr = rgb_to_ycbcr(rgb)
    chroma = ycbcr[:, 1:].transpose(0, 1).flatten(0, 1)
    chroma = pad_edge(chroma, -(-rgb.shape[-2] // down_y) * down_y, width)
    chroma = pad_edge(downsample(chroma, subsampling), height // down_y, 0)
    return pad_edge(ycbcr[:, 0], height, width), chroma


def _to_rgb(planes: Planes, height: int, width: int, subsampling: Subsampling) -> torch.Tensor:
    """Decoded planes to RGB, Bx3x``height``x``width``, unclipped; integers stay integers."""
    luma, chroma = planes
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    # what lies in the padding is never looked at
    chroma = chroma[:, : -(-height // down_y), : -(-width // down_x)]
    chroma = upsample(chroma, subsampling, upsampling_of(width, subsampling))
    chroma = chroma[:, :height, :width].reshape(2, -1, height, width)
    return ycbcr_to_rgb(torch.stack([luma[:, :height, :width], *chroma], 1))


def _islow_coefficients(plane: torch.Tensor) -> torch.Tensor:
    """Coefficients in eighths of an integer plane: 8x8xBxhxw int32."""
    return dct_islow(plane_to_blocks(plane - 128).permute(3, 4, 0, 1, 2).contiguous())


def _islow_codec(plane: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """What libjpeg makes of an integer plane, NxHxW, with tables Nx8x8; not yet clipped."""
    step = table.permute(1, 2, 0)[..., None, None]
    samples = idct_islow(dequantise(quantise(_islow_coefficients(plane), step), step))
    return blocks_to_plane((samples + 128).permute(2, 3, 4, 0, 1))


def _table_of(tables: torch.Tensor, plane: int) -> torch.Tensor:
    """The table of each luma plane (0), Bx8x8, or chroma plane (1), 2Bx8x8."""
    return tables[:, plane].repeat(1 + plane, 1, 1)


def jpeg_roundtrip(
    images: torch.Tensor, qf: torch.Tensor | float, subsampling: Subsampling = "4:2:0"
) -> torch.Tensor:
    """Encode and decode as libjpeg-turbo does; see :func:`clr_infer.kernels.jpeg_roundtrip`."""
    check_pixels(images, subsampling)
    tables = tables_for(images, qf, None)
    return _roundtrip(images, tables, subsampling).byte()


def _roundtrip(
    pixels: torch.Tensor, tables: torch.Tensor, subsampling: Subsampling
) -> torch.Tensor:
    """The exact codec: pixels 0-255, uint8 or int32, to the same in int32."""
    planes = _to_planes(pixels, subsampling)
    decoded = tuple(
        _islow_codec(plane, _table_of(tables, kind)).clamp(0, 255)
        for kind, plane in enumerate(planes)
    )
    return _to_rgb(decoded, pixels.shape[-2], pixels.shape[-1], subsampling).clamp(0, 255)


def noise_index(plane: torch.Tensor, kind: int, room: int) -> torch.Tensor:
    """The place of each coefficient in the sequence of random numbers, NxHxW int64.

    The coefficient (u, v) of a block has the place of the sample (u, v) of that block; the planes
    of an image follow each other, each given the same room.

    Args:
        plane: luma, BxHxW (kind 0), or chroma, 2BxH'xW' (kind 1).
        kind: see above.
        room: samples in a luma plane.
    """
    count, height, width = plane.shape
    index = torch.arange(height * width, device=plane.device).view(height, width)
    image = torch.arange(count, device=plane.device)
    if kind == 0:
        number = image * 3
    else:
        number = image % (count // 2) * 3 + 1 + image // (count // 2)
    return number[:, None, None] * room + index


def draw_seed() -> int:
    """A seed for the noise, from PyTorch's default generator."""
    return int(torch.randint(2**31, ()))


def _surrogate_codec(
    plane: torch.Tensor,
    exact: torch.Tensor | None,
    table: torch.Tensor,
    rounding: Rounding,
    noise: torch.Tensor | None,
) -> torch.Tensor:
    """Code a plane smoothly, NxHxW, its coefficients having the values of the ``exact`` plane."""
    coefficients = dct_blocks(plane_to_blocks(plane - 128.0))
    if exact is not None:
        eighths = _islow_coefficients(exact).permute(2, 3, 4, 0, 1)
        coefficients = _Straight.apply(eighths.to(plane.dtype) / 8, coefficients)
    step = table[:, None, None]
    levels = round_with(coefficients / step, rounding, noise)
    return blocks_to_plane(idct_blocks(levels * step)) + 128.0


def simulate(
    images: torch.Tensor,
    tables: torch.Tensor,
    subsampling: Subsampling,
    rounding: Rounding,
    seed: int = 0,
    exact: bool = True,
) -> torch.Tensor:
    """The differentiable codec on checked arguments.

    Args:
        images: Bx3xHxW, [0, 1].
        tables: Bx2x8x8.
        subsampling: chroma subsampling.
        rounding: ``"ste"``, ``"soft"`` or ``"noise"``.
        seed: of the noise.
        exact: give every stage the value of libjpeg's integers. ``False`` leaves the smooth twin
            whose gradient the codec has, for checks.
    """
    height, width = images.shape[-2:]
    smooth = images * 255.0
    pixels = smooth.detach().clamp(0.0, 255.0).round().int()
    planes = _to_planes(smooth, subsampling)
    whole = _to_planes(pixels, subsampling)
    decoded, levels = [], []
    for kind, (plane, integer) in enumerate(zip(planes, whole, strict=True)):
        table = _table_of(tables, kind)
        if rounding == "ste":
            if exact:
                level = _islow_codec(integer, table)
                plane = _Straight.apply(level, plane)
                levels.append(level.clamp(0, 255))
        else:
            noise = None
            if rounding == "noise":
                index = noise_index(plane, kind, planes[0][0].numel())
                noise = plane_to_blocks(philox_uniform(seed, index)).to(plane.dtype)
            known = integer if exact else None
            plane = _surrogate_codec(plane, known, table, rounding, noise)
        decoded.append(plane.clamp(0.0, 255.0))
    rgb = _to_rgb((decoded[0], decoded[1]), height, width, subsampling)
    if levels:
        rgb = _Straight.apply(_to_rgb((levels[0], levels[1]), height, width, subsampling), rgb)
    return from_levels(rgb.clamp(0.0, 255.0))


def jpeg_simulate(
    images: torch.Tensor,
    qf: torch.Tensor | float | None,
    subsampling: Subsampling = "4:2:0",
    rounding: Rounding = "ste",
    tables: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pass images through the differentiable codec; see :func:`clr_infer.kernels.jpeg_simulate`."""
    check_simulate(images, subsampling, rounding)
    tables = tables_for(images, qf, tables)
    work = images.to(tables.dtype)
    if rounding != "soft":
        tables = tables.detach()
    if rounding in ("hard", "ste"):
        tables = tables.round()
    needs_grad = torch.is_grad_enabled() and images.requires_grad
    if rounding == "hard" or (rounding == "ste" and not needs_grad):
        pixels = (work.detach() * 255.0).clamp(0.0, 255.0).round().int()
        result = from_levels(_roundtrip(pixels, tables, subsampling).to(work.dtype))
    else:
        result = simulate(work, tables, subsampling, rounding, draw_seed())
    return result.to(images.dtype)
