"""The pieces that every network is made of."""

import torch
import torch.nn.functional as F
from torch import nn

from ..specs import CELL

__all__ = [
    "CELL",
    "LUMA",
    "GaussianBlur",
    "HighPass",
    "ResidualBlock",
    "activate",
    "cell_conv",
    "residual_blocks",
]

HIGH_PASS_GAIN = 6.0

LUMA = (0.299, 0.587, 0.114)
"""Weights of RGB in luma."""


def activate(x: torch.Tensor) -> torch.Tensor:
    """The one activation: leaky ReLU, slope 0.1."""
    return F.leaky_relu(x, 0.1)


def cell_conv(channels: int, width: int) -> nn.Conv2d:
    """A convolution over 3x3 cells: BxCxSxS pixels to BxWx(S/4)x(S/4) cells.

    What a 3x3 convolution after ``pixel_unshuffle`` does, without the rearrangement.
    """
    return nn.Conv2d(channels, width, 3 * CELL, stride=CELL, padding=CELL)


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), no normalisation, a quiet second convolution at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(activate(self.first(activate(x))))


def residual_blocks(count: int, width: int) -> nn.Sequential:
    """Residual blocks one after the other."""
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class GaussianBlur(nn.Module):
    """Separable Gaussian blur of BxCxHxW with replicated edges.

    The kernel is a constant of the graph, cut at three standard deviations.
    """

    kernel: torch.Tensor

    def __init__(self, sigma: float, channels: int = 1) -> None:
        super().__init__()
        self.radius = max(1, int(3 * sigma + 0.5))
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = (kernel / kernel.sum()).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        r, channels = self.radius, self.kernel.shape[0]
        x = F.pad(x, (r, r, r, r), mode="replicate")
        x = F.conv2d(x, self.kernel.to(x.dtype), groups=channels)
        return F.conv2d(x, self.kernel.to(x.dtype).transpose(2, 3), groups=channels)


class HighPass(nn.Module):
    """The image less its blur, amplified: where a weak residual hides. BxCxHxW to the same."""

    def __init__(self, channels: int = 3, sigma: float = 1.5) -> None:
        super().__init__()
        self.blur = GaussianBlur(sigma, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return HIGH_PASS_GAIN * (x - self.blur(x))
