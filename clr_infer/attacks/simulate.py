"""The same operations, differentiable, on float images Bx3xHxW in [0, 1].

A batch is worked on at once: its images have a chain each, of the same steps. What sets shapes or
kernels (crop size, resize factor, filter side, subsampling) is that of the first; quality factor,
noise, tone and the place of the crop are each image's own.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..geometry import Box, box_to_pixels
from ..kernels import jpeg_simulate, ste_round
from ..kernels.options import Rounding
from .median import median_filter
from .real import gaussian_kernel
from .steps import Chain, Step

__all__ = ["JpegModel", "apply", "beside", "crop_all", "crops_alike", "quantise", "resize"]


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


def beside(image: torch.Tensor, values: Sequence | np.ndarray) -> torch.Tensor:
    """Bring a few numbers to the device and type of an image, without waiting for the device."""
    return torch.from_numpy(np.asarray(values, np.float32)).to(image, non_blocking=True)


def crops_alike(
    crops: Sequence[Step], frame_w: int, frame_h: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Where crops of a batch begin, x and y in pixels, and the width and height of the first.

    Rounded by itself, another one may be a pixel larger: it is moved until it ends in the frame.
    """
    boxes = [box_to_pixels(Box(*crop.values), frame_w, frame_h) for crop in crops]
    width, height = boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1]
    return [(min(b[0], frame_w - width), min(b[1], frame_h - height)) for b in boxes], width, height


def crop_all(
    images: torch.Tensor, corners: Sequence[tuple[int, int]], width: int, height: int
) -> torch.Tensor:
    """Cut a part of one size out of each image, Bx3xHxW; ``corners`` are (x, y) in pixels."""
    if len(images) == 1:
        x, y = corners[0]
        return images[..., y : y + height, x : x + width]
    corner = torch.tensor(corners).to(images.device, non_blocking=True)[..., None]
    columns = corner[:, 0] + torch.arange(width, device=images.device)
    rows = corner[:, 1] + torch.arange(height, device=images.device)
    index = (rows[:, :, None] * images.shape[-1] + columns[:, None]).view(len(images), 1, -1)
    parts = images.flatten(2).gather(2, index.expand(-1, images.shape[1], -1))
    return parts.view(*images.shape[:2], height, width)


class JpegModel:
    """What stands in for libjpeg in the simulation.

    Args:
        rounding: of :func:`clr_infer.kernels.jpeg_simulate`; ``"ste"`` has libjpeg's own values,
            ``"soft"`` those of the usual differentiable surrogate.
    """

    def __init__(self, rounding: Rounding = "ste") -> None:
        self.rounding = rounding

    def __call__(self, images: torch.Tensor, qf: Sequence[float], subsampling: str) -> torch.Tensor:
        """Simulate JPEG on Bx3xHxW in [0, 1], each image at its own quality factor."""
        quality = torch.tensor(qf, dtype=torch.float32)  # checked on the host, without a wait
        return jpeg_simulate(images, quality, subsampling, self.rounding)


def _filter(image: torch.Tensor, side: int) -> torch.Tensor:
    kernel = beside(image, gaussian_kernel(side)).expand(3, 1, side, side)
    pad = side // 2
    return F.conv2d(F.pad(image, (pad,) * 4, mode="replicate"), kernel, groups=3)


def _noise(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Normal noise made where the image is, from a seed of the host's."""
    generator = torch.Generator(image.device).manual_seed(int(rng.integers(2**62)))
    return torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)


def _apply_step(
    image: torch.Tensor, steps: Sequence[Step], rng: np.random.Generator, jpeg: JpegModel
) -> torch.Tensor:
    """Apply one step to each image of a batch; the result is on 8-bit levels.

    Raises:
        InputError: nothing trains on this step.
    """
    first, (height, width) = steps[0], image.shape[-2:]
    values = np.array([step.values for step in steps]).T[..., None, None, None]
    if first.name == "crop":
        return crop_all(image, *crops_alike(steps, width, height))
    if first.name == "jpeg":
        return jpeg(image, [round(step.values[0]) for step in steps], first.subsampling)
    if first.name == "resize":
        factor = first.values[0]
        image = resize(image, max(1, round(height * factor)), max(1, round(width * factor)))
    elif first.name == "noise":
        image = image + _noise(image, rng) * beside(image, values[0])
    elif first.name == "tone":
        offset, factor = (beside(image, value) for value in values)
        image = (image - 0.5) * factor + 0.5 + offset
    elif first.name == "median":
        image = median_filter(image, int(first.values[0]))
    elif first.name == "gaussian":
        image = _filter(image, int(first.values[0]))
    else:
        raise InputError(f"there is no simulation of {first.name!r}: it is there to measure limits")
    return quantise(image)


def apply(
    images: torch.Tensor, chains: Sequence[Chain], rng: np.random.Generator, jpeg: JpegModel
) -> torch.Tensor:
    """Apply chains of simulated steps to Bx3xHxW in [0, 1].

    Args:
        images: on 8-bit levels, as files are.
        chains: one for each image, all of the same steps.
        rng: of the noise.
        jpeg: stands in for libjpeg.

    Raises:
        ValueError: the chains are not of the same steps, or not one for each image.
    """
    names = {tuple(step.name for step in chain) for chain in chains}
    if len(chains) != len(images) or len(names) != 1:
        raise ValueError(f"{len(images)} images need as many chains of the same steps, not {names}")
    for steps in zip(*chains, strict=True):
        images = _apply_step(images, steps, rng, jpeg)
    return images
