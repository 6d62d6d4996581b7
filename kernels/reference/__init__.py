"""Plain PyTorch: the truth, for values and for gradients, that every kernel is held against."""

from .color import rgb_to_ycbcr, ycbcr_to_rgb
from .dct import dct_blocks, idct_blocks
from .jpeg import jpeg_simulate
from .merge import residual_merge
from .place import place
from .quantize import round_with, ste_round
from .resize import composite, preprocess

__all__ = [
    "composite",
    "dct_blocks",
    "idct_blocks",
    "jpeg_simulate",
    "place",
    "preprocess",
    "residual_merge",
    "rgb_to_ycbcr",
    "round_with",
    "ste_round",
    "ycbcr_to_rgb",
]
