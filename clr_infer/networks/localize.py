"""The localize network: a matched filter on the synchronisation template.

Nothing in it is learned, and it looks at the image as received: the align network, which serves
the recover network, was seen to help the template little and to dream of it where there is none.
The image is reduced to :mod:`.profiles`, one for each code of its columns and rows; :mod:`.search`
finds the best spans of the frame, which are refined here to a small fraction of a pixel.
"""

import torch
from torch import nn

from .profiles import Profiles
from .search import SpanSearch
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
        size: side of the network's frame in pixels, a multiple of 4.
        seed: chooses the synchronisation codes; that of the protect network.
    """

    fine_code: torch.Tensor
    bandwidth: torch.Tensor
    steps: torch.Tensor
    calibration: torch.Tensor

    def __init__(self, size: int = 512, seed: int = 0) -> None:
        super().__init__()
        self.size, self.seed = size, seed
        self.profiles = Profiles()
        self.search = SpanSearch(torch.stack(codes(size, seed))[_ORDER, :].view(2, 2, size))
        bands = torch.tensor([CODE_CHROMA_BAND, CODE_LUMA_BAND])
        constants = {
            "fine_code": fine_codes(size, _FINE, seed)[_ORDER, :].view(2, 2, size * _FINE),
            "bandwidth": (bands[:, 1:] - bands[:, :1]) * size,
            "steps": torch.cartesian_prod(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0)),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("calibration", torch.tensor([1.0, -11.0]))

    def _odds(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Log-odds up to a factor, Bx2xN, of spans Bx2xNx2 (start, end, in frame pixels)."""
        batch, axes, count = spans.shape[:3]
        start, stop = spans[..., :1], spans[..., 1:]
        centre = torch.arange(self.size, device=profiles.device, dtype=torch.float32) + 0.5
        position = (start + centre / self.size * (stop - start)) * _FINE - 0.5
        index = position.clamp(0.0, self.size * _FINE - 1.0).round().long()
        index = index.flatten(2)[:, :, None].expand(-1, -1, 2, -1)  # the same for both codes
        code = self.fine_code[None].expand(batch, -1, -1, -1).gather(3, index)
        code = code.view(batch, axes, 2, count, self.size)
        power = profiles.square().sum(-1)[..., None] * code.square().sum(-1)
        found = (code @ profiles[..., None])[..., 0].clamp(min=0.0)
        return (found.square() / power.clamp(min=1e-12) * self.bandwidth).sum(2)

    def _refine(self, profiles: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        for step in _REFINE_PX:
            around = (spans[:, :, None] + self.steps * step).clamp(0.0, float(self.size))
            odds = self._odds(profiles, around)
            best = odds.argmax(-1)[..., None, None].expand(-1, -1, 1, 2)
            spans = around.gather(2, best)[:, :, 0]
        return spans

    def forward(self, received: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Find the crop box of images Bx3xSxS in [0, 1].

        Returns:
            Crop box Bx4, (x0, y0, x1, y1) in fractions of the original frame; confidence B in
            [0, 1] that the image is protected and the box right; raw score B, the log-odds of
            the box up to a constant.
        """
        profiles = self.profiles(received)
        spans, score = self.search(profiles)
        box = self._refine(profiles, spans) / self.size
        confidence = torch.sigmoid(self.calibration[0] * score + self.calibration[1])
        return box.transpose(1, 2).reshape(-1, 4), confidence, score
