"""Blockwise image operations: the differentiable JPEG core, and what surrounds the networks.

Imports torch, triton where it is installed, and itself, nothing else of the package.
"""

from .dispatch import KernelUnavailable, resolve
from .jpeg_tables import quantisation_tables
from .merge import residual_merge
from .place import place
from .reference import jpeg_simulate, rgb_to_ycbcr, ste_round, ycbcr_to_rgb
from .resize import composite, preprocess

__all__ = [
    "KernelUnavailable",
    "composite",
    "jpeg_simulate",
    "place",
    "preprocess",
    "quantisation_tables",
    "residual_merge",
    "resolve",
    "rgb_to_ycbcr",
    "ste_round",
    "ycbcr_to_rgb",
]
