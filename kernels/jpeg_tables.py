"""Quantisation tables of the JPEG standard and their scaling by quality factor.

Tables are 8x8 in natural (row-major, not zigzag) order: luma first, then chroma
(ITU-T T.81, annex K). Scaling follows the Independent JPEG Group's rule, which libjpeg,
libjpeg-turbo and Pillow share.
"""

import functools

import torch

__all__ = ["BASE_TABLES", "quantisation_tables"]

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


@functools.cache
def _base_tables_on(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The base tables on a GPU: a copy in each call would wait, and no CUDA graph could hold it."""
    with torch.inference_mode(False):  # what is kept may meet a gradient later
        return BASE_TABLES.to(device, dtype)


def _base_tables(like: torch.Tensor) -> torch.Tensor:
    if like.is_cuda and not torch.compiler.is_compiling():
        return _base_tables_on(like.device, like.dtype)
    return BASE_TABLES.to(like)


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
    tables = (_base_tables(qf) * scale.view(-1, 1, 1, 1) + 50.0) / 100.0
    return (_floor(tables) if rounded else tables).clamp(1.0, 255.0)
