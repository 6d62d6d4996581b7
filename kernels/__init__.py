"""Blockwise image operations: the differentiable JPEG core and what it is made of.

Imports torch and itself, nothing else of the package.
"""

from .jpeg_tables import quantisation_tables
from .reference import jpeg_roundtrip, jpeg_simulate, rgb_to_ycbcr, ste_round, ycbcr_to_rgb

__all__ = [
    "jpeg_roundtrip",
    "jpeg_simulate",
    "quantisation_tables",
    "rgb_to_ycbcr",
    "ste_round",
    "ycbcr_to_rgb",
]
