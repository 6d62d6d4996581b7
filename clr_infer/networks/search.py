"""The coarse search of the localize network: which spans of the frame do the profiles show?

A profile is resampled to every scale and correlated with its code at every offset, as matrix
products. A correlation r in noise of deviation s speaks for its span by the log-likelihood ratio
r^2 / 2s^2, if positive: so the codes of an axis add up, each by what it is worth in this image.
So do both axes, under a mild prior: all scales are equally likely, at each of them all offsets,
and a crop keeps similar shares of both sides. The best pair of spans wins. Its log-odds are the
score, unless one axis is left to the other's word: a box is no surer than its less sure axis.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["KEPT_MIN", "SpanSearch"]

KEPT_MIN = 0.25
"""Least kept share of a side that is searched for."""

_PARTS = 4
"""So many ranges of scales: a large crop has few offsets, a small one few pixels."""

_FINE = 8
"""Pixels are cut in so many pieces, of which resampling takes whole ones."""

_SCALE_WINDOW = 65
_OUTLIER = 6.0
"""Squared correlations count as noise up to so many times their mean."""

_PROFILE_FLOOR = 0.003
"""A profile so far below the template's strength is no evidence, however well it correlates."""

_ASPECT_SCALE, _ASPECT_MOST = 0.1, 4.0
"""Kept shares of ratio e^d have prior log-odds of -d / scale, and at least -most."""

_SURER_MOST = 3.0
"""An axis counts for at most so many times the other in the score."""

_IMPOSSIBLE = -100.0

_TINY = 1e-12
"""The least divisor, a clamp: ONNX Runtime leaves out the addition of so small a number."""


class _Part(NamedTuple):
    """A range of L lengths in frame pixels, the largest K, each with up to O offsets.

    Attributes:
        edges: between the K resampled samples, in pieces of received pixels, Lx(K+1).
        prior: log-odds of every span, LxO.
        count: offsets of each length, L.
    """

    edges: torch.Tensor
    prior: torch.Tensor
    count: torch.Tensor


def _part(first: int, last: int, size: int) -> _Part:
    length = torch.arange(first, last + 1)[:, None]
    edges = (torch.arange(last + 1) * (size * _FINE) / length).clamp(max=size * _FINE)
    offset = torch.arange(size - first + 1)
    count = size + 1 - length
    prior = torch.where(offset < count, -count.log(), torch.tensor(_IMPOSSIBLE))
    return _Part(edges.round().int(), prior, count[:, 0].float())


def _windows(code: torch.Tensor) -> torch.Tensor:
    """The code CxS from every offset on, CxSxS: position in the window, offset; zero beyond."""
    channels, size = code.shape
    period = 2 * size
    padded = F.pad(code, (0, size)).repeat(1, size + 1)  # each row starts one sample later
    return padded[:, : size * (period + 1)].view(channels, size, period + 1)[..., :size]


def _over_scales(values: torch.Tensor) -> torch.Tensor:
    """The running mean over neighbouring scales, BxCxN to the same."""
    return F.avg_pool1d(values, _SCALE_WINDOW, 1, _SCALE_WINDOW // 2, count_include_pad=False)


class SpanSearch(nn.Module):
    """Find the pair of spans that profiles show, to a pixel of the frame.

    Args:
        code: 2xCxS, the codes in the order of the profiles: (columns, rows) by (chroma, luma).
    """

    code: torch.Tensor
    prior: torch.Tensor

    def __init__(self, code: torch.Tensor) -> None:
        super().__init__()
        self.size = code.shape[-1]
        self.shortest = round(KEPT_MIN * self.size)
        kept = torch.arange(self.shortest, self.size + 1).log()
        apart = (kept[:, None] - kept).abs() / _ASPECT_SCALE
        self.register_buffer("code", code.flatten(0, 1), persistent=False)
        self.register_buffer("prior", -apart.clamp(max=_ASPECT_MOST), persistent=False)
        step = -(-len(kept) // _PARTS)
        starts = range(self.shortest, self.size + 1, step)
        self.lengths = [min(step, self.size + 1 - first) for first in starts]
        for index, (first, many) in enumerate(zip(starts, self.lengths, strict=True)):
            for name, value in _part(first, first + many - 1, self.size)._asdict().items():
                self.register_buffer(f"{name}_{index}", value, persistent=False)

    def _parts(self) -> list[_Part]:
        names = _Part._fields
        return [
            _Part(*(getattr(self, f"{name}_{index}") for name in names))
            for index in range(len(self.lengths))
        ]

    def _odds(self, pieces: torch.Tensor, windows: torch.Tensor, part: _Part) -> torch.Tensor:
        """Squares of the positive correlations over the power of the profile, BxCxLxO.

        Args:
            pieces: running sums of the profiles, (S _FINE + 1)xBC: resampling averages areas.
            windows: of the codes, CxSxS.
            part: the spans.
        """
        lengths, samples = part.edges.shape
        at_edges = pieces.index_select(0, part.edges.flatten()).view(lengths, samples, -1)
        rows = (at_edges[:, 1:] - at_edges[:, :-1]).permute(2, 0, 1)
        rows = rows.unflatten(0, (-1, windows.shape[0]))
        power = (rows * rows).sum(-1, keepdim=True).clamp(min=_TINY)
        found = (rows @ windows[:, : samples - 1, : part.prior.shape[1]]).clamp(min=0.0)
        return found * found * ((part.prior > _IMPOSSIBLE) / power)

    def _noise(self, odds: list[torch.Tensor], parts: list[_Part]) -> torch.Tensor:
        """The power of noise in squared positive correlations BxCxLxO, by scale, BxCxN.

        It is not equally strong in all scales, and taken from neighbouring ones. The peak itself
        must not count, least of all where a scale has few offsets.
        """
        count = torch.cat([part.count for part in parts])
        mean = torch.stack([part.sum((2, 3)) for part in odds]).sum(0) / count.sum()
        most = (2.0 * _OUTLIER) * mean[..., None, None]
        power = torch.cat([torch.minimum(part, most).sum(-1) for part in odds], dim=-1)
        return 2.0 * _over_scales(power) / _over_scales(count[None, None])

    def forward(self, profiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Search profiles Bx2xCxS.

        Returns:
            Start and end by axis in frame pixels, Bx2x2, and the score, B: the log-odds of the pair
            up to a constant, limited by those of the less sure axis.
        """
        flat = profiles.flatten(1, 2)
        pieces = flat.repeat_interleave(_FINE, dim=-1).cumsum(-1)
        pieces = F.pad(pieces, (1, 0)).flatten(0, 1).t()
        windows, parts = _windows(self.code), self._parts()
        odds = [self._odds(pieces, windows, part) for part in parts]
        strength = flat.square().mean(-1, keepdim=True)
        trust = 0.5 * (strength / (strength + _PROFILE_FLOOR**2)).square()
        worth = (trust / self._noise(odds, parts).clamp(min=_TINY)).split(self.lengths, 2)
        best, where = [], []
        for part, found, weight in zip(parts, odds, worth, strict=True):
            both = (found * weight[..., None]).unflatten(1, (2, -1)).sum(2) + part.prior
            values, places = both.max(-1)
            best.append(values)
            where.append(places)
        axes = torch.cat(best, dim=-1)
        pairs = axes[:, 0, :, None] + axes[:, 1, None] + self.prior
        sure, pair = pairs.flatten(1).max(-1)
        scales = self.prior.shape[0]
        scale = torch.stack([pair // scales, pair % scales], dim=1)
        own = axes.gather(2, scale[..., None])[..., 0]
        surer = (own.amax(1) - _SURER_MOST * own.amin(1)).clamp(min=0.0)
        score = sure - surer
        start = torch.cat(where, dim=-1).gather(2, scale[..., None])[..., 0].float()
        return torch.stack([start, start + scale.float() + self.shortest], dim=-1), score
