"""Uniform random numbers that any device reproduces: Philox 4x32, ten rounds.

The counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
(2011), with the conventions of Triton's ``tl.rand``: the counter is the element's index, the key
is the seed.
"""

import torch

__all__ = ["philox_uniform"]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_SCALE = 4.6566127342e-10


def _multiply(x: torch.Tensor, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """High and low words of ``x * factor``, 32 bits each, held in int64."""
    low = x * (factor & 0xFFFF)
    high = x * (factor >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def philox_uniform(seed: int, index: torch.Tensor) -> torch.Tensor:
    """A number in [0, 1) for each index.

    Args:
        seed: 0 to 2^63 - 1.
        index: int64, any shape; taken modulo 2^32.

    Returns:
        float32, of the shape of ``index``.
    """
    zero = torch.zeros_like(index)
    words = [index & _MASK, zero, zero, zero]
    keys = [seed & _MASK, seed >> 32]
    for _ in range(10):
        high_a, low_a = _multiply(words[0], _MULTIPLIERS[0])
        high_b, low_b = _multiply(words[2], _MULTIPLIERS[1])
        words = [high_b ^ words[1] ^ keys[0], low_b, high_a ^ words[3] ^ keys[1], low_a]
        keys = [(key + step) & _MASK for key, step in zip(keys, _WEYL, strict=True)]
    signed = torch.where(words[0] > 0x7FFFFFFF, words[0] - (_MASK + 1), words[0])
    return torch.where(signed < 0, -signed - 1, signed).float() * _SCALE
