"""What the JPEG operations accept: checked once, before any compute.

Values on a CPU are read and refused with an error. Values on a GPU are not read back, which would
wait for the device: a wrong quality factor trips an assertion on the device, a pixel that is not
a number counts as 0.
"""

import torch

from .checks import MAX_VALUES
from .jpeg_tables import quantisation_tables, scaled_tables
from .options import ROUNDINGS, SUBSAMPLING_FACTORS, padded_size

__all__ = ["check_images", "check_pixels", "check_simulate", "rounded_tables_for", "tables_for"]

_BAD_QUALITY = "qf must lie between 1 and 100"


def check_images(images: torch.Tensor, subsampling: str) -> None:
    """Refuse what is not a batch of RGB images.

    Raises:
        ValueError: the message names the argument.
    """
    if not isinstance(images, torch.Tensor):
        raise ValueError(f"images must be a tensor Bx3xHxW, not {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images must be Bx3xHxW and not empty, not {tuple(images.shape)}")
    if subsampling not in SUBSAMPLING_FACTORS:
        choices = list(SUBSAMPLING_FACTORS)
        raise ValueError(f"subsampling must be one of {choices}, not {subsampling!r}")
    height, width = padded_size(images.shape[2], images.shape[3], subsampling)
    if 3 * height * width > MAX_VALUES:
        raise ValueError(
            f"images are too large: padded to whole MCUs, an image has at most {MAX_VALUES} values"
        )


def check_pixels(images: torch.Tensor, subsampling: str) -> None:
    """Refuse what is not a batch of 8-bit RGB images.

    Raises:
        ValueError: the message names the argument.
    """
    check_images(images, subsampling)
    if images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (0 to 255), not {images.dtype}")


def check_simulate(images: torch.Tensor, subsampling: str, rounding: str) -> None:
    """Refuse what is not a batch of finite, floating RGB images.

    Raises:
        ValueError: the message names the argument.
    """
    check_images(images, subsampling)
    if not images.is_floating_point():
        raise ValueError(f"images must be floating, in [0, 1], not {images.dtype}")
    if not images.is_cuda and not bool(images.isfinite().all()):
        raise ValueError("images must be finite; some values are infinite or not a number")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {list(ROUNDINGS)}, not {rounding!r}")


def _require(condition: torch.Tensor, message: str) -> None:
    if condition.is_cuda:
        torch._assert_async(condition if condition.numel() == 1 else condition.all(), message)
    elif not bool(condition.all()):
        raise ValueError(message)


def tables_for(
    images: torch.Tensor, qf: torch.Tensor | float | None, tables: torch.Tensor | None
) -> torch.Tensor:
    """The quantisation tables of each image.

    Args:
        images: Bx3xHxW.
        qf: quality factors, B or one, 1 to 100.
        tables: explicit tables, Bx2x8x8 or 1x2x8x8, 1 to 255, in place of ``qf``.

    Returns:
        Tables, Bx2x8x8, float, on the device of ``images``; float64 if these are.

    Raises:
        ValueError: an argument is out of range or of a wrong shape; the message names it.
    """
    batch = images.shape[0]
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    if tables is not None:
        if tables.shape[1:] != (2, 8, 8) or tables.shape[0] not in (1, batch):
            raise ValueError(f"tables must be {batch}x2x8x8, not {tuple(tables.shape)}")
        _require((tables >= 1) & (tables <= 255), "tables must hold values from 1 to 255")
        return tables.to(images.device, dtype).expand(batch, -1, -1, -1)
    quality = _quality_for(images, qf)
    _require((quality >= 1) & (quality <= 100), _BAD_QUALITY)
    return quantisation_tables(quality.to(images.device, non_blocking=True)).expand(
        batch, -1, -1, -1
    )


def rounded_tables_for(images: torch.Tensor, qf: torch.Tensor | float | None) -> torch.Tensor:
    """:func:`tables_for` quality factors by one Triton kernel, float32 and without a gradient.

    Those of float64 images are scaled in float64, by PyTorch.
    """
    quality = _quality_for(images, qf).detach()
    if quality.dtype == torch.float64:
        return tables_for(images, quality, None).float().contiguous()
    if not quality.is_cuda:
        _require((quality >= 1) & (quality <= 100), _BAD_QUALITY)
    tables, valid = scaled_tables(quality.to(images.device, non_blocking=True), images.shape[0])
    if quality.is_cuda:
        _require(valid, _BAD_QUALITY)
    return tables


def _quality_for(images: torch.Tensor, qf: torch.Tensor | float | None) -> torch.Tensor:
    """The quality factors of images, B or 1, float32 or float64; their values are not checked.

    Raises:
        ValueError: ``qf`` is missing or of a wrong shape.
    """
    if qf is None:
        raise ValueError("qf is missing: give a quality factor or tables")
    batch = images.shape[0]
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    quality = torch.as_tensor(qf, dtype=dtype).reshape(-1)
    if quality.numel() not in (1, batch):
        raise ValueError(f"qf has {quality.numel()} values for a batch of {batch}")
    return quality
