"""What the localize network reads: an image as one signal per synchronisation code.

A code is the same in every line, the picture is not: it is mostly quiet and, at edges, loud beyond
any bell curve. So every high-passed value x speaks as x / (x^2 + c^2), the score of a Cauchy
distribution, before the lines are averaged: in proportion where it is quieter than c, and the less
the louder it is above. That reads the template in what JPEG leaves better than weights by the local
variance do, and is a fraction of the work.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import GaussianBlur

__all__ = ["Profiles"]

_PLANES = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312), (0.299, 0.587, 0.114))
"""Cb, Cr and luma of RGB."""

_CHROMA_SIGMA, _LUMA_SIGMA = 6.0, 3.0
"""Of the high-pass filters, in received pixels: each code's band passes at kept sides from 0.5."""

_CHROMA_QUIET, _LUMA_QUIET = 1.0, 2.0
"""The constant c in levels of 255: about half a step of quantisation, or a few of the template."""


class _RobustLines(nn.Module):
    """Planes BxCxSxS to the mean lines BxCxKxS of their high-passed, limited values in K bands."""

    kernel: torch.Tensor

    def __init__(self, sigma: float, quiet: float, bands: int) -> None:
        super().__init__()
        self.quiet, self.bands = quiet, bands
        self.register_buffer("kernel", GaussianBlur(sigma).kernel.view(1, 1, -1), persistent=False)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        shape, radius = planes.shape, self.kernel.shape[-1] // 2
        padded = F.pad(planes.reshape(-1, 1, shape[-1]), (radius, radius), mode="reflect")
        high = planes - F.conv1d(padded, self.kernel).reshape(shape)
        limited = high / (high * high + self.quiet**2)
        return limited.unflatten(2, (self.bands, -1)).mean(3)


class Profiles(nn.Module):
    """Reduce an image to the signals of its columns and rows.

    Args:
        bands: of lines that speak for themselves, a divisor of the image's side.
    """

    planes: torch.Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("planes", torch.tensor(_PLANES) * 255.0, persistent=False)
        self.chroma = _RobustLines(_CHROMA_SIGMA, _CHROMA_QUIET, bands)
        self.luma = _RobustLines(_LUMA_SIGMA, _LUMA_QUIET, bands)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image Bx3xSxS in [0, 1] to Bx2x2xKxS: (columns, rows) by (chroma, luma) by bands.

        The mean over the bands is the profile of the image.
        """
        planes = self.planes @ image.flatten(2)
        cb, cr, luma = planes.view(image.shape).unbind(1)
        chroma = self.chroma(torch.stack([cb, cr.transpose(1, 2)], dim=1))
        brightness = self.luma(torch.stack([luma, luma.transpose(1, 2)], dim=1))
        return torch.stack([chroma, brightness], dim=2)
