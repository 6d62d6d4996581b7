"""From decoded planes to RGB, and the way back from the gradient of RGB.

Upsampling weighs the nearest chroma sample 3/4 and the next 1/4 along each halved axis
(``"triangle"``) or repeats it. It needs neighbours that other programs decode, so that it has a
kernel of its own behind the codec's; planes pass between them in 8 or 16 bits.

A thread owns four chroma samples in a row and the 8x2 (4:2:0) or 8x1 (4:2:2) pixels above them.

``inside`` holds six bits for each pixel, 1 where a value was not clipped: R, G, B of the result,
and Y, Cb, Cr of the samples beneath. They are all that the way back needs to know of the way
forward: the gradient of a chroma sample gathers from the up to 4x4 pixels that it reached, so that
no two threads write to one place.
"""

from __future__ import annotations

from typing import Any

from .aot import Launch
from .color import clip, from_level, mark, rgb_of
from .dct import load8, store8
from .language import ANY_SIZE, HAS_TRITON, jit, tl

__all__ = ["LAUNCHES", "planes_backward_kernel", "planes_to_rgb_kernel", "rgb_backward_kernel"]


@jit
def _strip(height, width, N: tl.constexpr, DY: tl.constexpr, DX: tl.constexpr):
    """Row of chroma samples, first pixel column, and whether they exist, of each thread, [N]."""
    strip = tl.program_id(0) * N + tl.arange(0, N)
    strips_x = width // 8
    i, x = strip // strips_x, strip % strips_x * 8
    return i, x, i < tl.cdiv(height, DY)


@jit
def _samples(row, j, cells_x, mask, FIXED: tl.constexpr):
    """Four chroma samples of each thread, as stored, and six clipped ones: a neighbour each side.

    Beyond the image the last sample is repeated; what the codec left in its padding is not seen.
    """
    own = tl.load(row[:, None] + j[:, None] + tl.arange(0, 4)[None, :], mask=mask[:, None], other=0)
    own02, own13 = tl.split(tl.reshape(own, (own.shape[0], 2, 2)))
    own0, own2 = tl.split(own02)
    own1, own3 = tl.split(own13)
    left = tl.load(row + tl.maximum(j - 1, 0), mask=mask, other=0)
    right = tl.load(row + tl.minimum(j + 4, cells_x - 1), mask=mask, other=0)
    last = tl.load(row + (cells_x - 1), mask=mask, other=0)
    seen = (
        left,
        own0,
        tl.where(j + 1 < cells_x, own1, last),
        tl.where(j + 2 < cells_x, own2, last),
        tl.where(j + 3 < cells_x, own3, last),
        right,
    )
    return (own0, own1, own2, own3), [_level(value, FIXED) for value in seen]


@jit
def _level(x, FIXED: tl.constexpr):
    """A stored sample, clipped, as int32 or fp32."""
    if FIXED:
        return clip(x.to(tl.int32))
    else:
        return clip(x)


@jit
def _upsample(near, far, DY: tl.constexpr, TRIANGLE: tl.constexpr, FIXED: tl.constexpr):
    """Eight pixels of chroma around 0 from six samples of the nearest row and of the next."""
    if not TRIANGLE:
        return [near[1 + i // 2] - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
    else:
        if DY == 2:
            near = [3 * near[i] + far[i] for i in (0, 1, 2, 3, 4, 5)]
        sums = [3 * near[1 + i // 2] + near[i // 2 + i % 2 * 2] for i in (0, 1, 2, 3, 4, 5, 6, 7)]
        if FIXED:
            if DY == 2:
                return [((sums[i] + 8 - i % 2) >> 4) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
            else:
                return [((sums[i] + 1 + i % 2) >> 2) - 128 for i in (0, 1, 2, 3, 4, 5, 6, 7)]
        else:
            share: tl.constexpr = 1.0 / (4 * DY * DY)
            return [value * share - 128.0 for value in sums]


@jit(do_not_specialize=ANY_SIZE)
def planes_to_rgb_kernel(
    luma,  # B x P x W, uint8, int16 or fp32; P at least H, W a multiple of 16
    chroma,  # B x 2 x P/DY x W/2, of the type of luma
    out,  # B x 3 x H x W, uint8 or floating
    inside,  # B x H x W, uint8
    height,
    width,
    padded_height,
    cells_x,  # chroma samples in a row that are not padding
    N: tl.constexpr,
    DY: tl.constexpr,
    TRIANGLE: tl.constexpr,
    MARK: tl.constexpr,  # whether to write inside
    WIDE: tl.constexpr,  # elements of luma that fit 16 bytes, see load8
    WIDE_OUT: tl.constexpr,  # of out
):
    """Upsample chroma and convert to RGB; program (p, b) writes ``N`` strips of image ``b``."""
    FIXED: tl.constexpr = luma.dtype.element_ty != tl.float32
    KIND: tl.constexpr = out.dtype.element_ty
    image = tl.program_id(1).to(tl.int64)
    i, x, mask = _strip(height, width, N, DY, 2)
    area, room = height * width, padded_height * width
    stride, room_c, last = width // 2, room // (DY * 2), tl.cdiv(height, DY) - 1
    luma += image * room
    cb_plane = chroma + image * 2 * room_c
    cr_plane = cb_plane + room_c
    stored_cb, near_cb = _samples(cb_plane + i * stride, x // 2, cells_x, mask, FIXED)
    stored_cr, near_cr = _samples(cr_plane + i * stride, x // 2, cells_x, mask, FIXED)
    for dy in tl.static_range(DY):
        y = i * DY + dy
        live = mask & (y < height)
        far_cb, far_cr = near_cb, near_cr
        if TRIANGLE and DY == 2:
            row = tl.minimum(tl.maximum(i + (2 * dy - 1), 0), last) * stride
            _, far_cb = _samples(cb_plane + row, x // 2, cells_x, mask, FIXED)
            _, far_cr = _samples(cr_plane + row, x // 2, cells_x, mask, FIXED)
        cb = _upsample(near_cb, far_cb, DY, TRIANGLE, FIXED)
        cr = _upsample(near_cr, far_cr, DY, TRIANGLE, FIXED)
        stored = load8(luma + y * width + x, live, WIDE)
        level = [_level(value, FIXED) for value in stored]
        rgb = [rgb_of(level[k], cb[k], cr[k], FIXED) for k in (0, 1, 2, 3, 4, 5, 6, 7)]
        pointers = out + image * 3 * area + y * width + x
        store8(pointers, [from_level(value[0], KIND) for value in rgb], live, WIDE_OUT)
        store8(pointers + area, [from_level(value[1], KIND) for value in rgb], live, WIDE_OUT)
        store8(pointers + 2 * area, [from_level(value[2], KIND) for value in rgb], live, WIDE_OUT)
        if MARK:
            bits = [
                mark(rgb[k][0], 0) | mark(rgb[k][1], 1) | mark(rgb[k][2], 2)
                | mark(stored[k], 3) | mark(stored_cb[k // 2], 4) | mark(stored_cr[k // 2], 5)
                for k in (0, 1, 2, 3, 4, 5, 6, 7)
            ]  # fmt: skip
            pointers = inside + image * area + y * width + x
            store8(pointers, [value.to(tl.uint8) for value in bits], live, 8)


@jit
def _to_ycbcr(r, g, b, bits):
    """The gradient of a clipped RGB pixel as that of Y, clipped too, and of Cb and Cr."""
    r = tl.where(bits & 1 != 0, r.to(tl.float32), 0.0)
    g = tl.where(bits & 2 != 0, g.to(tl.float32), 0.0)
    b = tl.where(bits & 4 != 0, b.to(tl.float32), 0.0)
    y = tl.where(bits & 8 != 0, r + g + b, 0.0)
    return y, 1.772 * b - 0.344136286 * g, 1.402 * r - 0.714136286 * g


@jit
def _row_gradient(gradient, inside, place, area, mask, WIDE: tl.constexpr):
    """The gradients of Y, Cb and Cr at eight pixels of each thread, and the bits of ``inside``."""
    r = load8(gradient + place, mask, WIDE)
    g = load8(gradient + area + place, mask, WIDE)
    b = load8(gradient + 2 * area + place, mask, WIDE)
    bits = [value.to(tl.int32) for value in load8(inside + place, mask, 8)]
    return [_to_ycbcr(r[k], g[k], b[k], bits[k]) for k in (0, 1, 2, 3, 4, 5, 6, 7)], bits


@jit
def _pixel_gradient(gradient, inside, place, area, mask):
    """The gradients of Y, Cb and Cr at one pixel of each thread."""
    r = tl.load(gradient + place, mask=mask, other=0)
    g = tl.load(gradient + area + place, mask=mask, other=0)
    b = tl.load(gradient + 2 * area + place, mask=mask, other=0)
    return _to_ycbcr(r, g, b, tl.load(inside + place, mask=mask, other=0).to(tl.int32))


@jit
def _gather_row(before, row, after, j, cells_x, TRIANGLE: tl.constexpr, CHANNEL: tl.constexpr):
    """What a row of pixels gives to four chroma samples: the transpose of upsampling along x."""
    own = [pixel[CHANNEL] for pixel in row]
    if not TRIANGLE:
        return [own[2 * k] + own[2 * k + 1] for k in (0, 1, 2, 3)]
    else:
        framed = (before[CHANNEL], own[1], own[3], own[5])
        behind = (own[2], own[4], own[6], after[CHANNEL])
        sums = [
            0.25 * (framed[k] + behind[k])
            + tl.where(j + k == 0, 1.0, 0.75) * own[2 * k]
            + tl.where(j + k == cells_x - 1, 1.0, 0.75) * own[2 * k + 1]
            for k in (0, 1, 2, 3)
        ]
        return [tl.where(j + k < cells_x, sums[k], 0.0) for k in (0, 1, 2, 3)]


@jit
def _store_image_gradient(pointers, y, cb, cr, area, share, mask, WIDE: tl.constexpr):
    """Store the gradient of eight RGB pixels; ``share`` is a pixel's weight in a chroma sample."""
    KIND: tl.constexpr = pointers.dtype.element_ty
    cb = [value * share for value in cb]
    cr = [value * share for value in cr]
    r = [0.299 * y[k] - 0.168735892 * cb[k] + 0.5 * cr[k] for k in (0, 1, 2, 3, 4, 5, 6, 7)]
    g = [0.587 * y[k] - 0.331264108 * cb[k] - 0.418687589 * cr[k] for k in (0, 1, 2, 3, 4, 5, 6, 7)]
    b = [0.114 * y[k] + 0.5 * cb[k] - 0.081312411 * cr[k] for k in (0, 1, 2, 3, 4, 5, 6, 7)]
    store8(pointers, [value.to(KIND) for value in r], mask, WIDE)
    store8(pointers + area, [value.to(KIND) for value in g], mask, WIDE)
    store8(pointers + 2 * area, [value.to(KIND) for value in b], mask, WIDE)


@jit
def _share(y, height, DY: tl.constexpr, DX: tl.constexpr):
    """A pixel's weight in its chroma sample; a last row without a partner counts twice."""
    share: tl.constexpr = 1.0 / (DY * DX)
    return tl.where((y % DY == 0) & (y == height - 1), DY * share, share)


@jit(do_not_specialize=ANY_SIZE)
def rgb_backward_kernel(
    gradient,  # B x 3 x H x W: of the result; W a multiple of 16
    inside,  # B x H x W, uint8
    out,  # B x 3 x H x W: gradient of the images (when FUSED)
    luma,  # B x P x W, fp32: gradient of the decoded samples (unless FUSED)
    chroma,  # B x 2 x P/DY x W/DX, fp32: likewise
    height,
    width,
    padded_height,
    cells_x,
    N: tl.constexpr,
    DY: tl.constexpr,
    DX: tl.constexpr,
    TRIANGLE: tl.constexpr,
    FUSED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Send the gradient of RGB to the planes; the threads are those of the way forward.

    ``FUSED`` goes on to the images in one pass, for roundings whose own gradient is one: DCT and
    IDCT cancel.
    """
    image = tl.program_id(1).to(tl.int64)
    i, x, mask = _strip(height, width, N, DY, DX)
    area, room = height * width, padded_height * width
    gradient += image * 3 * area
    inside += image * area
    rows = ()
    own_bits = ()
    for dy in tl.static_range(DY):
        live = mask & (i * DY + dy < height)
        place = (i * DY + dy) * width + x
        row, bits = _row_gradient(gradient, inside, place, area, live, WIDE)
        rows = rows + (row,)
        own_bits = own_bits + (bits,)
    if DX == 1:
        cb = [
            tl.where(own_bits[0][k] & 16 != 0, rows[0][k][1], 0.0) for k in (0, 1, 2, 3, 4, 5, 6, 7)
        ]
        cr = [
            tl.where(own_bits[0][k] & 32 != 0, rows[0][k][2], 0.0) for k in (0, 1, 2, 3, 4, 5, 6, 7)
        ]
    else:
        cb = [tl.zeros((N,), tl.float32) for k in (0, 1, 2, 3)]
        cr = [tl.zeros((N,), tl.float32) for k in (0, 1, 2, 3)]
        NEAR: tl.constexpr = DY - 1 if TRIANGLE else 0
        for dy in tl.static_range(-NEAR, DY + NEAR):
            y = i * DY + dy
            live = mask & (y >= 0) & (y < height)
            place = y * width + x
            if dy >= 0 and dy < DY:
                row = rows[dy]
            else:
                row, _ = _row_gradient(gradient, inside, place, area, live, WIDE)
            before = _pixel_gradient(gradient, inside, place - 1, area, live & (x > 0))
            after = _pixel_gradient(gradient, inside, place + 8, area, live & (x + 8 < width))
            weight = _row_weight(dy, i, tl.cdiv(height, DY), DY, TRIANGLE)
            from_cb = _gather_row(before, row, after, x // 2, cells_x, TRIANGLE, 1)
            from_cr = _gather_row(before, row, after, x // 2, cells_x, TRIANGLE, 2)
            cb = [cb[k] + weight * from_cb[k] for k in (0, 1, 2, 3)]
            cr = [cr[k] + weight * from_cr[k] for k in (0, 1, 2, 3)]
        cb = [tl.where(own_bits[0][2 * k] & 16 != 0, cb[k], 0.0) for k in (0, 1, 2, 3)]
        cr = [tl.where(own_bits[0][2 * k] & 32 != 0, cr[k], 0.0) for k in (0, 1, 2, 3)]
    if not FUSED:
        place = chroma + image * 2 * (room // (DY * DX)) + i * (width // DX) + x // DX
        for k in tl.static_range(8 // DX):
            tl.store(place + k, cb[k], mask=mask)
            tl.store(place + room // (DY * DX) + k, cr[k], mask=mask)
    for dy in tl.static_range(DY):
        y = i * DY + dy
        live = mask & (y < height)
        from_y = [pixel[0] for pixel in rows[dy]]
        if FUSED:
            pointers = out + image * 3 * area + y * width + x
            share = _share(y, height, DY, DX)
            wide_cb = [cb[k // DX] for k in (0, 1, 2, 3, 4, 5, 6, 7)]
            wide_cr = [cr[k // DX] for k in (0, 1, 2, 3, 4, 5, 6, 7)]
            _store_image_gradient(pointers, from_y, wide_cb, wide_cr, area, share, live, WIDE)
        else:
            store8(luma + image * room + y * width + x, from_y, live, 4)


@jit
def _row_weight(dy: tl.constexpr, i, cells_y, DY: tl.constexpr, TRIANGLE: tl.constexpr):
    """What chroma row ``i`` weighs in pixel row ``DY i + dy``."""
    if DY == 1 or not TRIANGLE:
        return 1.0
    elif dy == -1 or dy == 2:
        return 0.25
    else:
        return tl.where(i == (0 if dy == 0 else cells_y - 1), 1.0, 0.75)


@jit(do_not_specialize=ANY_SIZE)
def planes_backward_kernel(
    luma,  # B x P x W, fp32: gradient of the coded samples; W a multiple of 16
    chroma,  # B x 2 x P/DY x W/DX, fp32: likewise
    out,  # B x 3 x H x W: gradient of the images
    height,
    width,
    padded_height,
    N: tl.constexpr,
    DY: tl.constexpr,
    DX: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Send the gradient of the planes to the images: means of chroma, then colour."""
    image = tl.program_id(1).to(tl.int64)
    y, x, mask = _strip(height, width, N, 1, DX)
    area, room = height * width, padded_height * width
    room_c = room // (DY * DX)
    from_y = load8(luma + image * room + y * width + x, mask, 4)
    cells = chroma + image * 2 * room_c + y // DY * (width // DX) + x // DX
    cb = [tl.load(cells + k // DX, mask=mask, other=0) for k in (0, 1, 2, 3, 4, 5, 6, 7)]
    cr = [tl.load(cells + room_c + k // DX, mask=mask, other=0) for k in (0, 1, 2, 3, 4, 5, 6, 7)]
    pointers = out + image * 3 * area + y * width + x
    share = _share(y, height, DY, DX)
    _store_image_gradient(pointers, from_y, cb, cr, area, share, mask, WIDE)


def _launch(kernel: Any, pixels: str, planes: str, **constants: Any) -> Launch:
    """A kernel for 128 threads and images of a type, in Triton's words; 4:2:0 unless said."""
    types = dict.fromkeys(kernel.arg_names, "i32")
    types |= dict.fromkeys(("out", "gradient"), pixels)
    types |= dict.fromkeys(("luma", "chroma"), planes) | {"inside": "*u8"}
    constants = {"N": 128, "DY": 2, "DX": 2, "TRIANGLE": True, **constants}
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    return Launch(kernel, types, constants, {"num_warps": 4}, ("width",))


def _launches() -> dict[str, Launch]:
    """The kernels as uint8 and fp32 images take them."""
    pixels = {"MARK": False, "WIDE": 8, "WIDE_OUT": 8}
    floating = {"MARK": True, "WIDE": 8, "WIDE_OUT": 4}
    smooth = {"MARK": True, "WIDE": 4, "WIDE_OUT": 4}
    fp32 = ("*fp32", "*fp32")
    return {
        "planes_to_rgb_u8": _launch(planes_to_rgb_kernel, "*u8", "*u8", **pixels),
        "planes_to_rgb_fp32": _launch(planes_to_rgb_kernel, "*fp32", "*i16", **floating),
        "planes_to_rgb_soft": _launch(planes_to_rgb_kernel, *fp32, **smooth),
        "rgb_backward_420": _launch(rgb_backward_kernel, *fp32, FUSED=False, WIDE=4),
        "rgb_backward_422": _launch(rgb_backward_kernel, *fp32, FUSED=True, WIDE=4, DY=1),
        "rgb_backward_444": _launch(rgb_backward_kernel, *fp32, FUSED=True, WIDE=4, DY=1, DX=1),
        "planes_backward": _launch(planes_backward_kernel, *fp32, WIDE=4),
    }


LAUNCHES = _launches() if HAS_TRITON else {}
