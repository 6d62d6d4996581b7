"""The peers: kornia's differentiable JPEG, where it is installed, and the real codec."""

from collections.abc import Callable
from functools import partial
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import torch

from ...attacks.real import libjpeg

__all__ = ["kornia_codec", "kornia_version", "libjpeg_batch"]


def kornia_version() -> str | None:
    """The version of kornia; ``None`` where it is not installed."""
    return metadata.version("kornia") if find_spec("kornia") else None


def _kornia(images: torch.Tensor, qf: torch.Tensor) -> torch.Tensor:
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(images, qf)


def kornia_codec(qf: float, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """``kornia.enhance.jpeg_codec_differentiable`` at one quality; it knows 4:2:0 only.

    Returns:
        A function of images Bx3xHxW in [0, 1]; ``None`` where kornia is not installed.
    """
    if kornia_version() is None:
        return None
    return partial(_kornia, qf=torch.tensor([float(qf)], device=device))


def libjpeg_batch(images: np.ndarray, qf: int, subsampling: str) -> np.ndarray:
    """Real encoding and decoding through Pillow, BxHxWx3 uint8, one image after the other."""
    return np.stack([libjpeg(image, qf, subsampling) for image in images])
