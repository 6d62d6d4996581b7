"""The stages of the codec one by one, under the names and signatures of their references.

The codec itself fuses them; these are for whoever needs one alone, and for holding each against
its twin. Integers go through libjpeg-turbo's fixed-point arithmetic, floating values through the
smooth maps. The kernels have no gradient: ``impl="auto"`` takes PyTorch where one is needed.
"""

from __future__ import annotations

from typing import Any

import torch

from . import reference
from .aot import Launch
from .color import chroma_of, luma_of, rgb_of
from .dct import dct8, idct8, load8, store8, transpose8
from .dispatch import Impl, KernelUnavailable, launch, resolve
from .language import HAS_TRITON, jit, tl
from .options import SUBSAMPLING_FACTORS, Rounding, Subsampling, Upsampling
from .quantize import exact_level, smooth_level
from .reference.jpeg import draw_seed

__all__ = [
    "LAUNCHES",
    "dct_blocks",
    "downsample",
    "idct_blocks",
    "quantise",
    "rgb_to_ycbcr",
    "upsample",
    "ycbcr_to_rgb",
]

_THREADS = 128


@jit
def color_kernel(
    source,  # B x 3 x H W: uint8 or int32, or fp32 or bf16 on the 0-255 scale
    out,  # B x 3 x H W: int32, or the type of source
    area,
    N: tl.constexpr,
    FORWARD: tl.constexpr,  # RGB to YCbCr, else back
):
    """Convert the colour of pixels; a thread owns one."""
    image = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * N + tl.arange(0, N)
    mask = place < area
    source += image * 3 * area + place
    out += image * 3 * area + place
    FIXED: tl.constexpr = source.dtype.element_ty.is_int()
    KIND: tl.constexpr = tl.int32 if FIXED else tl.float32
    a = tl.load(source, mask=mask, other=0).to(KIND)
    b = tl.load(source + area, mask=mask, other=0).to(KIND)
    c = tl.load(source + 2 * area, mask=mask, other=0).to(KIND)
    if FORWARD:
        if FIXED:
            x, y, z = luma_of(a, b, c), chroma_of(a, b, c, 0), chroma_of(a, b, c, 1)
        else:
            x = 0.299 * a + 0.587 * b + 0.114 * c
            y = -0.168735892 * a - 0.331264108 * b + 0.5 * c + 128.0
            z = 0.5 * a - 0.418687589 * b - 0.081312411 * c + 128.0
    else:
        x, y, z = rgb_of(a, b - 128, c - 128, FIXED)
    OUT: tl.constexpr = out.dtype.element_ty
    tl.store(out, x.to(OUT), mask=mask)
    tl.store(out + area, y.to(OUT), mask=mask)
    tl.store(out + 2 * area, z.to(OUT), mask=mask)


@jit
def downsample_kernel(
    plane,  # B x H x W, int32 or fp32
    out,  # B x H/DY x W/2, of the same type
    cells,  # in one image
    cells_x,
    N: tl.constexpr,
    DY: tl.constexpr,
):
    """Take the mean of chroma cells; a thread owns one."""
    image = tl.program_id(1).to(tl.int64)
    cell = tl.program_id(0) * N + tl.arange(0, N)
    mask = cell < cells
    y, x = cell // cells_x, cell % cells_x
    pointers = plane + image * cells * (2 * DY) + y * DY * (2 * cells_x) + 2 * x
    total = tl.load(pointers, mask=mask, other=0) + tl.load(pointers + 1, mask=mask, other=0)
    if DY == 2:
        pointers += 2 * cells_x
        total += tl.load(pointers, mask=mask, other=0)
        total += tl.load(pointers + 1, mask=mask, other=0)
    if plane.dtype.element_ty.is_int():
        total = (total + (DY - 1) + x % 2) >> DY
    else:
        total *= 1.0 / (2 * DY)
    tl.store(out + image * cells + cell, total, mask=mask)


@jit
def upsample_kernel(
    plane,  # B x h x w, int32 or fp32
    out,  # B x h DY x 2w, of the same type
    rows,  # h
    cols,  # w
    N: tl.constexpr,
    DY: tl.constexpr,
    TRIANGLE: tl.constexpr,
):
    """Bring a chroma plane back to full size; a thread owns a pixel of the result."""
    FIXED: tl.constexpr = plane.dtype.element_ty.is_int()
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * N + tl.arange(0, N)
    width = 2 * cols
    mask = pixel < rows * DY * width
    y, x = pixel // width, pixel % width
    plane += image * rows * cols
    near = plane + y // DY * cols
    value = tl.load(near + x // 2, mask=mask, other=0)
    if TRIANGLE:
        beside = tl.minimum(tl.maximum(x // 2 + x % 2 * 2 - 1, 0), cols - 1)
        value = 3 * value + tl.load(near + beside, mask=mask, other=0)
        if DY == 2:
            far = plane + tl.minimum(tl.maximum(y // 2 + y % 2 * 2 - 1, 0), rows - 1) * cols
            other = 3 * tl.load(far + x // 2, mask=mask, other=0)
            value = 3 * value + other + tl.load(far + beside, mask=mask, other=0)
            value = (value + 8 - x % 2) >> 4 if FIXED else value * 0.0625
        else:
            value = (value + 1 + x % 2) >> 2 if FIXED else value * 0.25
    tl.store(out + image * rows * DY * width + pixel, value, mask=mask)


@jit
def dct_kernel(
    blocks,  # M x 8 x 8, int32 or fp32
    out,  # M x 8 x 8, of the same type
    count,  # M
    N: tl.constexpr,
    INVERSE: tl.constexpr,
):
    """Transform blocks; eight threads own one."""
    FIXED: tl.constexpr = blocks.dtype.element_ty.is_int()
    line = tl.program_id(0) * N + tl.arange(0, N)
    mask = line < count * 8
    x = load8(blocks + line.to(tl.int64) * 8, mask, 4)
    if INVERSE:
        x = idct8(transpose8(idct8(transpose8(x), True, FIXED)), False, FIXED)
    else:
        x = transpose8(dct8(transpose8(dct8(x, True, FIXED)), False, FIXED))
    store8(out + line.to(tl.int64) * 8, x, mask, 4)


@jit
def quantise_kernel(
    coefficients,  # n values, int32 in eighths or fp32 in whole units
    steps,  # n values, fp32
    out,  # n values, of the type of coefficients
    count,  # n
    seed,
    N: tl.constexpr,
    ROUNDING: tl.constexpr,
):
    """Divide coefficients by their steps and round."""
    place = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    mask = place < count
    c = tl.load(coefficients + place, mask=mask, other=0)
    step = tl.load(steps + place, mask=mask, other=1)
    if coefficients.dtype.element_ty.is_int():
        level = exact_level(c, step)
    else:
        level = smooth_level(tl.div_rn(c, step), place.to(tl.int32), seed, ROUNDING)
    tl.store(out + place, level, mask=mask)


def _choose(op: str, impl: Impl, tensor: torch.Tensor, *others: torch.Tensor) -> bool:
    """Whether the kernel runs; it has no gradient, and is made for 8, 16 and 32 bits."""
    needs_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (tensor, *others))
    if needs_grad or tensor.dtype == torch.float64:
        if impl == "triton":
            lacks = "gradient" if needs_grad else "float64"
            raise KernelUnavailable(f'{op}: impl="triton" has no {lacks}: take impl="torch"')
        return False
    return resolve(op, impl, tensor.device) == "triton"


def _grid(count: int, batch: int = 1) -> tuple[int, int]:
    return -(-count // _THREADS), batch


def _convert(source: torch.Tensor, forward: bool) -> torch.Tensor:
    source = source.contiguous()
    kind = source.dtype if source.is_floating_point() else torch.int32
    out = torch.empty(source.shape, dtype=kind, device=source.device)
    area = source.shape[-2] * source.shape[-1]
    grid = _grid(area, len(source))
    launch(color_kernel, grid, source, out, area, N=_THREADS, FORWARD=forward)
    return out


def rgb_to_ycbcr(rgb: torch.Tensor, impl: Impl = "auto") -> torch.Tensor:
    """Convert RGB, Bx3xHxW 0-255, see :func:`.reference.rgb_to_ycbcr`."""
    if not _choose("rgb_to_ycbcr", impl, rgb):
        return reference.rgb_to_ycbcr(rgb)
    return _convert(rgb, True)


def ycbcr_to_rgb(ycbcr: torch.Tensor, impl: Impl = "auto") -> torch.Tensor:
    """Convert YCbCr, Bx3xHxW 0-255, unclipped, see :func:`.reference.ycbcr_to_rgb`."""
    if not _choose("ycbcr_to_rgb", impl, ycbcr):
        return reference.ycbcr_to_rgb(ycbcr)
    return _convert(ycbcr, False)


def downsample(plane: torch.Tensor, subsampling: Subsampling, impl: Impl = "auto") -> torch.Tensor:
    """Take the mean of chroma cells, BxHxW, see :func:`.reference.downsample`."""
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    if down_x == 1 or not _choose("downsample", impl, plane):
        return reference.downsample(plane, subsampling)
    plane = plane.contiguous()
    rows, cols = plane.shape[-2] // down_y, plane.shape[-1] // 2
    out = torch.empty((len(plane), rows, cols), dtype=plane.dtype, device=plane.device)
    cells = rows * cols
    grid = _grid(cells, len(plane))
    launch(downsample_kernel, grid, plane, out, cells, cols, N=_THREADS, DY=down_y)
    return out


def upsample(
    plane: torch.Tensor,
    subsampling: Subsampling,
    upsampling: Upsampling = "triangle",
    impl: Impl = "auto",
) -> torch.Tensor:
    """Bring a chroma plane, Bxhxw, back to full size, see :func:`.reference.upsample`."""
    down_y, down_x = SUBSAMPLING_FACTORS[subsampling]
    if down_x == 1 or not _choose("upsample", impl, plane):
        return reference.upsample(plane, subsampling, upsampling)
    plane = plane.contiguous()
    batch, rows, cols = plane.shape
    out = torch.empty((batch, rows * down_y, cols * 2), dtype=plane.dtype, device=plane.device)
    launch(
        upsample_kernel, _grid(out[0].numel(), batch), plane, out, rows, cols,
        N=_THREADS, DY=down_y, TRIANGLE=upsampling == "triangle",
    )  # fmt: skip
    return out


def _transform(blocks: torch.Tensor, inverse: bool) -> torch.Tensor:
    blocks = blocks.contiguous()
    out = torch.empty_like(blocks)
    count = blocks.numel() // 64
    launch(dct_kernel, _grid(count * 8), blocks, out, count, N=_THREADS, INVERSE=inverse)
    return out


def dct_blocks(blocks: torch.Tensor, impl: Impl = "auto") -> torch.Tensor:
    """Transform blocks of samples, ...x8x8, see :func:`.reference.dct_blocks`."""
    if not _choose("dct_blocks", impl, blocks):
        return reference.dct_blocks(blocks)
    return _transform(blocks, False)


def idct_blocks(coefficients: torch.Tensor, impl: Impl = "auto") -> torch.Tensor:
    """Transform coefficients, ...x8x8, back, see :func:`.reference.idct_blocks`."""
    if not _choose("idct_blocks", impl, coefficients):
        return reference.idct_blocks(coefficients)
    return _transform(coefficients, True)


def quantise(
    coefficients: torch.Tensor,
    table: torch.Tensor,
    rounding: Rounding = "ste",
    impl: Impl = "auto",
) -> torch.Tensor:
    """Divide coefficients by their steps and round, see :func:`.reference.quantise`."""
    if not _choose("quantise", impl, coefficients, table):
        return reference.quantise(coefficients, table, rounding)
    coefficients = coefficients.contiguous()
    steps = table.float().expand_as(coefficients).contiguous()
    out = torch.empty_like(coefficients)
    count = coefficients.numel()
    mode = "nearest" if rounding in ("hard", "ste") else rounding
    seed = draw_seed() if rounding == "noise" else 0
    launch(
        quantise_kernel, _grid(count), coefficients, steps, out, count, seed,
        N=_THREADS, ROUNDING=mode,
    )  # fmt: skip
    return out


def _launch(kernel: Any, kind: str, **constants: Any) -> Launch:
    """A kernel for int32 or fp32, in Triton's words."""
    types = dict.fromkeys(kernel.arg_names, "i32")
    pointers = ("source", "plane", "blocks", "coefficients", "out")
    types |= dict.fromkeys(pointers, kind) | {"steps": "*fp32"}
    return Launch(kernel, types, {"N": _THREADS, **constants}, {"num_warps": 4})


def _launches() -> dict[str, Launch]:
    """The kernels for whole and for floating values."""
    found = {}
    for name, kind in (("int32", "*i32"), ("fp32", "*fp32")):
        found |= {
            f"rgb_to_ycbcr_{name}": _launch(color_kernel, kind, FORWARD=True),
            f"downsample_{name}": _launch(downsample_kernel, kind, DY=2),
            f"upsample_{name}": _launch(upsample_kernel, kind, DY=2, TRIANGLE=True),
            f"dct_{name}": _launch(dct_kernel, kind, INVERSE=False),
            f"quantise_{name}": _launch(quantise_kernel, kind, ROUNDING="soft"),
        }
    return found


LAUNCHES = _launches() if HAS_TRITON else {}
