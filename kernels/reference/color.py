"""Colour: RGB to YCbCr and back, JFIF full range (ITU-R BT.601).

Y  =  0.299 R + 0.587 G + 0.114 B
Cb = -0.168736 R - 0.331264 G + 0.5 B + 128
Cr =  0.5 R - 0.418688 G - 0.081312 B + 128
"""

import torch

__all__ = ["RGB_TO_YCBCR", "YCBCR_TO_RGB", "rgb_to_ycbcr", "ycbcr_to_rgb"]

RGB_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
)
YCBCR_TO_RGB = torch.tensor(
    [[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]]
)


def rgb_to_ycbcr(rgb: torch.Tensor) -> torch.Tensor:
    """Convert RGB, Bx3xHxW on the 0-255 scale, to YCbCr on the same scale (chroma around 128)."""
    ycbcr = torch.einsum("ij,bjhw->bihw", RGB_TO_YCBCR.to(rgb), rgb)
    return ycbcr + ycbcr.new_tensor([0.0, 128.0, 128.0]).view(1, 3, 1, 1)


def ycbcr_to_rgb(ycbcr: torch.Tensor) -> torch.Tensor:
    """Convert YCbCr, Bx3xHxW on the 0-255 scale, to RGB on the same scale; nothing is clipped."""
    centred = ycbcr - ycbcr.new_tensor([0.0, 128.0, 128.0]).view(1, 3, 1, 1)
    return torch.einsum("ij,bjhw->bihw", YCBCR_TO_RGB.to(ycbcr), centred)
