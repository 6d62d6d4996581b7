"""The recover network: a fragment and its crop box in, the whole original out."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..kernels import place
from ..specs import FRAME_PX
from .blocks import CELL, HighPass, activate, cell_conv, residual_blocks

__all__ = ["Reading", "RecoverNetwork", "extend"]

_LOG_VARIANCE_RANGE = (-14.0, 0.0)
"""Of the error: a standard deviation from a quarter of a level to the whole range."""


class _Tally(NamedTuple):
    """The votes of all tiles with their weights, and what became of them."""

    votes: torch.Tensor
    weight: torch.Tensor
    folded: torch.Tensor
    total: torch.Tensor


class _Fold(nn.Module):
    """Add up the tiles of a repeated map, each value weighted by a learned confidence of its own.

    Args:
        width: channels.
        tiles: tiles per side.
    """

    def __init__(self, width: int, tiles: int) -> None:
        super().__init__()
        self.tiles = tiles
        self.vote = nn.Conv2d(width, 2 * width, 1)
        self.stem = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, features: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, _Tally]:
        """Features BxCxhxw and their coverage Bx1xhxw to BxCx(h/tiles)x(w/tiles).

        Returns:
            The folded map, and what it was made of, see :meth:`disagreement`.
        """
        votes, confidence = self.vote(activate(features)).float().chunk(2, dim=1)
        weight = torch.sigmoid(confidence) * seen + 1e-4 * seen + 1e-6
        total = self._sum_tiles(weight)
        folded = self._sum_tiles(votes * weight) / total
        return self.stem(torch.cat([folded, total], dim=1)), _Tally(votes, weight, folded, total)

    def disagreement(self, tally: _Tally) -> torch.Tensor:
        """How far the tiles disagree, beside what they agree on: BxCx1x1.

        The variance over the power of each channel: what repetition tells of the noise, whatever
        the picture.
        """
        loud = F.adaptive_avg_pool2d(tally.votes.square() * tally.weight, 1) * self.tiles**2
        agreed = F.adaptive_avg_pool2d(tally.folded.square() * tally.total, 1)
        return (loud - agreed).clamp(min=0.0) / (agreed + 1e-6)

    def _sum_tiles(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2] // self.tiles, x.shape[3] // self.tiles
        x = x.reshape(x.shape[0], x.shape[1], self.tiles, height, self.tiles, width)
        return x.sum((2, 4))


class _Unfold(nn.Module):
    """Spread a map onto one of twice its side: what changes slowly, and what a place holds inside.

    Args:
        width: channels that come in.
        channels: that go out.
        kernel: side of the convolutions.
    """

    def __init__(self, width: int, channels: int, kernel: int = 1) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(width, channels, kernel, padding=kernel // 2)
        self.inside = nn.Conv2d(width, 4 * channels, kernel, padding=kernel // 2)
        with torch.no_grad():
            self.inside.weight.zero_()
            self.inside.bias.zero_()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features BxWxhxw to BxCx2hx2w."""
        inside = F.pixel_shuffle(self.inside(features), 2)
        return _upsample(self.smooth(features), 2) + inside


def extend(canvas: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What lies outside a crop, guessed from the crop alone: its colours, ever smoother outwards.

    Masked averages are pulled up a pyramid and pushed down again into the holes (Gortler et al.,
    "The lumigraph", 1996).

    Args:
        canvas: Bx3xSxS.
        mask: Bx1xSxS, 1 inside the crop.

    Returns:
        The guess and the seen share of each place, Bx4x(S/8)x(S/8).
    """
    share = F.avg_pool2d(mask, 2 * CELL)
    colour = F.avg_pool2d(canvas * mask, 2 * CELL)
    levels = [(colour, share)]
    while levels[-1][0].shape[-1] % 2 == 0:
        levels.append(tuple(F.avg_pool2d(x, 2) for x in levels[-1]))
    guess = levels[-1][0] / (levels[-1][1] + 1e-4)
    for colour, share in reversed(levels[:-1]):
        own = (4.0 * share).clamp(max=1.0)
        guess = own * colour / (share + 1e-4) + (1.0 - own) * _upsample(guess, 2)
    return torch.cat([guess, levels[0][1]], dim=1)


class _Uncertainty(nn.Module):
    """How far off the reconstruction of each cell may be.

    It looks at what the network makes of the cell, and at how the whole fragment reads: what
    post-processing left of the payload shows there. Trained beside the network, which it only
    looks at.

    Args:
        width: channels of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width // 3
        self.cell = nn.Conv2d(width, hidden, 3, padding=1)
        self.fragment = nn.Conv2d(3 * width, 2 * hidden, 1)
        self.reading = nn.Conv2d(2 * hidden, hidden, 1)
        self.both = nn.Conv2d(hidden, hidden, 1)
        self.log_variance = nn.Conv2d(hidden, 1, 1)
        with torch.no_grad():
            self.log_variance.weight.mul_(0.1)
            self.log_variance.bias.fill_(-5.0)

    def forward(
        self,
        features: torch.Tensor,
        looked: torch.Tensor,
        seen: torch.Tensor,
        disagreement: torch.Tensor,
    ) -> torch.Tensor:
        """The standard deviation of the error, Bx1xhxw.

        Args:
            features: what the frame is made of, BxWxhxw.
            looked: what was read in the fragment, BxWxhxw.
            seen: coverage, Bx1xhxw.
            disagreement: of the tiles, BxWx1x1.
        """
        features, looked, disagreement = (x.detach() for x in (features, looked, disagreement))
        looked, share = looked.float(), F.adaptive_avg_pool2d(seen, 1) + 1e-3
        mean = F.adaptive_avg_pool2d(looked * seen, 1) / share
        power = F.adaptive_avg_pool2d(looked.square() * seen, 1) / share
        ratios = torch.cat([power, disagreement], dim=1) + 1e-4
        fragment = self.fragment(torch.cat([mean, ratios.log()], dim=1))
        fragment = self.reading(activate(fragment))
        found = self.both(activate(self.cell(features) + fragment))
        found = self.log_variance(activate(found)).float()
        return (0.5 * found.clamp(*_LOG_VARIANCE_RANGE)).exp()


class Reading(NamedTuple):
    """What the network makes of a fragment.

    Attributes:
        recovered: the whole frame, Bx3xSxS, not clipped.
        thumbnail: that it grew from, Bx3x(S/4)x(S/4).
        uncertainty: standard deviation of its error where it was cropped away, Bx1x(S/4)x(S/4).
    """

    recovered: torch.Tensor
    thumbnail: torch.Tensor
    uncertainty: torch.Tensor


class RecoverNetwork(nn.Module):
    """Read the payload out of a fragment and paint what was cropped away.

    Args:
        size: side of the network's frame in pixels, a multiple of 32.
        width: channels.
    """

    def __init__(self, size: int = FRAME_PX, width: int = 48) -> None:
        super().__init__()
        self.size, self.width = size, width
        self.high_pass = HighPass()
        self.stem = cell_conv(7, width)
        self.look = residual_blocks(4, width)
        self.fine = _Fold(width, 2)
        self.coarse = _Fold(width, 4)
        self.coarse_guess = nn.Conv2d(4, width, 3, padding=1)
        self.fine_guess = nn.Conv2d(4, width, 3, padding=1)
        self.coarse_blocks = residual_blocks(5, width)
        self.coarse_out = _Unfold(width, width)
        self.fine_blocks = residual_blocks(8, width)
        self.fine_out = _Unfold(width, width)
        self.thumbnail = _Unfold(width, 3, 3)
        self.blocks = residual_blocks(2, width)
        self.head = nn.Conv2d(width, 3 * CELL**2, 3, padding=1)
        self.uncertainty = _Uncertainty(width)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            for guess in (self.coarse_guess, self.fine_guess):  # first learn to read the payload
                guess.weight.zero_()

    def read(self, canvas: torch.Tensor, mask: torch.Tensor) -> Reading:
        """Recover the frame from a placed image and its crop mask, see :func:`~.kernels.place`."""
        x = torch.cat([(canvas - 0.5) * mask, mask, self.high_pass(canvas) * mask], dim=1)
        looked = f = self.look(self.stem(x))
        seen = F.avg_pool2d(mask, CELL)
        seen = (seen > 0.6).float() * seen
        guess = extend(canvas, mask) - 0.5
        coarse, tally = self.coarse(f, seen)
        disagreement = self.coarse.disagreement(tally)
        coarse = self.coarse_blocks(coarse + self.coarse_guess(F.avg_pool2d(guess, 2)))
        fine = self.fine(f, seen)[0] + self.fine_guess(guess) + self.coarse_out(coarse)
        fine = self.fine_blocks(fine)
        thumbnail = 0.5 + self.thumbnail(activate(fine)).float()
        f = f + self.fine_out(fine)
        f = activate(self.blocks(f))
        detail = F.pixel_shuffle(self.head(f), CELL).float()
        base = mask * canvas + (1.0 - mask) * _upsample(thumbnail, CELL)
        return Reading(base + detail, thumbnail, self.uncertainty(f, looked, seen, disagreement))

    def forward(
        self, received: torch.Tensor, crop_box: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Aligned image Bx3xSxS and crop box Bx4 to the frame in [0, 1] and its uncertainty."""
        reading = self.read(*place(received, crop_box))
        return reading.recovered.clamp(0.0, 1.0), reading.uncertainty


def _upsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
