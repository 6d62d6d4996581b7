"""Adding a residual to an image at native size, in plain PyTorch."""

import math

import torch

from ..filters import bilinear
from .resize import weighted

__all__ = ["psnr_of_mse", "residual_merge"]


def psnr_of_mse(mse: float) -> float:
    """PSNR in dB of a mean squared error on the 0-255 scale, at most 100."""
    return min(100.0, 10.0 * math.log10(255.0**2 / max(mse, 1e-12)))


def residual_merge(
    image: torch.Tensor, residual: torch.Tensor, psnr_db: float
) -> tuple[torch.Tensor, float]:
    """Add a residual at native size, see :func:`clr_infer.kernels.residual_merge`."""
    height, width = image.shape[:2]
    size = residual.shape[-1]
    native = residual.permute(1, 2, 0)
    for dim, length in ((1, width), (0, height)):  # sums in double precision, stored in single
        table = bilinear(size, length, image.device, torch.float64)
        native = weighted(native, table, dim).float()
    power = native.double().square().mean()
    if not (bool(torch.isfinite(power)) and float(power) > 0):
        raise ValueError("residual must be finite and not all zero")
    gain = (255.0 * 10.0 ** (-psnr_db / 20.0) / power.sqrt()).float()
    merged = (image + gain * native).round().clamp(0.0, 255.0)
    error = (merged - image).double().square().mean()
    return merged.to(torch.uint8), psnr_of_mse(float(error))
