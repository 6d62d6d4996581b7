"""The coarse search of the localize network: which span of the frame do the profiles show?

A profile is resampled to every scale and correlated with its code at every offset, as matrix
products. A correlation r of noise with deviation s speaks for its span with the log-likelihood ratio
r^2 / 2s^2, if positive: so the codes of an axis add up, each by what it is worth in this image. So
do both axes, under a mild prior: all scales are equally likely, at each of them all offsets, and a
crop keeps similar shares of both sides. The best pair of spans wins, and its log-odds are the score.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["KEPT_MIN", "SpanSearch"]

KEPT_MIN = 0.25
"""Least kept share of a side that is searched for."""

_PARTS = 4
"""The scales are searched in so many parts: a large crop has few offsets, a small one few pixels."""

_SCALE_WINDOW = 65
_OUTLIER = 6.0
"""Squared correlations count as noise up to so many times their mean."""

_PROFILE_FLOOR = 0.003
"""A profile so far below the template's strength is no evidence, however well it correlates."""

_ASPECT_SCALE, _ASPECT_MOST = 0.1, 4.0
"""Kept shares whose ratio is e^d have prior log-odds of -d / scale, and at least -most."""

_IMPOSSIBLE = -100.0


def _over_scales(values: torch.Tensor) -> torch.Tensor:
    """The running mean over neighbouring scales, BxCxN to the same."""
    return F.avg_pool1d(values, _SCALE_WINDOW, 1, _SCALE_WINDOW // 2, count_include_pad=False)


def _windows(code: torch.Tensor) -> torch.Tensor:
    """The code CxS from every offset on, CxSxS: position in the window, offset; zero beyond."""
    channels, size = code.shape
    period = 2 * size
    padded = F.pad(code, (0, size)).repeat(1, size + 1)  # each row starts one sample later
    return padded[:, : size * (period + 1)].view(channels, size, period + 1)[..., :size]


class SpanSearch(nn.Module):
    """Find the pair of spans that profiles show, to a pixel of the frame.

    Args:
        code: Cx2xS, the codes in the order of the profiles: (columns, rows) by (chroma, luma).
    """

    code: torch.Tensor
    prior: torch.Tensor

    def __init__(self, code: torch.Tensor) -> None:
        super().__init__()
        self.size = code.shape[-1]
        self.shortest = round(KEPT_MIN * self.size)
        kept = torch.arange(self.shortest, self.size + 1).log()
        apart = (kept[:, None] - kept).abs() / _ASPECT_SCALE
        self.register_buffer("code", code.reshape(-1, self.size), persistent=False)
        self.register_buffer("prior", -apart.clamp(max=_ASPECT_MOST), persistent=False)

    def _parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Lengths Lx1 of each part in frame pixels, and LxO, which offsets they may have."""
        lengths = torch.arange(self.shortest, self.size + 1, device=self.code.device)
        for part in lengths.split(-(-len(lengths) // _PARTS)):
            offset = torch.arange(self.size - int(part[0]) + 1, device=part.device)
            yield part[:, None].float(), (offset <= self.size - part[:, None]).float()

    def _resampled(self, profiles: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Profiles BxCxS at unit power and every length, BxCxLxK, K the largest length.

        Resampling averages areas: it takes differences of the running sum.
        """
        longest = int(lengths[-1])
        edge = torch.arange(longest + 1, device=lengths.device) / lengths
        edge = edge.clamp(max=1.0) * self.size
        below = edge.floor().clamp(max=self.size - 1.0)
        fraction, left = edge - below, below.long().flatten()
        total = F.pad(profiles.cumsum(-1), (1, 0))
        shape = (*profiles.shape[:2], *edge.shape)
        at_edges = total.index_select(-1, left).view(shape)
        at_edges = at_edges + profiles.index_select(-1, left).view(shape) * fraction
        rows = at_edges[..., 1:] - at_edges[..., :-1]
        return rows / (rows.square().sum(-1, keepdim=True) + 1e-9).sqrt()

    def _noise(self, scores: list[torch.Tensor], allowed: list[torch.Tensor]) -> torch.Tensor:
        """The power of noise in scores BxCxLxO, by scale, BxCxN.

        It is not equally strong in all scales, and taken from neighbouring ones. The peak itself
        must not count, least of all where a scale has few offsets.
        """
        squares = [part.square() for part in scores]
        count = torch.cat([part.sum(-1) for part in allowed])
        mean = torch.stack([part.sum((2, 3)) for part in squares]).sum(0) / count.sum()
        most = _OUTLIER * mean[..., None, None]
        power = torch.cat([torch.minimum(part, most).sum(-1) for part in squares], dim=-1)
        return _over_scales(power) / _over_scales(count[None])

    def forward(self, profiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Search profiles Bx2xCxS.

        Returns:
            Start and end by axis in frame pixels, Bx2x2, and their log-odds, B, up to a constant.
        """
        batch, size = profiles.shape[0], self.size
        lengths, allowed = zip(*self._parts(), strict=True)
        flat = profiles.flatten(1, 2)
        windows = _windows(self.code)
        scores = [
            (self._resampled(flat, part) @ windows[:, : int(part[-1]), : may.shape[-1]]) * may
            for part, may in zip(lengths, allowed, strict=True)
        ]
        strength = flat.square().mean(-1, keepdim=True)
        worth = 0.5 * (strength / (strength + _PROFILE_FLOOR**2)).square()
        worth = (worth / (self._noise(scores, allowed) + 1e-9))[..., None]
        best, where = [], []
        for part, may, by in zip(
            scores, allowed, worth.split([len(x) for x in lengths], 2), strict=True
        ):
            odds = (part.clamp(min=0.0).square() * by).unflatten(1, (2, -1)).sum(2)
            odds = odds - may.sum(-1, keepdim=True).log() + (1.0 - may) * _IMPOSSIBLE
            values, places = odds.max(-1)
            best.append(values)
            where.append(places)
        columns, rows = torch.cat(best, dim=-1).unbind(1)
        score, pair = (columns[:, :, None] + rows[:, None] + self.prior).flatten(1).max(-1)
        scales = self.prior.shape[0]
        scale = torch.stack([pair // scales, pair % scales], dim=1)
        start = torch.cat(where, dim=-1).gather(2, scale[..., None])[..., 0].float()
        return torch.stack([start, start + scale.float() + self.shortest], dim=-1), score
