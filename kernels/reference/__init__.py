"""Plain PyTorch: the truth, for values and for gradients, that every kernel is held against."""

from .color import rgb_to_ycbcr, ycbcr_to_rgb
from .dct import dct_blocks, idct_blocks
from .jpeg import jpeg_roundtrip, jpeg_simulate
from .merge import residual_merge
from .place import place
from .quantize import dequantise, quantise, round_with, ste_round
from .resize import composite, preprocess
from .subsample import downsample, upsample

__all__ = [
    "composite",
    "dct_blocks",
    "dequantise",
    "downsample",
    "idct_blocks",
    "jpeg_roundtrip",
    "jpeg_simulate",
    "place",
    "preprocess",
    "quantise",
    "residual_merge",
    "rgb_to_ycbcr",
    "round_with",
    "ste_round",
    "upsample",
    "ycbcr_to_rgb",
]
