"""The localize network: a matched filter on the synchronisation template.

Nothing in it is learned, and it looks at the image as received: the align network, which serves
the recover network, was seen to help the template little and to dream of it where there is none.
The image is reduced to :mod:`.profiles`, one for each code of its columns and rows; :mod:`.search`
finds the best spans of the frame, which are refined here to a small fraction of a pixel;
:mod:`.skew` tells how crooked the image lies.
"""

import torch
from torch import nn

from ..specs import FRAME_PX
from .profiles import Profiles
from .search import SpanSearch
from .skew import BANDS, SkewSearch
from .template import CODE_CHROMA_BAND, CODE_LUMA_BAND, codes, fine_codes

__all__ = ["LocalizeNetwork"]

_ORDER = [0, 2, 1, 3]
"""The codes as the profiles are ordered: columns by chroma and luma, rows by chroma and luma."""

_FINE = 32
"""Samples of the code for each pixel: the nearest is near enough."""

_REFINE_PX = (0.35, 0.12, 0.04)


class LocalizeNetwork(nn.Module):
    """Find where a received image lay in its original frame.

    Args:
        size: side of the network's frame in pixels, a multiple of 16.
        seed: chooses the synchronisation codes; that of the protect network.
    """

    fine_code: torch.Tensor
    bandwidth: torch.Tensor
    steps: torch.Tensor
    calibration: torch.Tensor

    def __init__(self, size: int = FRAME_PX, seed: int = 0) -> None:
        super().__init__()
        self.size, self.seed = size, seed
        self.profiles = Profiles(BANDS)
        self.search = SpanSearch(torch.stack(codes(size, seed))[_ORDER, :].view(2, 2, size))
        self.skew = SkewSearch(size)
        bands = torch.tensor([CODE_CHROMA_BAND, CODE_LUMA_BAND])
        constants = {
            "fine_code": fine_codes(size, _FINE, seed)[_ORDER, :].view(2, 2, size * _FINE),
            "bandwidth": (bands[:, 1:] - bands[:, :1]) * size,
            "steps": torch.cartesian_prod(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0)),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("calibration", torch.tensor([1.0, -11.0]))

    def _along(self, spans: torch.Tensor) -> torch.Tensor:
        """The codes along spans Bx2xNx2 (start, end, in frame pixels), Bx2x2xNxS."""
        batch, axes, count = spans.shape[:3]
        start, stop = spans[..., :1], spans[..., 1:]
        centre = torch.arange(self.size, device=spans.device, dtype=torch.float32) + 0.5
        position = (start + centre / self.size * (stop - start)) * _FINE - 0.5
        index = position.clamp(0.0, self.size * _FINE - 1.0).round().long()
        index = index.flatten(2)[:, :, None].expand(-1, -1, 2, -1)  # the same for both codes
        code = self.fine_code[None].expand(batch, -1, -1, -1).gather(3, index)
        return code.view(batch, axes, 2, count, self.size)

    def _odds(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Log-odds up to a factor, Bx2xN, of spans Bx2xNx2."""
        code = self._along(spans)
        power = profiles.square().sum(-1)[..., None] * code.square().sum(-1)
        found = (code @ profiles[..., None])[..., 0].clamp(min=0.0)
        return (found.square() / power.clamp(min=1e-12) * self.bandwidth).sum(2)

    def odds_of(self, received: torch.Tensor, crop_box: torch.Tensor) -> torch.Tensor:
        """How surely each axis of images shows the template along a crop box, Bx2.

        Log-odds up to a constant, without a search, with a gradient by the images.

        Args:
            received: Bx3xSxS in [0, 1].
            crop_box: Bx4, in fractions of the original frame.
        """
        profiles = self.profiles(received).mean(3)
        spans = crop_box.view(-1, 2, 2).transpose(1, 2)[:, :, None] * self.size
        return self._odds(profiles, spans)[..., 0]

    def _refine(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        for step in _REFINE_PX:
            around = (spans[:, :, None] + self.steps * step).clamp(0.0, float(self.size))
            odds = self._odds(profiles, around)
            best = odds.argmax(-1)[..., None, None].expand(-1, -1, 1, 2)
            spans = around.gather(2, best)[:, :, 0]
        return spans

    def forward(
        self, received: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Find the crop box of images Bx3xSxS in [0, 1].

        Returns:
            Crop box Bx4, (x0, y0, x1, y1) in fractions of the original frame; confidence B in
            [0, 1] that the image is protected and the box right; raw score B, the log-odds of
            the box up to a constant; skew Bx2, how much farther on the columns are met in the last
            row than in the first, and the rows in the last column than in the first, in sides of
            the received image.
        """
        bands = self.profiles(received)
        profiles = bands.mean(3)
        spans, score = self.search(profiles)
        spans = self._refine(profiles, spans)
        code = self._along(self.skew.spans(spans))
        skew = self.skew(bands, code, self.bandwidth)
        confidence = torch.sigmoid(self.calibration[0] * score + self.calibration[1])
        box = (spans / self.size).transpose(1, 2).reshape(-1, 4)
        return box, confidence, score, skew
