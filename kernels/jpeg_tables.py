"""Quantisation tables of the JPEG standard and their scaling by quality factor.

Tables are 8x8 in natural (row-major, not zigzag) order: luma first, then chroma
(ITU-T T.81, annex K). Scaling follows the Independent JPEG Group's rule, which libjpeg,
libjpeg-turbo and Pillow share:

    scale = floor(5000 / qf) below 50, floor(200 - 2 qf) from there on
    table = clamp(floor((base scale + 50) / 100), 1, 255)

:func:`quantisation_tables` is that in PyTorch, a dozen small kernels on a GPU;
:func:`scaled_tables` is one, without a gradient.
"""

from __future__ import annotations

import torch

from .aot import Launch
from .constants import constant_like
from .dispatch import launch
from .language import jit, tl

__all__ = ["BASE_TABLES", "LAUNCHES", "quantisation_tables", "scaled_tables"]


@jit
def _tables_kernel(quality, base, tables, valid, EACH: tl.constexpr):
    """The tables of one image.

    Args:
        quality: fp32, B, or 1 for all images.
        base: 2x8x8 fp32.
        tables: Bx2x8x8 fp32, written.
        valid: uint8, as many as there are quality factors, written: is it from 1 to 100?
        EACH: images have quality factors of their own.
    """
    image = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, 128)
    own = image if EACH else 0
    qf = tl.load(quality + own)
    tl.store(valid + own, ((qf >= 1.0) & (qf <= 100.0)).to(tl.uint8))
    scale = tl.where(qf < 50.0, tl.div_rn(5000.0, tl.maximum(qf, 1.0)), 200.0 - 2.0 * qf)
    steps = tl.load(base + index) * tl.floor(scale) + 50.0  # whole numbers below 2^20
    steps = tl.floor(tl.div_rn(steps, 100.0))
    tl.store(tables + image * 128 + index, tl.minimum(tl.maximum(steps, 1.0), 255.0))


_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
_CHROMA = tuple(
    tuple(_CHROMA_CORNER[row][col] if row < 4 and col < 4 else 99 for col in range(8))
    for row in range(8)
)

BASE_TABLES = torch.tensor([_LUMA, _CHROMA], dtype=torch.float32)
"""The unscaled tables (quality factor 50), 2x8x8: luma, chroma."""


def _floor(x: torch.Tensor) -> torch.Tensor:
    """Round down, straight through."""
    return x.floor() if not x.requires_grad else x + (x.floor() - x).detach()


def quantisation_tables(qf: torch.Tensor, rounded: bool = True) -> torch.Tensor:
    """Scale the base tables to a quality factor, by the rule of the Independent JPEG Group.

    Args:
        qf: quality factors, B, floating, 1 to 100; may be fractional.
        rounded: floor to the integers that libjpeg uses, straight through for gradients.
            ``False`` makes the table a smooth function of ``qf``.

    Returns:
        Tables Bx2x8x8, of the type of ``qf``, at least 1 and at most 255: luma, chroma.
    """
    scale = torch.where(qf < 50, 5000.0 / qf.clamp(min=1.0), 200.0 - 2.0 * qf)
    if rounded:  # libjpeg's percentage is an integer
        scale = _floor(scale)
    tables = (constant_like(BASE_TABLES, qf) * scale.view(-1, 1, 1, 1) + 50.0) / 100.0
    return (_floor(tables) if rounded else tables).clamp(1.0, 255.0)


def scaled_tables(quality: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`quantisation_tables`, rounded, by one Triton kernel.

    Args:
        quality: quality factors, B or 1, float32, where the tables are to be.
        batch: images, B.

    Returns:
        Tables Bx2x8x8, float32, to which no gradient comes; and of each quality factor whether it
        lies between 1 and 100, bool.
    """
    tables = torch.empty((batch, 2, 8, 8), device=quality.device)
    valid = torch.empty(quality.shape, dtype=torch.uint8, device=quality.device)
    launch(
        _tables_kernel, (batch,), quality.contiguous(), constant_like(BASE_TABLES, quality), tables,
        valid, EACH=quality.numel() > 1, num_warps=4,
    )  # fmt: skip
    return tables, valid.view(torch.bool)


LAUNCHES = {
    "tables": Launch(
        _tables_kernel,
        {**dict.fromkeys(("quality", "base", "tables"), "*fp32"), "valid": "*u8"},
        {"EACH": True},
        {"num_warps": 4},
    )
}
