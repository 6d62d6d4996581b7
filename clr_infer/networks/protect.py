"""The protect network: an image in, the perturbation that carries it out.

The image is folded into payload maps at two scales. The fine one, half the frame wide, is
repeated in 2x2 tiles, so that a crop that keeps half of each side holds every cyclic position of
it; the coarse one, a quarter wide, is repeated in 4x4 tiles and survives harder treatment.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import CELL, GaussianBlur, ResidualBlock, activate
from .template import template

__all__ = ["ProtectNetwork", "TextureMap"]

NOMINAL_PSNR_DB = 38.5
LOCAL_CAP = 1.4
"""Ceiling of the local strength of the payload, as a multiple of its texture-weighted mean."""

_LUMA = (0.299, 0.587, 0.114)


class TextureMap(nn.Module):
    """How much perturbation each place can hide: Bx3xSxS to Bx1x(S/4)x(S/4), mean square 1.

    The square root of the local luma contrast, limited to a tenth and to ten times its mean.
    """

    luma: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)
        self.fine = GaussianBlur(1.5)
        self.spread = GaussianBlur(0.75)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        luma = F.conv2d(image, self.luma)
        energy = F.avg_pool2d((luma - self.fine(luma)).square(), CELL)
        contrast = (self.spread(energy) + 1e-5).sqrt()
        relative = contrast / contrast.mean((2, 3), keepdim=True)
        weight = relative.clamp(0.3, 3.0).sqrt()
        return weight / weight.square().mean((2, 3), keepdim=True).sqrt()


class ProtectNetwork(nn.Module):
    """Make the residual that protects an image.

    Args:
        size: side of the network's frame in pixels, a multiple of 32.
        width: channels.
        seed: chooses the synchronisation codes.
    """

    template_columns: torch.Tensor
    template_rows: torch.Tensor

    def __init__(self, size: int = 512, width: int = 48, seed: int = 0) -> None:
        super().__init__()
        self.size, self.width, self.seed = size, width, seed
        self.nominal_psnr_db = NOMINAL_PSNR_DB
        columns, rows = template(size, seed)
        self.register_buffer("template_columns", columns, persistent=False)
        self.register_buffer("template_rows", rows, persistent=False)
        self.texture = TextureMap()
        self.spread = GaussianBlur(1.0)
        self.stem = nn.Conv2d(3 * CELL**2, width, 3, padding=1)
        self.look = ResidualBlock(width)
        self.fine = nn.Sequential(
            nn.Conv2d(width, width, 4, 2, 1), ResidualBlock(width), ResidualBlock(width)
        )
        self.fine_out = nn.Conv2d(width, width, 1)
        self.coarse = nn.Sequential(
            nn.Conv2d(width, width, 4, 2, 1), ResidualBlock(width), ResidualBlock(width)
        )
        self.coarse_out = nn.Conv2d(width, width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(3)))
        self.head = nn.Conv2d(width, 3 * CELL**2, 3, padding=1)

    def payload(self, image: torch.Tensor) -> torch.Tensor:
        """The raw payload of an image, Bx3xSxS, of no particular strength."""
        f = self.look(self.stem(F.pixel_unshuffle(image - 0.5, CELL)))
        fine = self.fine(activate(f))
        coarse = self.coarse(activate(fine))
        f = f + self.fine_out(fine).repeat(1, 1, 2, 2)
        f = f + self.coarse_out(coarse).repeat(1, 1, 4, 4)
        return F.pixel_shuffle(self.head(activate(self.blocks(f))), CELL)

    def shape(self, payload: torch.Tensor, image: torch.Tensor, psnr_db: float) -> torch.Tensor:
        """Spread a payload where the image hides it, and add the template.

        Returns:
            Residual Bx3xSxS whose PSNR is ``psnr_db``, or that of the template if that is more.
        """
        texture = self.texture(image)
        payload = payload / (payload.square().mean((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        energy = F.avg_pool2d(payload.square().mean(1, keepdim=True), CELL)
        local = (self.spread(energy) + 1e-4).sqrt()
        payload = payload * _upsample((LOCAL_CAP * texture / local).clamp(max=1.0))
        sync = (self.template_columns + self.template_rows) * _upsample(texture)
        power = 10 ** (-psnr_db / 10) - sync.square().mean((1, 2, 3), keepdim=True)
        power = power.clamp(min=0.2 * 10 ** (-psnr_db / 10))
        return (
            sync
            + payload * (power / (payload.square().mean((1, 2, 3), keepdim=True) + 1e-8)).sqrt()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image Bx3xSxS in [0, 1] to residual Bx3xSxS at the nominal strength."""
        return self.shape(self.payload(image), image, self.nominal_psnr_db)


def _upsample(cells: torch.Tensor) -> torch.Tensor:
    return F.interpolate(cells, scale_factor=float(CELL), mode="bilinear", align_corners=False)
