"""The choices that the JPEG operations offer, by name."""

from typing import Literal

__all__ = [
    "ROUNDINGS",
    "SUBSAMPLING_FACTORS",
    "Rounding",
    "Subsampling",
    "Upsampling",
    "padded_size",
    "upsampling_of",
]

Rounding = Literal["hard", "ste", "soft", "noise"]
ROUNDINGS: tuple[str, ...] = ("hard", "ste", "soft", "noise")

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
SUBSAMPLING_FACTORS: dict[str, tuple[int, int]] = {
    "4:4:4": (1, 1),
    "4:2:2": (1, 2),
    "4:2:0": (2, 2),
}
"""Vertical and horizontal chroma decimation of each subsampling."""

Upsampling = Literal["triangle", "replicate"]


def padded_size(height: int, width: int, subsampling: Subsampling) -> tuple[int, int]:
    """Round a size up to whole MCUs, and the width to pairs of blocks, which kernels load."""
    rows = 8 * SUBSAMPLING_FACTORS[subsampling][0]
    return -(-height // rows) * rows, -(-width // 16) * 16


def upsampling_of(width: int, subsampling: Subsampling) -> Upsampling:
    """The upsampling that libjpeg-turbo chooses: it repeats samples if a row has only two."""
    down_x = SUBSAMPLING_FACTORS[subsampling][1]
    return "replicate" if -(-width // down_x) <= 2 else "triangle"
