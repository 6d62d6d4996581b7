"""The codec of planes: RGB to decoded luma and chroma, and the way back of soft rounding.

A thread owns eight samples of one row of a block. It loads them, converts their colour (chroma:
the mean of the cells below them), transforms its row, swaps with the seven other threads of the
block, transforms a column, quantises, and goes the same way back: two transposes and no other
movement between one load and one store. The luma blocks of an MCU are a loop, its two chroma
blocks another, which finds the pixels in the cache.

The way back of soft rounding codes the pixels again, weighs the DCT of the arriving gradient with
the slope of the rounding, and transforms it back: DCT and IDCT are each other's adjoint. (With the
straight-through estimator that weight is one, both cancel, and nothing here is needed.)
"""

from __future__ import annotations

from typing import Any

from .aot import Launch
from .color import chroma_of, clip, from_level, luma_of, mark, rgb_of, to_pixel
from .dct import dct8, idct8, join8, load8, store8, transpose8
from .language import ANY_SIZE, HAS_TRITON, jit, tl
from .quantize import requantise, soft_parts

__all__ = ["LAUNCHES", "codec_backward_kernel", "codec_kernel", "codec_rgb_kernel"]


@jit
def _luma_row(pointers, area, mask, WIDE: tl.constexpr):
    """Load eight pixels of each thread: Y around 0, int32."""
    r = load8(pointers, mask, WIDE)
    g = load8(pointers + area, mask, WIDE)
    b = load8(pointers + 2 * area, mask, WIDE)
    return [
        luma_of(to_pixel(r[i]), to_pixel(g[i]), to_pixel(b[i])) - 128
        for i in (0, 1, 2, 3, 4, 5, 6, 7)
    ]


@jit
def _chroma_row(pointers, area, component, mask, WIDE: tl.constexpr):
    """Load eight pixels of each thread: Cb (component 0) or Cr (1) around 128, int32."""
    r = load8(pointers, mask, WIDE)
    g = load8(pointers + area, mask, WIDE)
    b = load8(pointers + 2 * area, mask, WIDE)
    return [
        chroma_of(to_pixel(r[i]), to_pixel(g[i]), to_pixel(b[i]), component)
        for i in (0, 1, 2, 3, 4, 5, 6, 7)
    ]


@jit
def _chroma_cells(
    pointers, below, area, component, mask, DY: tl.constexpr, DX: tl.constexpr, WIDE: tl.constexpr
):
    """The means of eight neighbouring cells around 0, int32; ``below`` is one row further down."""
    if DX == 1:
        row = _chroma_row(pointers, area, component, mask, WIDE)
        return [value - 128 for value in row]
    else:
        left = _chroma_row(pointers, area, component, mask, WIDE)
        right = _chroma_row(pointers + 8, area, component, mask, WIDE)
        sums = [left[i] + left[i + 1] for i in (0, 2, 4, 6)]
        sums = sums + [right[i] + right[i + 1] for i in (0, 2, 4, 6)]
        if DY == 2:
            left = _chroma_row(pointers + below, area, component, mask, WIDE)
            right = _chroma_row(pointers + below + 8, area, component, mask, WIDE)
            under = [left[i] + left[i + 1] for i in (0, 2, 4, 6)]
            under = under + [right[i] + right[i + 1] for i in (0, 2, 4, 6)]
            sums = [sums[i] + under[i] for i in (0, 1, 2, 3, 4, 5, 6, 7)]
        # libjpeg's bias alternates from column to column: 1, 2 of 4 or 0, 1 of 2
        return [((sums[i] + (DY - 1) + i % 2) >> DY) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]


@jit
def _steps(tables, lane):
    """The steps of a thread's column, eight fp32 [N]; ``tables`` points to one table, 8x8."""
    return [tl.load(tables + 8 * i + lane % 8) for i in (0, 1, 2, 3, 4, 5, 6, 7)]


@jit
def _coefficients(x):
    """Rows of samples, int32, to columns of coefficients in eighths."""
    return dct8(transpose8(dct8(x, True, True)), False, True)


@jit
def _code(x, steps, index, stride, seed, ROUNDING: tl.constexpr):
    """Rows of samples around 0, int32, to decoded samples around 0, not yet clipped.

    ``index`` is the place of a column's first coefficient among the random numbers, ``stride``
    the distance of the others.
    """
    FIXED: tl.constexpr = ROUNDING == "exact"
    c = _coefficients(x)
    c = [
        requantise(c[i], steps[i], index + i * stride, seed, ROUNDING)
        for i in (0, 1, 2, 3, 4, 5, 6, 7)
    ]
    return idct8(transpose8(idct8(c, True, FIXED)), False, FIXED)


@jit
def _store_samples(pointers, x, mask, WIDE: tl.constexpr):
    """Store samples around 0 as planes hold them.

    uint8 planes are clipped; int16 planes keep what was outside 0-255 as -1 or 256; fp32 planes
    keep everything.
    """
    KIND: tl.constexpr = pointers.dtype.element_ty
    if KIND == tl.uint8:
        x = [tl.minimum(tl.maximum(value + 128, 0), 255).to(tl.uint8) for value in x]
    elif KIND == tl.int16:
        x = [tl.minimum(tl.maximum(value + 128, -1), 256).to(tl.int16) for value in x]
    else:
        x = [value + 128.0 for value in x]
    store8(pointers, x, mask, WIDE)


@jit(do_not_specialize=ANY_SIZE)
def codec_kernel(
    images,  # B x 3 x H x W, uint8 or floating in [0, 1]; W a multiple of 16
    tables,  # B x 2 x 8 x 8, fp32
    luma,  # B x P x W, uint8, int16 or fp32; P is H rounded up to whole MCUs
    chroma,  # B x 2 x P/DY x W/DX, of the type of luma
    height,
    width,
    seed,
    N: tl.constexpr,  # threads: eight for each MCU
    DY: tl.constexpr,
    DX: tl.constexpr,
    ROUNDING: tl.constexpr,
    WIDE: tl.constexpr,  # elements of images that fit 16 bytes, see load8
    WIDE_OUT: tl.constexpr,  # of luma and chroma
):
    """Code every plane: program (i, b) codes MCUs ``N/8 i`` onwards of image ``b``."""
    image = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, N)
    mcu = tl.program_id(0) * (N // 8) + lane // 8
    mcus_x = width // (8 * DX)
    mcus_y = tl.cdiv(height, 8 * DY)
    mask = mcu < mcus_x * mcus_y
    mcu_y, mcu_x = mcu // mcus_x, mcu % mcus_x
    area, room = height * width, mcus_y * (8 * DY) * width
    images += image * 3 * area
    tables += image * 128

    steps = _steps(tables, lane)
    for k in range(DY * DX):
        y = (mcu_y * DY + k // DX) * 8
        x = (mcu_x * DX + k % DX) * 8
        row = tl.minimum(y + lane % 8, height - 1)
        samples = _luma_row(images + row * width + x, area, mask, WIDE)
        index = (image * 3 * room).to(tl.int32) + y * width + x + lane % 8
        samples = _code(samples, steps, index, width, seed, ROUNDING)
        pointers = luma + image * room + (y + lane % 8) * width + x
        _store_samples(pointers, samples, mask, WIDE_OUT)

    steps = _steps(tables + 64, lane)
    width_c, room_c = width // DX, room // (DY * DX)
    row = tl.minimum(mcu_y * 8 + lane % 8, tl.cdiv(height, DY) - 1) * DY
    below = (tl.minimum(row + 1, height - 1) - row) * width
    for k in range(2):
        samples = _chroma_cells(
            images + row * width + mcu_x * (8 * DX), below, area, k, mask, DY, DX, WIDE
        )
        x = mcu_x * 8
        index = ((image * 3 + 1 + k) * room).to(tl.int32) + mcu_y * 8 * width_c + x + lane % 8
        samples = _code(samples, steps, index, width_c, seed, ROUNDING)
        pointers = chroma + (image * 2 + k) * room_c + (mcu_y * 8 + lane % 8) * width_c + x
        _store_samples(pointers, samples, mask, WIDE_OUT)


@jit(do_not_specialize=ANY_SIZE)
def codec_rgb_kernel(
    images,  # B x 3 x H x W, uint8 or floating in [0, 1]; W a multiple of 16
    tables,  # B x 2 x 8 x 8, fp32
    out,  # B x 3 x H x W, of the type of images
    inside,  # B x H x W, uint8; see subsample
    height,
    width,
    seed,
    N: tl.constexpr,
    ROUNDING: tl.constexpr,
    MARK: tl.constexpr,  # whether to write inside
    WIDE: tl.constexpr,
):
    """4:4:4 in one pass: nothing but the images is read and nothing but the result written."""
    FIXED: tl.constexpr = ROUNDING == "exact"
    image = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, N)
    block = tl.program_id(0) * (N // 8) + lane // 8
    blocks_x = width // 8
    blocks_y = tl.cdiv(height, 8)
    x, y = block % blocks_x * 8, block // blocks_x * 8
    row = y + lane % 8
    mask = block < blocks_x * blocks_y
    area, room = height * width, blocks_y * 8 * width
    place = tl.minimum(row, height - 1) * width + x
    images += image * 3 * area
    tables += image * 128
    r = [to_pixel(value) for value in load8(images + place, mask, WIDE)]
    g = [to_pixel(value) for value in load8(images + area + place, mask, WIDE)]
    b = [to_pixel(value) for value in load8(images + 2 * area + place, mask, WIDE)]

    index = (image * 3 * room).to(tl.int32) + y * width + x + lane % 8
    luma = [luma_of(r[i], g[i], b[i]) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    luma = _code(luma, _steps(tables, lane), index, width, seed, ROUNDING)
    steps = _steps(tables + 64, lane)
    cb = [chroma_of(r[i], g[i], b[i], 0) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    cb = _code(cb, steps, index + room, width, seed, ROUNDING)
    cr = [chroma_of(r[i], g[i], b[i], 1) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    cr = _code(cr, steps, index + 2 * room, width, seed, ROUNDING)

    mask &= row < height
    rgb = [
        rgb_of(clip(luma[i] + 128), clip(cb[i] + 128) - 128, clip(cr[i] + 128) - 128, FIXED)
        for i in (0, 1, 2, 3, 4, 5, 6, 7)
    ]
    if MARK:
        marks = [
            (mark(rgb[i][0], 0) | mark(rgb[i][1], 1) | mark(rgb[i][2], 2)
             | mark(luma[i] + 128, 3) | mark(cb[i] + 128, 4) | mark(cr[i] + 128, 5)).to(tl.uint8)
            for i in (0, 1, 2, 3, 4, 5, 6, 7)
        ]  # fmt: skip
        store8(inside + image * area + row * width + x, marks, mask, 8)
    out += image * 3 * area + row * width + x
    KIND: tl.constexpr = out.dtype.element_ty
    store8(out, [from_level(value[0], KIND) for value in rgb], mask, WIDE)
    store8(out + area, [from_level(value[1], KIND) for value in rgb], mask, WIDE)
    store8(out + 2 * area, [from_level(value[2], KIND) for value in rgb], mask, WIDE)


@jit
def _gradient_block(samples, pointers, steps, partial, lane, live, mask, TABLES: tl.constexpr):
    """Send the gradient of one decoded block, in place, through soft rounding."""
    c = _coefficients(samples)
    gradient = load8(pointers, live, 4)
    gradient = dct8(transpose8(dct8(gradient, True, False)), False, False)
    parts = [soft_parts(c[i], steps[i]) for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    if TABLES:
        N: tl.constexpr = lane.shape[0]
        terms = [tl.where(mask, gradient[i] * parts[i][1], 0.0) for i in (0, 1, 2, 3, 4, 5, 6, 7)]
        totals = tl.sum(tl.reshape(join8(terms), (N // 8, 8, 8)), axis=0)
        transposed = 8 * tl.arange(0, 8)[None, :] + tl.arange(0, 8)[:, None]
        tl.store(partial + transposed, totals)
    gradient = [gradient[i] * parts[i][0] for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    gradient = idct8(transpose8(idct8(gradient, True, False)), False, False)
    store8(pointers, gradient, mask, 4)


@jit(do_not_specialize=ANY_SIZE)
def codec_backward_kernel(
    images,  # B x 3 x H x W, floating in [0, 1]; W a multiple of 16
    tables,  # B x 2 x 8 x 8, fp32
    luma,  # B x P x W, fp32: gradient, of the decoded samples on entry, of the coded ones after
    chroma,  # B x 2 x P/DY x W/DX, fp32: likewise
    partials,  # B x programs x (DY DX + 2) x 8 x 8, fp32: this program's share of the tables'
    height,
    width,
    N: tl.constexpr,
    DY: tl.constexpr,
    DX: tl.constexpr,
    TABLES: tl.constexpr,  # whether to write partials
    WIDE: tl.constexpr,
):
    """Soft rounding's way back; the programs are those of :func:`codec_kernel`."""
    image = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, N)
    mcu = tl.program_id(0) * (N // 8) + lane // 8
    mcus_x = width // (8 * DX)
    mcus_y = tl.cdiv(height, 8 * DY)
    mask = mcu < mcus_x * mcus_y
    mcu_y, mcu_x = mcu // mcus_x, mcu % mcus_x
    area, room = height * width, mcus_y * (8 * DY) * width
    images += image * 3 * area
    tables += image * 128
    partials += (image * tl.num_programs(0) + tl.program_id(0)) * (DY * DX + 2) * 64

    steps = _steps(tables, lane)
    for k in range(DY * DX):
        y = (mcu_y * DY + k // DX) * 8 + lane % 8
        x = (mcu_x * DX + k % DX) * 8
        place = tl.minimum(y, height - 1) * width + x
        samples = _luma_row(images + place, area, mask, WIDE)
        pointers = luma + image * room + y * width + x
        live = mask & (y < height)
        _gradient_block(samples, pointers, steps, partials + k * 64, lane, live, mask, TABLES)

    steps = _steps(tables + 64, lane)
    width_c, room_c = width // DX, room // (DY * DX)
    y = mcu_y * 8 + lane % 8
    row = tl.minimum(y, tl.cdiv(height, DY) - 1) * DY
    below = (tl.minimum(row + 1, height - 1) - row) * width
    live = mask & (y < tl.cdiv(height, DY))
    partials += DY * DX * 64
    for k in range(2):
        samples = _chroma_cells(
            images + row * width + mcu_x * (8 * DX), below, area, k, mask, DY, DX, WIDE
        )
        pointers = chroma + (image * 2 + k) * room_c + y * width_c + mcu_x * 8
        _gradient_block(samples, pointers, steps, partials + k * 64, lane, live, mask, TABLES)


def _launch(kernel: Any, pixels: str, planes: str = "", **constants: Any) -> Launch:
    """A kernel for 128 threads and images of a type, in Triton's words."""
    types = dict.fromkeys(kernel.arg_names, "i32")
    types |= dict.fromkeys(("images", "out"), pixels) | dict.fromkeys(("luma", "chroma"), planes)
    types |= {"tables": "*fp32", "partials": "*fp32", "inside": "*u8"}
    constants |= {"N": 128, "WIDE": 4 if pixels == "*fp32" else 8}
    return Launch(kernel, types, constants, {"num_warps": 4}, ("width",))


def _launches() -> dict[str, Launch]:
    """The kernels as uint8 and fp32 images take them."""
    h2v2 = {"DY": 2, "DX": 2}
    exact = {"ROUNDING": "exact", "WIDE_OUT": 8}
    soft = {"ROUNDING": "soft", "WIDE_OUT": 4}
    return {
        "codec_420_u8": _launch(codec_kernel, "*u8", "*u8", **exact, **h2v2),
        "codec_420_fp32": _launch(codec_kernel, "*fp32", "*i16", **exact, **h2v2),
        "codec_420_soft": _launch(codec_kernel, "*fp32", "*fp32", **soft, **h2v2),
        "codec_444_u8": _launch(codec_rgb_kernel, "*u8", ROUNDING="exact", MARK=False),
        "codec_backward_420": _launch(codec_backward_kernel, "*fp32", "*fp32", TABLES=True, **h2v2),
    }


LAUNCHES = _launches() if HAS_TRITON else {}
