"""The protect network: an image in, the perturbation that carries it out.

The image is folded into payload maps at two scales. The fine one, half the frame wide, is
repeated in 2x2 tiles, so that a crop that keeps half of each side holds every cyclic position of
it; the coarse one, a quarter wide, is repeated in 4x4 tiles and survives harder treatment.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..specs import FRAME_PX
from .blocks import CELL, LUMA, GaussianBlur, ResidualBlock, activate, cell_conv, residual_blocks
from .template import template

__all__ = ["ProtectNetwork", "TextureMap"]

NOMINAL_PSNR_DB = 38.0
LOCAL_CAP = 1.3
"""Ceiling of the payload's local strength, as a multiple of the nominal one at middling texture."""

REFILL_MAX = 4.0

MIDDLING_CONTRAST = 4.0 / 255.0
CONTRAST_RANGE = (0.1, 2.0)
"""Limits of the contrast that counts, as multiples of the middling one."""

TEMPLATE_RANGE = (0.5, 1.3)
"""The template varies less with texture than the payload: it must be found everywhere."""


class TextureMap(nn.Module):
    """How strong a perturbation each place hides: Bx3xSxS to Bx1x(S/4)x(S/4), 0.1 to 2.

    The local luma contrast, 1 at that of middling texture: less in a clear sky, more in foliage.
    """

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        fine = GaussianBlur(1.5)
        self.reach = fine.radius
        self.register_buffer("kernel", _high_pass_phases(fine.kernel[0, 0, 0]), persistent=False)
        self.spread = GaussianBlur(0.75)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        padded = F.pad(image, (self.reach,) * 4, mode="replicate")
        energy = _channel_mean(F.conv2d(padded, self.kernel, stride=CELL).square())
        contrast = (self.spread(energy) + 1e-7).sqrt() / MIDDLING_CONTRAST
        return contrast.clamp(*CONTRAST_RANGE)


def _high_pass_phases(blur: torch.Tensor) -> torch.Tensor:
    """Luma less its blur at each of a cell's 16 pixels, as one convolution with stride 4.

    Args:
        blur: the blur along one axis, odd length K.

    Returns:
        Kernels 16x3x(K+3)x(K+3) that begin K//2 pixels before the cell.
    """
    length = blur.shape[0]
    high = -torch.outer(blur, blur)
    high[length // 2, length // 2] += 1.0
    phases = torch.zeros(CELL, CELL, length + CELL - 1, length + CELL - 1)
    for y in range(CELL):
        for x in range(CELL):
            phases[y, x, y : y + length, x : x + length] = high
    return phases.flatten(0, 1)[:, None] * torch.tensor(LUMA).view(1, 3, 1, 1)


class ProtectNetwork(nn.Module):
    """Make the residual that protects an image.

    Args:
        size: side of the network's frame in pixels, a multiple of 32.
        width: channels.
        seed: chooses the synchronisation codes.
    """

    template_columns: torch.Tensor
    template_rows: torch.Tensor

    def __init__(self, size: int = FRAME_PX, width: int = 48, seed: int = 0) -> None:
        super().__init__()
        self.size, self.width, self.seed = size, width, seed
        self.nominal_psnr_db = NOMINAL_PSNR_DB
        columns, rows = template(size, seed)
        self.register_buffer("template_columns", columns, persistent=False)
        self.register_buffer("template_rows", rows, persistent=False)
        self.texture = TextureMap()
        self.spread = GaussianBlur(1.0)
        self.stem = cell_conv(3, width)
        self.look = ResidualBlock(width)
        self.fine = nn.Sequential(nn.Conv2d(width, width, 4, 2, 1), *residual_blocks(6, width))
        self.fine_out = nn.Conv2d(width, width, 1)
        self.coarse = nn.Sequential(nn.Conv2d(width, width, 4, 2, 1), *residual_blocks(4, width))
        self.coarse_out = nn.Conv2d(width, width, 1)
        self.blocks = residual_blocks(4, width)
        self.head = nn.Conv2d(width, 3 * CELL**2, 3, padding=1)

    def payload(self, image: torch.Tensor) -> torch.Tensor:
        """The raw payload of an image, of no particular strength, by cells: Bx48x(S/4)x(S/4)."""
        f = self.look(self.stem(image - 0.5))
        fine = self.fine(activate(f))
        coarse = self.coarse(activate(fine))
        f = f + self.fine_out(fine).repeat(1, 1, 2, 2)
        f = f + self.coarse_out(coarse).repeat(1, 1, 4, 4)
        return self.head(activate(self.blocks(f)))

    def shape(self, payload: torch.Tensor, image: torch.Tensor, psnr_db: float) -> torch.Tensor:
        """Spread a payload where the image hides it, and add the template.

        Args:
            payload: by cells, see :meth:`payload`.
            image: Bx3xSxS in [0, 1].
            psnr_db: strength of the residual.

        Returns:
            Residual Bx3xSxS with a PSNR of ``psnr_db``; more where the image is too smooth to
            hide that much.
        """
        texture = self.texture(image)
        sync = self.template_columns + self.template_rows
        sync = sync * _upsample(texture.clamp(*TEMPLATE_RANGE))
        total = 10 ** (-psnr_db / 10)
        power = total - sync.square().mean((1, 2, 3), keepdim=True)
        power = power.clamp(min=0.2 * total)
        energy = _channel_mean(payload.square())
        local = self.spread(energy) + 1e-8
        ceiling = (LOCAL_CAP * texture).square() * power / local
        # What the ceiling takes from smooth places goes to the others, as far as they have room.
        gain = power / local.mean((2, 3), keepdim=True)
        spent = (local * torch.minimum(gain, ceiling)).mean((2, 3), keepdim=True)
        gain = torch.minimum(gain * (power / spent).clamp(max=REFILL_MAX), ceiling)
        return sync + F.pixel_shuffle(payload, CELL) * _upsample(gain.sqrt())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image Bx3xSxS in [0, 1] to residual Bx3xSxS at the nominal strength."""
        return self.shape(self.payload(image), image, self.nominal_psnr_db)


def _channel_mean(x: torch.Tensor) -> torch.Tensor:
    """BxCxHxW to Bx1xHxW; as a convolution, since CPU runtimes are slow to reduce over channels."""
    return F.conv2d(x, x.new_full((1, x.shape[1], 1, 1), 1.0 / x.shape[1]))


def _upsample(cells: torch.Tensor) -> torch.Tensor:
    return F.interpolate(cells, scale_factor=float(CELL), mode="bilinear", align_corners=False)
