"""The bytes that each operation moves to and from memory, as the kernels are built.

``moved`` counts every pass: planes between two kernels once written and once read. What a kernel
reads twice in one pass comes from the cache and counts once; tables of some kilobytes do not
count. ``needed`` is the floor of any implementation: inputs read once, outputs written once.

All sizes are in pixels, elements in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.filters import vertical_first

__all__ = [
    "Traffic",
    "composite_traffic",
    "jpeg_backward_traffic",
    "jpeg_forward_traffic",
    "place_traffic",
    "preprocess_traffic",
    "residual_merge_traffic",
]

_SAMPLES = {"4:4:4": 3.0, "4:2:2": 2.0, "4:2:0": 1.5}
_MASK = 1  # one byte a pixel: where clipping stops the gradient


@dataclass(frozen=True)
class Traffic:
    """Bytes of one call.

    Attributes:
        moved: read and written by the kernels.
        needed: read and written by any implementation.
    """

    moved: int
    needed: int

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.moved + other.moved, self.needed + other.needed)


def jpeg_forward_traffic(
    pixels: int,
    element: int,
    subsampling: str,
    rounding: str = "ste",
    with_gradient: bool = False,
) -> Traffic:
    """The codec: one pass at 4:4:4; elsewhere decoded planes lie between two passes.

    A sample of the planes has 8 bits, 16 when a gradient is wanted, 32 with soft rounding.
    """
    image = 3 * element
    sample = 4 if rounding in ("soft", "noise") else 2 if with_gradient else 1
    planes = 0.0 if subsampling == "4:4:4" else _SAMPLES[subsampling] * sample
    moved = 2 * image + 2 * planes + (_MASK if with_gradient else 0)
    return Traffic(round(pixels * moved), pixels * 2 * image)


def jpeg_backward_traffic(
    pixels: int, element: int, subsampling: str, rounding: str = "ste"
) -> Traffic:
    """The way back to the images: one pass straight through, two at 4:2:0, three if soft.

    At 4:2:0 the gradient of the planes (fp32) is written and read again. Soft rounding, between the
    two, reads them beside the images and writes them once more.
    """
    image = 3 * element
    planes = 4 * _SAMPLES[subsampling]
    if rounding == "ste":
        between = 2 * planes if subsampling == "4:2:0" else 0
        return Traffic(round(pixels * (2 * image + _MASK + between)), pixels * 2 * image)
    return Traffic(round(pixels * (3 * image + _MASK + 4 * planes)), pixels * 3 * image)


def _between(old: tuple[int, int], new: tuple[int, int]) -> int:
    """Pixels between the two passes of a resize; 0 if one pass is enough. (height, width)."""
    if old[0] == new[0] or old[1] == new[1]:
        return 0
    return new[0] * old[1] if vertical_first(old, new) else old[0] * new[1]


def preprocess_traffic(batch: int, native: tuple[int, int], size: int) -> Traffic:
    """8-bit images of ``native`` (height, width) to fp32 frames, 8 bits between the passes."""
    needed = batch * (3 * native[0] * native[1] + 12 * size * size)
    return Traffic(needed + batch * 6 * _between(native, (size, size)), needed)


def residual_merge_traffic(native: tuple[int, int], size: int) -> Traffic:
    """One image: the fp32 residual is read for its power and again to be added."""
    needed = 6 * native[0] * native[1] + 12 * size * size
    return Traffic(needed + 12 * size * size, needed)


def place_traffic(batch: int, size: int) -> Traffic:
    """Fp32: three channels read, three and the mask written."""
    needed = batch * 28 * size * size
    return Traffic(needed, needed)


def composite_traffic(received: tuple[int, int], canvas: tuple[int, int], size: int) -> Traffic:
    """One image: the recovered fp32 frame resized under the received pixels, all 8-bit outside it.

    Of what lies between the passes, the share under the received pixels is not read.
    """
    inside, whole = received[0] * received[1], canvas[0] * canvas[1]
    needed = 12 * size * size + 3 * inside + 3 * whole
    between = 3 * _between((size, size), canvas)
    return Traffic(round(needed + between * (2 - inside / whole)), needed)
