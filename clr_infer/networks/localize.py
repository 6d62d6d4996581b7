"""The localize network: a matched filter on the synchronisation template.

Nothing in it is learned, and it looks at the image as received: the align network, which serves
the recover network, was seen to help the template little and to dream of it where there is none.
Columns and rows are found apart. For each axis the image is reduced to
one profile per code: high-passed along the axis, averaged across it with the inverse of the local
variance as weight, so that flat places speak and busy ones are quiet. The profile is resampled to
every scale and correlated with the code at every offset, as one matrix product; the best pair of
chroma and luma scores is then refined to a small fraction of a pixel.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import CELL, GaussianBlur
from .template import codes, fine_codes

__all__ = ["LocalizeNetwork"]

KEPT_MIN = 0.3
"""Least kept share of a side that is searched for."""

_HIGH_PASS_SIGMA = 3.0
_CODE_SIGMA = 2.4
"""The code is high-passed in frame pixels, the image in received ones: at a typical crop of 0.8
the two are the same filter."""

_SCALE_WINDOW = 65
_OUTLIER = 6.0
"""Squared scores count as noise up to so many times their mean."""
_PROFILE_FLOOR = 0.05
_VARIANCE_FLOOR = (2.0, 9.0)
_FINE = 8
_REFINE_PX = (0.35, 0.12, 0.04)

_PLANES = ((-0.168736, -0.331264, 0.5), (0.299, 0.587, 0.114), (0.5, -0.418688, -0.081312))


def _high_pass_lines(lines: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Each line, ...xS, less its Gaussian blur; edges are mirrored."""
    shape, radius = lines.shape, kernel.shape[-1] // 2
    flat = lines.reshape(-1, 1, shape[-1])
    padded = F.pad(flat, (radius, radius), mode="reflect")
    return lines - F.conv1d(padded, kernel).reshape(shape)


def _line_kernel(sigma: float) -> torch.Tensor:
    return GaussianBlur(sigma).kernel.reshape(1, 1, -1)


def _over_scales(values: torch.Tensor) -> torch.Tensor:
    """The running mean over neighbouring scales, ...xN to the same."""
    window = _SCALE_WINDOW
    return F.avg_pool1d(values, window, 1, window // 2, count_include_pad=False)


class LocalizeNetwork(nn.Module):
    """Find where a received image lay in its original frame.

    Args:
        size: side of the network's frame in pixels, a multiple of 4.
        seed: chooses the synchronisation codes; that of the protect network.
    """

    planes: torch.Tensor
    line_kernel: torch.Tensor
    floors: torch.Tensor
    coarse_code: torch.Tensor
    fine_code: torch.Tensor
    steps: torch.Tensor
    calibration: torch.Tensor

    def __init__(self, size: int = 512, seed: int = 0) -> None:
        super().__init__()
        self.size, self.seed = size, seed
        self.spread = GaussianBlur(1.0, 4)
        order = [0, 2, 1, 3]  # columns by chroma and luma, rows by chroma and luma
        code = torch.stack(codes(size, seed))[order]
        code = _high_pass_lines(code, _line_kernel(_CODE_SIGMA))
        fine = fine_codes(size, _FINE, seed)[order]
        constants = {
            "planes": torch.tensor(_PLANES).view(3, 3, 1, 1) * 255.0,
            "line_kernel": _line_kernel(_HIGH_PASS_SIGMA),
            "floors": torch.tensor(_VARIANCE_FLOOR).repeat(2).view(1, 4, 1, 1),
            "coarse_code": F.pad(code, (0, size)),
            "fine_code": _high_pass_lines(fine, _line_kernel(_CODE_SIGMA * _FINE)),
            "steps": torch.cartesian_prod(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0)),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("calibration", torch.tensor([1.0, -11.0]))

    def profiles(self, image: torch.Tensor) -> torch.Tensor:
        """Image Bx3xSxS to profiles Bx4xS: columns by Cb and luma, rows by Cr and luma."""
        planes = F.conv2d(image, self.planes)
        cb, luma, cr = planes.unbind(1)
        stack = torch.stack([cb, luma, cr.transpose(1, 2), luma.transpose(1, 2)], dim=1)
        high = _high_pass_lines(stack, self.line_kernel)
        variance = self.spread(F.avg_pool2d(high.square(), CELL)) + self.floors
        weight = F.interpolate(1.0 / variance, scale_factor=float(CELL), mode="nearest")
        return (high * weight).sum(2) / weight.sum(2)

    def _search(self, profiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The best start and end per axis in frame pixels, Bx2x2, and its score, Bx2."""
        batch, size, shortest = profiles.shape[0], self.size, round(KEPT_MIN * self.size)
        scales = size - shortest + 1
        device = profiles.device
        column = torch.arange(size, device=device)
        length = torch.arange(shortest, size + 1, device=device, dtype=torch.float32)[:, None]
        allowed = (column.float() <= size - length).float()
        bank = self.coarse_code[:, column[:, None] + column]  # 4xSxS: position in the crop, offset
        # Area-averaged resampling to every scale: differences of the running sum.
        total = F.pad(profiles.cumsum(-1), (1, 0))
        edge = torch.arange(size + 1, device=device, dtype=torch.float32) / length
        edge = edge.clamp(max=1.0) * size
        below = edge.floor().clamp(max=size - 1.0)
        left = below.long().flatten()
        fraction = (edge - below).flatten()
        at_edges = total[..., left] * (1 - fraction) + total[..., left + 1] * fraction
        at_edges = at_edges.view(batch, 4, scales, size + 1)
        rows = at_edges[..., 1:] - at_edges[..., :-1]
        rows = rows / (rows.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        scores = (rows @ bank) * allowed
        # Deviations are taken from neighbouring scales: noise is not equally strong in all. The
        # peak itself must not count, least of all where a scale has few offsets.
        squares = scores.square()
        mean = squares.sum((2, 3), keepdim=True) / allowed.sum()
        squares = torch.minimum(squares, _OUTLIER * mean)
        power = _over_scales(squares.sum(-1)) / _over_scales(allowed.sum(-1)[None])
        scores = scores / (power[..., None] + 1e-6).sqrt()
        # A profile far below the template's strength is no evidence, however well it correlates.
        strength = profiles.square().mean(-1)[..., None, None]
        scores = scores * (strength / (strength + _PROFILE_FLOOR**2))
        table = scores.view(batch, 2, 2, scales * size).sum(2) * 0.5**0.5
        best, where = table.max(-1)
        start = (where % size).float()
        stop = start + (where // size).float() + shortest
        return torch.stack([start, stop], dim=-1), best

    def _correlate(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Scores Bx2xN of hypotheses Bx2xNx2 (start, end, in frame pixels)."""
        batch, _, count = spans.shape[:3]
        start, stop = spans[..., :1], spans[..., 1:]
        centre = torch.arange(self.size, device=profiles.device, dtype=torch.float32) + 0.5
        position = (start + centre / self.size * (stop - start)) * _FINE - 0.5
        position = position.clamp(0.0, self.size * _FINE - 1.001)
        below = position.floor()
        fraction = (position - below)[:, :, None]
        index = below.long()[:, :, None].expand(batch, 2, 2, count, self.size)
        index = index.reshape(batch, 4, -1)
        table = self.fine_code[None].expand(batch, -1, -1)
        shape = (batch, 2, 2, count, self.size)
        code = table.gather(2, index).view(shape) * (1 - fraction)
        code = code + table.gather(2, index + 1).view(shape) * fraction
        norm = (code.square().sum(-1) + 1e-6).sqrt()
        unit = profiles / (profiles.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        score = (code * unit.view(batch, 2, 2, 1, self.size)).sum(-1) / norm
        return score.sum(2)

    def _refine(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        for step in _REFINE_PX:
            around = (spans[:, :, None] + self.steps * step).clamp(0.0, float(self.size))
            scores = self._correlate(profiles, around)
            best = scores.argmax(-1)[..., None, None].expand(-1, -1, 1, 2)
            spans = around.gather(2, best)[:, :, 0]
        return spans

    def forward(self, received: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Find the crop box of images Bx3xSxS in [0, 1].

        Returns:
            Crop box Bx4, (x0, y0, x1, y1) in fractions of the original frame; confidence B in
            [0, 1] that the image is protected and the box right; raw score B, the sum of both
            axes' peaks in standard deviations.
        """
        profiles = self.profiles(received)
        spans, peaks = self._search(profiles)
        spans = self._refine(profiles, spans) / self.size
        box = spans.transpose(1, 2).reshape(-1, 4)
        score = peaks.sum(1)
        confidence = torch.sigmoid(self.calibration[0] * score + self.calibration[1])
        return box, confidence, score
