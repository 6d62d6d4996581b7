"""The synchronisation template: fixed one-dimensional codes that say where a pixel column was.

A code is a band-limited noise signal over the S columns (or rows) of the frame, flat in
magnitude with random phase. The chroma code of the columns lies on Cb and that of the rows on Cr;
a second, finer pair lies on luma.
"""

from typing import NamedTuple

import numpy as np
import torch

from ..kernels.reference.color import YCBCR_TO_RGB

__all__ = [
    "CODE_CHROMA_BAND",
    "CODE_LUMA_BAND",
    "Codes",
    "codes",
    "fine_codes",
    "template",
]

CODE_CHROMA_BAND = (1 / 28, 1 / 9)
CODE_LUMA_BAND = (1 / 14, 1 / 4.6)
"""Pass bands in cycles per pixel of the network's frame. The luma band ends below 1/4, where the
payload's own lattice would pull the peak aside."""

CHROMA_PSNR_DB = 48.5
LUMA_PSNR_DB = 49.5
"""Strength of each half of the template alone, as PSNR."""


class Codes(NamedTuple):
    """The four codes, each S float32 values of unit variance."""

    column_chroma: torch.Tensor
    row_chroma: torch.Tensor
    column_luma: torch.Tensor
    row_luma: torch.Tensor


def _code(size: int, seed: int, band: tuple[float, float]) -> torch.Tensor:
    # RandomState: its stream is frozen, so that the codes are the same with every numpy.
    phases = np.random.RandomState(seed).uniform(0, 2 * np.pi, size // 2 + 1)
    frequencies = np.fft.rfftfreq(size)
    spectrum = np.exp(1j * phases) * ((frequencies >= band[0]) & (frequencies <= band[1]))
    signal = np.fft.irfft(spectrum, size)
    return torch.from_numpy((signal / signal.std()).astype(np.float32))


def codes(size: int, seed: int = 0) -> Codes:
    """Make the four codes of a frame of ``size`` pixels from a seed."""
    return Codes(
        _code(size, 4 * seed, CODE_CHROMA_BAND),
        _code(size, 4 * seed + 1, CODE_CHROMA_BAND),
        _code(size, 4 * seed + 2, CODE_LUMA_BAND),
        _code(size, 4 * seed + 3, CODE_LUMA_BAND),
    )


def fine_codes(size: int, factor: int, seed: int = 0) -> torch.Tensor:
    """The four codes between their samples: 4x(factor S), sample centres at half pixels."""
    spectra = torch.fft.rfft(torch.stack(codes(size, seed)).double())
    # Sample m of the fine grid lies at ((m + 0.5) / factor - 0.5) pixels of the coarse one.
    shift = 0.5 / factor - 0.5
    frequency = torch.arange(spectra.shape[-1], dtype=torch.float64) / size
    spectra = spectra * torch.exp(2j * torch.pi * frequency * shift)
    return (torch.fft.irfft(spectra, size * factor) * factor).float()


def template(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay the codes out as an RGB perturbation at its nominal strength.

    Returns:
        What depends on the column, 1x3x1xS, and what depends on the row, 1x3xSx1; the template
        is their sum.
    """
    c = codes(size, seed)
    luma_axis, cb_axis, cr_axis = YCBCR_TO_RGB.T.reshape(3, 1, 3, 1)
    chroma = (cb_axis * c.column_chroma, cr_axis * c.row_chroma)
    luma = (luma_axis * c.column_luma, luma_axis * c.row_luma)
    chroma_gain = 10 ** (-CHROMA_PSNR_DB / 20) / sum(x.square().mean() for x in chroma) ** 0.5
    luma_gain = 10 ** (-LUMA_PSNR_DB / 20) / sum(x.square().mean() for x in luma) ** 0.5
    columns, rows = (a * chroma_gain + b * luma_gain for a, b in zip(chroma, luma, strict=True))
    return columns[:, :, None, :], rows[:, :, :, None]
