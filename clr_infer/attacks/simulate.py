"""The same operations, differentiable, on float images 1x3xHxW in [0, 1]."""

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..geometry import Box, box_to_pixels
from ..kernels import jpeg_simulate, ste_round
from .real import apply_step as apply_real_step
from .real import gaussian_kernel
from .steps import Chain, Step

__all__ = ["JpegModel", "apply", "apply_straight_through", "quantise", "resize"]


def quantise(image: torch.Tensor) -> torch.Tensor:
    """Round to 8-bit levels in [0, 1], straight through."""
    return ste_round(image.clamp(0, 1) * 255.0) / 255.0


def resize(image: torch.Tensor, height: int, width: int, mode: str = "bicubic") -> torch.Tensor:
    """Resize with antialiasing, the filter of Pillow's ``BICUBIC`` or ``BILINEAR``."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(
        image, size=(height, width), mode=mode, antialias=True, align_corners=False
    )


class JpegModel:
    """What stands in for libjpeg in the simulation: the plain core unless told otherwise."""

    def __call__(self, image: torch.Tensor, qf: float, subsampling: str) -> torch.Tensor:
        """Simulate JPEG on 1x3xHxW in [0, 1]."""
        return jpeg_simulate(image, torch.tensor([qf], device=image.device), subsampling)


def _filter(image: torch.Tensor, side: int) -> torch.Tensor:
    kernel = torch.from_numpy(gaussian_kernel(side)).to(image).expand(3, 1, side, side)
    pad = side // 2
    return F.conv2d(F.pad(image, (pad,) * 4, mode="replicate"), kernel, groups=3)


def _median(image: torch.Tensor, side: int) -> torch.Tensor:
    pad = side // 2
    padded = F.pad(image, (pad,) * 4, mode="replicate")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4)
    return windows.median(dim=-1).values


def apply_step(
    image: torch.Tensor, step: Step, rng: np.random.Generator, jpeg: JpegModel
) -> torch.Tensor:
    """Apply one step to 1x3xHxW in [0, 1]; the result is on 8-bit levels.

    Raises:
        InputError: nothing trains on this step.
    """
    height, width = image.shape[-2:]
    if step.name == "crop":
        x0, y0, x1, y1 = box_to_pixels(Box(*step.values), width, height)
        return image[..., y0:y1, x0:x1]
    if step.name == "jpeg":
        return jpeg(image, round(step.values[0]), step.subsampling)
    if step.name == "resize":
        factor = step.values[0]
        image = resize(image, max(1, round(height * factor)), max(1, round(width * factor)))
    elif step.name == "noise":
        noise = torch.from_numpy(rng.normal(0.0, step.values[0], image.shape))
        image = image + noise.to(image)
    elif step.name == "tone":
        image = (image - 0.5) * step.values[1] + 0.5 + step.values[0]
    elif step.name == "median":
        image = _median(image, int(step.values[0]))
    elif step.name == "gaussian":
        image = _filter(image, int(step.values[0]))
    else:
        raise InputError(f"there is no simulation of {step.name!r}: it is there to measure limits")
    return quantise(image)


def apply(
    image: torch.Tensor, chain: Chain, rng: np.random.Generator, jpeg: JpegModel
) -> torch.Tensor:
    """Apply a chain of simulated steps to 1x3xHxW in [0, 1]."""
    for step in chain:
        image = apply_step(image, step, rng, jpeg)
    return image


def apply_straight_through(
    image: torch.Tensor, chain: Chain, rng: np.random.Generator, jpeg: JpegModel
) -> torch.Tensor:
    """Apply a chain whose values are the real codec's and whose gradients are the simulation's.

    Only the codec is replaced: the other simulated steps equal the real ones to rounding.
    """
    for step in chain:
        simulated = apply_step(image, step, rng, jpeg)
        if step.name == "jpeg":
            pixels = (image.detach()[0] * 255.0).round().byte().permute(1, 2, 0).cpu().numpy()
            decoded = torch.from_numpy(apply_real_step(pixels, step, rng).copy())
            real = decoded.permute(2, 0, 1)[None].to(simulated) / 255.0
            simulated = simulated + (real - simulated).detach()
        image = simulated
    return image
