"""The real operations, on 8-bit images, through Pillow and its codecs. No torch."""

import io

import numpy as np
from PIL import Image, ImageFilter

from ..errors import InputError
from ..geometry import Box, box_to_pixels
from .steps import Chain, Step

__all__ = ["apply", "apply_step", "gaussian_kernel", "libjpeg"]

_SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def libjpeg(image: np.ndarray, qf: int, subsampling: str = "4:2:0") -> np.ndarray:
    """Encode and decode with the real codec: HxWx3 uint8 to the same, QF 1-100."""
    return _through_codec(image, "JPEG", int(qf), subsampling=_SUBSAMPLING[subsampling])


def _through_codec(image: np.ndarray, kind: str, quality: int, **options: int) -> np.ndarray:
    buffer = io.BytesIO()
    try:
        Image.fromarray(image).save(buffer, kind, quality=quality, **options)
    except (OSError, ValueError) as error:  # too large for the format
        height, width = image.shape[:2]
        raise InputError(f"{width}x{height} pixels cannot be saved as {kind}: {error}") from error
    return np.asarray(Image.open(buffer))


def gaussian_kernel(side: int) -> np.ndarray:
    """The ``side`` x ``side`` Gaussian kernel, float64, sum 1; sigma as OpenCV derives it."""
    sigma = 0.3 * ((side - 1) * 0.5 - 1) + 0.8
    line = np.exp(-0.5 * ((np.arange(side) - side // 2) / sigma) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def apply_step(image: np.ndarray, step: Step, rng: np.random.Generator) -> np.ndarray:
    """Apply one step to HxWx3 uint8; the result is uint8 again, as a file would be."""
    if step.name == "crop":
        x0, y0, x1, y1 = box_to_pixels(Box(*step.values), image.shape[1], image.shape[0])
        return image[y0:y1, x0:x1]
    if step.name == "jpeg":
        return libjpeg(image, round(step.values[0]), step.subsampling)
    if step.name in ("webp", "avif"):
        return _through_codec(image, step.name.upper(), round(step.values[0]))
    if step.name == "noise":
        noisy = image + rng.normal(0.0, 255.0 * step.values[0], image.shape)
        return _to_uint8(noisy)
    if step.name == "tone":
        offset, factor = step.values
        return _to_uint8((image - 127.5) * factor + 127.5 + 255.0 * offset)
    if step.name == "mirror":
        return image[:, ::-1]
    if step.name == "border":
        width = round(step.values[0] * min(image.shape[:2]))
        return np.pad(image, ((width, width), (width, width), (0, 0)), constant_values=255)
    if step.name == "occlude":
        occluded = image.copy()
        y, x = (round(0.5 * side * (1.0 - step.values[0] ** 0.5)) for side in image.shape[:2])
        occluded[y : image.shape[0] - y, x : image.shape[1] - x] = 0
        return occluded
    picture = Image.fromarray(image)
    if step.name == "rotate":
        return np.asarray(picture.rotate(step.values[0], Image.Resampling.BICUBIC))
    if step.name == "resize":
        width, height = (max(1, round(side * step.values[0])) for side in picture.size)
        return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    side = int(step.values[0])
    if step.name == "median":
        return np.asarray(picture.filter(ImageFilter.MedianFilter(side)))
    kernel = gaussian_kernel(side).ravel().tolist()
    pad = side // 2  # Pillow leaves the border of a kernel filter unfiltered
    padded = Image.fromarray(np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    filtered = padded.filter(ImageFilter.Kernel((side, side), kernel, scale=1.0))
    return np.asarray(filtered)[pad:-pad, pad:-pad]


def apply(image: np.ndarray, chain: Chain, rng: np.random.Generator) -> np.ndarray:
    """Apply a chain of steps to an image, HxWx3 uint8."""
    for step in chain:
        image = apply_step(image, step, rng)
    return np.ascontiguousarray(image)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
