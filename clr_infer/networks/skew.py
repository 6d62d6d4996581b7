"""The skew search of the localize network: how crooked does a found fragment lie?

In a picture that was rotated a little, a code is met ever farther on, line by line. The profiles of
a few bands of lines are correlated with the code along the span that was found, at shifts around
it, and the shifts are added up along straight paths through the bands. So one look tells what
views at many angles would.
"""

import torch
from torch import nn

__all__ = ["BANDS", "SkewSearch"]

BANDS = 16
"""Of lines, in either direction."""

_SLOPE_MAX = 0.07
"""Shift from a frame's first line to its last that is searched for, in sides of the frame: 4
degrees in a square picture, 2.7 in one of 3:2. Fragments that lie more crooked are not found."""

_OFFSET_MAX_PX = 8
"""By how much the span itself may be off: a blurred profile is less sure of it."""

_FINE = 2
"""Shifts for each pixel, of which the paths take the nearest."""


class SkewSearch(nn.Module):
    """Find the slopes of the codes in a picture.

    Args:
        size: side of the network's frame in pixels.
    """

    shifts: torch.Tensor
    paths: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        steepest = round(_SLOPE_MAX * size)
        slopes = torch.arange(-steepest, steepest + 1)[:, None, None]
        offsets = torch.arange(-_OFFSET_MAX_PX, _OFFSET_MAX_PX + 1)[:, None]
        middles = (torch.arange(BANDS) + 0.5) / BANDS - 0.5
        steps = ((offsets + slopes * middles) * _FINE).round().int()  # slope, offset, band
        most = int(steps.abs().max())
        count = 2 * most + 1
        shifts = torch.arange(-most, most + 1) / (_FINE * size)
        paths = torch.arange(BANDS, dtype=torch.int32) * count + most + steps
        self.steepest, self.offsets = steepest, len(offsets)
        self.register_buffer("shifts", shifts, persistent=False)
        self.register_buffer("paths", paths.flatten(), persistent=False)

    def spans(self, span: torch.Tensor) -> torch.Tensor:
        """Spans (start, end) Bx2x2 in frame pixels, shifted, to Bx2xNx2."""
        shifts = self.shifts * (span[..., 1:] - span[..., :1])
        return span[:, :, None] + shifts[..., None]

    def forward(
        self, bands: torch.Tensor, code: torch.Tensor, bandwidth: torch.Tensor
    ) -> torch.Tensor:
        """Search for the slopes.

        Args:
            bands: profiles of the bands, Bx2xCxKxS.
            code: along the shifted spans, Bx2xCxNxS, see :meth:`spans`.
            bandwidth: weight of each code, Cx1.

        Returns:
            How much farther on the columns are met in the last row than in the first, and the rows
            in the last column than in the first: Bx2, in sides of the received picture.
        """
        found = (bands @ code.transpose(3, 4)).flatten(3)
        found = found.index_select(3, self.paths).unflatten(3, (-1, self.offsets, BANDS))
        odds = found.sum(-1).clamp(min=0.0).square()
        power = bands.square().sum((3, 4))[..., None, None]
        odds = (odds / power.clamp(min=1e-12) * bandwidth[..., None]).sum(2).amax(3)
        # The top of a parabola through the best slope and its neighbours.
        best = odds.argmax(-1, keepdim=True).clamp(1, 2 * self.steepest - 1)
        left, top, right = (odds.gather(2, best + step)[..., 0] for step in (-1, 0, 1))
        between = 0.5 * (left - right) / (left - 2.0 * top + right).clamp(max=-1e-12)
        slope = best[..., 0] - self.steepest + between.clamp(-0.5, 0.5)
        return slope / self.size
