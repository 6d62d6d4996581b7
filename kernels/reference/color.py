"""Colour: RGB to YCbCr and back, JFIF full range (ITU-R BT.601).

Y  =  0.299 R + 0.587 G + 0.114 B
Cb = -0.168736 R - 0.331264 G + 0.5 B + 128
Cr =  0.5 R - 0.418688 G - 0.081312 B + 128

Integer tensors go through the 16-bit fixed-point arithmetic of libjpeg-turbo, floating ones
through the matrix.
"""

import torch

from ..constants import constant_like

__all__ = ["RGB_TO_YCBCR", "YCBCR_TO_RGB", "from_levels", "rgb_to_ycbcr", "ycbcr_to_rgb"]

RGB_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
)
YCBCR_TO_RGB = torch.tensor(
    [[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]]
)
_OFFSET = torch.tensor([0.0, 128.0, 128.0]).view(1, 3, 1, 1)
_HALF = 1 << 15
_CENTRE = (128 << 16) + _HALF - 1  # libjpeg rounds halves of chroma down


def from_levels(levels: torch.Tensor) -> torch.Tensor:
    """Floating levels, 0 to 255, to [0, 1]: divided, on any device.

    By a number PyTorch multiplies with its reciprocal on a GPU, and misses the last bit.
    """
    return levels / levels.new_full((), 255.0)


def rgb_to_ycbcr(rgb: torch.Tensor) -> torch.Tensor:
    """Convert RGB to YCbCr, both Bx3xHxW on the 0-255 scale, chroma around 128.

    Integers in (uint8 or int32): int32 out, equal to libjpeg-turbo's.
    """
    if not rgb.is_floating_point():
        r, g, b = rgb.int().unbind(1)
        y = (19595 * r + 38470 * g + 7471 * b + _HALF) >> 16
        cb = (-11059 * r - 21709 * g + 32768 * b + _CENTRE) >> 16
        cr = (32768 * r - 27439 * g - 5329 * b + _CENTRE) >> 16
        return torch.stack((y, cb, cr), 1)
    ycbcr = torch.einsum("ij,bjhw->bihw", constant_like(RGB_TO_YCBCR, rgb), rgb)
    return ycbcr + constant_like(_OFFSET, ycbcr)


def ycbcr_to_rgb(ycbcr: torch.Tensor) -> torch.Tensor:
    """Convert YCbCr to RGB, both Bx3xHxW on the 0-255 scale; nothing is clipped.

    Integers in (uint8 or int32): int32 out, equal to libjpeg-turbo's before it clips.
    """
    if not ycbcr.is_floating_point():
        y, cb, cr = ycbcr.int().unbind(1)
        cb, cr = cb - 128, cr - 128
        r = y + ((91881 * cr + _HALF) >> 16)
        g = y + ((-22554 * cb - 46802 * cr + _HALF) >> 16)
        b = y + ((116130 * cb + _HALF) >> 16)
        return torch.stack((r, g, b), 1)
    centred = ycbcr - constant_like(_OFFSET, ycbcr)
    return torch.einsum("ij,bjhw->bihw", constant_like(YCBCR_TO_RGB, ycbcr), centred)
