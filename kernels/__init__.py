"""Blockwise image operations: JPEG that is exact and differentiable, and what it is made of.

Each operation exists twice under one name and signature: in plain PyTorch (:mod:`.reference`, the
truth for values and gradients) and as an OpenAI Triton kernel; :mod:`.dispatch` chooses. Imports
torch, triton where it is installed, and itself, nothing else of the package.
"""

from .dispatch import KernelUnavailable
from .jpeg import jpeg_roundtrip, jpeg_simulate
from .jpeg_tables import quantisation_tables
from .reference import rgb_to_ycbcr, ste_round, ycbcr_to_rgb

__all__ = [
    "KernelUnavailable",
    "jpeg_roundtrip",
    "jpeg_simulate",
    "quantisation_tables",
    "rgb_to_ycbcr",
    "ste_round",
    "ycbcr_to_rgb",
]
