"""Adding a residual to an image at native size, on the device: ``residual_merge``.

With the triangle filters U and V of both axes, a residual R and a strength in dB,

    out = clip(round(image + gain U R V^T)),   gain = 255 10^(-psnr_db / 20) / rms(U R V^T)

The power needs no pass at native size: |U R V^T|^2 = <(U^T U) R, R (V^T V)>, and both Gram
matrices are narrow bands. The merge is then one pass over the image. Sums go by block, in a fixed
order; those of the squared errors are integers and exact.
"""

from __future__ import annotations

import math

import torch

from . import reference
from .aot import Launch
from .checks import check_frame, check_image, same_device
from .dispatch import Impl, launch, resolve
from .filters import bilinear, bilinear_gram
from .language import jit, tl
from .reference.merge import psnr_of_mse
from .rounding import round_half_even

__all__ = ["LAUNCHES", "residual_merge"]

_ROWS, _COLS = 4, 128
_BLOCK = 512
_EXACT = {"enable_fp_fusion": False}  # a product is rounded before it is added, as on the CPU
# What differs from picture to picture: one machine code for all, see language.ANY_SIZE.
_ANY_POWER = ("bands_y", "bands_x")
_ANY_MERGE = ("height", "width", "taps_y", "taps_x")


@jit(do_not_specialize=_ANY_POWER)
def _power_kernel(
    residual,  # 3xSxS float32
    gram_y,  # (2 RY + 1)xS float32
    gram_x,  # (2 RX + 1)xS float32
    partial,  # programs float32
    size,  # S
    bands_y,  # 2 RY + 1
    bands_x,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    x = tl.program_id(1) * COLS + tl.arange(0, COLS)[None, :]
    y = row % size
    inside = (row < 3 * size) & (x < size)
    down = tl.zeros((ROWS, COLS), tl.float32)
    for band in range(bands_y):
        step = band - bands_y // 2
        weight = tl.load(gram_y + band * size + y, mask=row < 3 * size, other=0.0)
        valid = inside & (y + step >= 0) & (y + step < size)
        down += weight * tl.load(residual + (row + step) * size + x, mask=valid, other=0.0)
    across = tl.zeros((ROWS, COLS), tl.float32)
    for band in range(bands_x):
        step = band - bands_x // 2
        weight = tl.load(gram_x + band * size + x, mask=x < size, other=0.0)
        valid = inside & (x + step >= 0) & (x + step < size)
        across += weight * tl.load(residual + row * size + x + step, mask=valid, other=0.0)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    tl.store(partial + program, tl.sum(down * across))


@jit(do_not_specialize=_ANY_MERGE)
def _merge_kernel(
    image,  # HxWx3 uint8
    residual,  # 3xSxS float32
    gain,  # 1 float32
    starts_y,  # H int32
    weights_y,  # TYxH float32
    starts_x,  # W int32
    weights_x,  # TXxW float32
    out,  # HxWx3 uint8
    errors,  # programs int32
    height,
    width,
    size,  # S
    taps_y,
    taps_x,
    BLOCK: tl.constexpr,
):
    y = tl.program_id(0).to(tl.int64)
    index = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = index < width * 3
    x = index // 3
    plane = residual + (index % 3) * size * size
    start_y = tl.load(starts_y + y)
    start_x = tl.load(starts_x + x, mask=inside, other=0)
    total = tl.zeros((BLOCK,), tl.float32)
    for tap_y in range(taps_y):
        at_y = tl.minimum(start_y + tap_y, size - 1)
        across = tl.zeros((BLOCK,), tl.float32)
        for tap_x in range(taps_x):
            weight = tl.load(weights_x + tap_x * width + x, mask=inside, other=0.0)
            at_x = tl.minimum(start_x + tap_x, size - 1)
            across += weight * tl.load(plane + at_y * size + at_x, mask=inside, other=0.0)
        total += tl.load(weights_y + tap_y * height + y) * across
    level = tl.load(image + y * width * 3 + index, mask=inside, other=0).to(tl.int32)
    merged = level.to(tl.float32) + tl.load(gain) * total
    merged = round_half_even(tl.minimum(tl.maximum(merged, 0.0), 255.0)).to(tl.int32)
    tl.store(out + y * width * 3 + index, merged.to(tl.uint8), mask=inside)
    error = tl.where(inside, merged - level, 0)
    tl.store(errors + y * tl.num_programs(1) + tl.program_id(1), tl.sum(error * error))


def _launch_power(residual: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sum of the squares of a residual as resized to height x width, float64, on its device."""
    size = residual.shape[-1]
    gram_y = bilinear_gram(size, height, residual.device)
    gram_x = bilinear_gram(size, width, residual.device)
    grid = (-(-3 * size // _ROWS), -(-size // _COLS))
    partial = torch.empty(grid, dtype=torch.float32, device=residual.device)
    bands = len(gram_y), len(gram_x)
    launch(
        _power_kernel, grid, residual, gram_y, gram_x, partial, size, *bands, ROWS=_ROWS, COLS=_COLS
    )
    return partial.sum(dtype=torch.float64)


def _launch_merge(
    image: torch.Tensor, residual: torch.Tensor, psnr_db: float
) -> tuple[torch.Tensor, float]:
    image, residual = image.contiguous(), residual.contiguous()
    height, width = image.shape[:2]
    size = residual.shape[-1]
    power = _launch_power(residual, height, width)
    gain = (255.0 * 10.0 ** (-psnr_db / 20.0) / (power / image.numel()).sqrt()).float()
    table_y = bilinear(size, height, image.device)
    table_x = bilinear(size, width, image.device)
    out = torch.empty_like(image)
    grid = (height, -(-3 * width // _BLOCK))
    errors = torch.empty(grid, dtype=torch.int32, device=image.device)
    launch(
        _merge_kernel,
        grid,
        image,
        residual,
        gain,
        *table_y,
        *table_x,
        out,
        errors,
        height,
        width,
        size,
        len(table_y.weights),
        len(table_x.weights),
        BLOCK=_BLOCK,
        **_EXACT,
    )
    found, error = torch.stack([power, errors.sum().double()]).tolist()  # waits, once
    if not (math.isfinite(found) and found > 0):
        raise ValueError("residual must be finite and not all zero")
    return out, psnr_of_mse(error / image.numel())


def residual_merge(
    image: torch.Tensor, residual: torch.Tensor, psnr_db: float, impl: Impl = "auto"
) -> tuple[torch.Tensor, float]:
    """Add a residual to an image so that its PSNR is what was asked for.

    The residual is resized with Pillow's antialiased bilinear filter. Both implementations and
    the CPU pipeline agree but for ties in the rounding: values that differ, by one level, are
    fewer than one in 10,000.

    Args:
        image: the original, HxWx3 uint8 RGB, of any size.
        residual: 3xSxS float32, from the protect network, of any strength but zero.
        psnr_db: strength of the residual at native size, before clipping and rounding.
        impl: see :func:`clr_infer.kernels.resolve`.

    Returns:
        The protected image, HxWx3 uint8, and its measured PSNR in dB, at most 100.

    Raises:
        ValueError: an argument cannot be used; the message names it.
        KernelUnavailable: ``impl`` cannot run here.
    """
    check_image("image", image)
    check_frame("residual", residual)
    same_device("residual", residual, "image", image)
    if not math.isfinite(psnr_db):
        raise ValueError(f"psnr_db must be finite, not {psnr_db}")
    if resolve("residual_merge", impl, image.device) == "torch":
        return reference.residual_merge(image, residual, psnr_db)
    return _launch_merge(image, residual, psnr_db)


LAUNCHES = {
    "power": Launch(
        _power_kernel,
        {
            **dict.fromkeys(("residual", "gram_y", "gram_x", "partial"), "*fp32"),
            **dict.fromkeys(("size", *_ANY_POWER), "i32"),
        },
        {"ROWS": _ROWS, "COLS": _COLS},
    ),
    "merge": Launch(
        _merge_kernel,
        {
            **dict.fromkeys(("image", "out"), "*u8"),
            **dict.fromkeys(("residual", "gain", "weights_y", "weights_x"), "*fp32"),
            **dict.fromkeys(("starts_y", "starts_x", "errors"), "*i32"),
            **dict.fromkeys(("size", *_ANY_MERGE), "i32"),
        },
        {"BLOCK": _BLOCK},
        _EXACT,
    ),
}
