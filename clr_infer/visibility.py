"""How visible a perturbation is, with a gradient: what it costs in SSIM."""

import functools

import torch

from .networks.blocks import LUMA, GaussianBlur

__all__ = ["ssim_lost"]

_SIGMA, _C2 = 1.5, 0.03**2
"""The window of SSIM and its second constant, for values in [0, 1]."""


@functools.cache
def _luma_and_window(device: torch.device) -> tuple[torch.Tensor, GaussianBlur]:
    """The weights of luma, 1x3x1x1, and the window; made once, as a copy to a GPU waits."""
    with torch.inference_mode(False):  # whatever the first caller is in: gradients go through them
        return torch.tensor(LUMA).view(1, 3, 1, 1).to(device), GaussianBlur(_SIGMA).to(device)


def ssim_lost(residual: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """How much SSIM a residual costs, as if it were noise: a scalar, 0 where there is none.

    One less the contrast and structure of SSIM (Wang et al., "Image quality assessment: from error
    visibility to structural similarity", 2004), whose luma windows see the variance of the
    original, that of the residual, and nothing in common.

    Args:
        residual: Bx3xHxW.
        original: Bx3xHxW in [0, 1].
    """
    luma, blur = _luma_and_window(original.device)
    with torch.no_grad():
        plain = (original * luma).sum(1, keepdim=True)
        variance = (blur(plain.square()) - blur(plain).square()).clamp(min=0.0)
    noise = blur((residual * luma).sum(1, keepdim=True).square())
    return (noise / (2.0 * variance + noise + _C2)).mean()
