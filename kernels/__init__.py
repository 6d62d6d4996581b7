"""Blockwise image operations: exact, differentiable JPEG, and what surrounds the networks.

Each operation exists twice under one name and signature: in plain PyTorch (:mod:`.reference`, the
truth for values and gradients) and as an OpenAI Triton kernel; :mod:`.dispatch` chooses. Imports
torch, triton where it is installed, and itself, nothing else of the package.
"""

from .dispatch import KernelUnavailable, resolve
from .jpeg import jpeg_roundtrip, jpeg_simulate
from .jpeg_tables import quantisation_tables
from .merge import residual_merge
from .place import place
from .reference import ste_round
from .resize import composite, preprocess
from .stages import (
    dct_blocks,
    downsample,
    idct_blocks,
    quantise,
    rgb_to_ycbcr,
    upsample,
    ycbcr_to_rgb,
)

__all__ = [
    "KernelUnavailable",
    "composite",
    "dct_blocks",
    "downsample",
    "idct_blocks",
    "jpeg_roundtrip",
    "jpeg_simulate",
    "place",
    "preprocess",
    "quantisation_tables",
    "quantise",
    "residual_merge",
    "resolve",
    "rgb_to_ycbcr",
    "ste_round",
    "upsample",
    "ycbcr_to_rgb",
]
