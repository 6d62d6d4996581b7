"""The feature alignment network: makes a post-processed image read like a clean one.

In training one set of weights sees three branches of the same protected crop: clean, with
simulated and with real post-processing; the features of the last two are drawn to the first's.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..specs import FRAME_PX
from .blocks import CELL, HighPass, activate, cell_conv, residual_blocks

__all__ = ["AlignNetwork"]


class AlignNetwork(nn.Module):
    """Received image to aligned image.

    Args:
        size: side of the network's frame in pixels, a multiple of 4.
        width: channels.
    """

    def __init__(self, size: int = FRAME_PX, width: int = 32) -> None:
        super().__init__()
        self.size, self.width = size, width
        self.high_pass = HighPass()
        self.stem = cell_conv(6, width)
        self.blocks = residual_blocks(2, width)
        self.head = nn.Conv2d(width, 3 * CELL**2, 3, padding=1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def features(self, received: torch.Tensor) -> torch.Tensor:
        """The features that training aligns: Bx3xSxS in [0, 1] to BxCx(S/4)x(S/4)."""
        x = torch.cat([received - 0.5, self.high_pass(received)], dim=1)
        return self.blocks(self.stem(x))

    def apply_features(self, received: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Correct the received image by what the features say."""
        return received + 0.1 * F.pixel_shuffle(self.head(activate(features)), CELL)

    def forward(self, received: torch.Tensor) -> torch.Tensor:
        """Received image Bx3xSxS in [0, 1] to aligned image of the same shape, unclipped."""
        return self.apply_features(received, self.features(received))
