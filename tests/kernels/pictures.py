"""Images that codecs find hard, and what the real codec makes of them."""

import numpy as np
import torch

from clr_infer.attacks.real import libjpeg

AWKWARD = [(1, 1), (7, 9), (33, 33), (17, 250), (2, 5), (40, 3), (18, 24)]
KINDS = ("photograph", "noise", "saturated", "checkerboard", "constant")


def picture(kind: str, height: int, width: int, photograph: np.ndarray) -> np.ndarray:
    """An image, HxWx3 uint8, of one of ``KINDS``."""
    rng = np.random.default_rng(height * 1000 + width)
    if kind == "photograph":
        return photograph[40 : 40 + height, 60 : 60 + width]
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "saturated":
        return rng.choice(np.array([0, 255], np.uint8), (height, width, 3))
    if kind == "checkerboard":
        board = np.indices((height, width)).sum(0) % 2 * 255
        return np.repeat(board[..., None], 3, -1).astype(np.uint8)
    return np.full((height, width, 3), (200, 31, 77), np.uint8)


def batch_of(image: np.ndarray, count: int = 1) -> torch.Tensor:
    """An image HxWx3 as ``count`` x3xHxW uint8."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].repeat(count, 1, 1, 1)


def real(image: np.ndarray, qualities: torch.Tensor, subsampling: str) -> torch.Tensor:
    """What libjpeg-turbo makes of an image at each quality, Bx3xHxW uint8."""
    return torch.cat([batch_of(libjpeg(image, int(qf), subsampling)) for qf in qualities])
