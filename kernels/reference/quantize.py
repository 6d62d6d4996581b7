"""Rounding of DCT coefficients, with named gradient surrogates.

Halves go away from zero, as in libjpeg.

- ``hard``: true rounding, no gradient.
- ``ste``: true rounding, gradient 1 (straight-through estimator, Bengio et al. 2013).
- ``soft``: round(x) + (x - round(x))^3, gradient 3 (x - round(x))^2 (Shin and Song,
  "JPEG-resistant adversarial images", 2017).
- ``noise``: x plus uniform noise of one step, as in learned compression (Balle et al. 2017).
"""

from typing import Literal

import torch

__all__ = ["Rounding", "round_half_away", "round_with", "ste_floor", "ste_round"]

Rounding = Literal["hard", "ste", "soft", "noise"]


def ste_round(x: torch.Tensor) -> torch.Tensor:
    """Round half to even in the forward pass; pass the gradient through unchanged."""
    return x + (x.round() - x).detach()


def ste_floor(x: torch.Tensor) -> torch.Tensor:
    """Round down in the forward pass; pass the gradient through unchanged."""
    return x + (x.floor() - x).detach()


def round_half_away(x: torch.Tensor) -> torch.Tensor:
    """Round to the nearest integer, halves away from zero; no gradient."""
    return (x.abs() + 0.5).floor() * x.sign()


def round_with(x: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """Round ``x`` (any shape) with the named surrogate.

    Raises:
        ValueError: the surrogate is unknown.
    """
    if rounding == "ste":
        return x + (round_half_away(x) - x).detach()
    if rounding == "hard":
        return round_half_away(x)
    if rounding == "soft":
        nearest = round_half_away(x).detach()
        return nearest + (x - nearest) ** 3
    if rounding == "noise":
        return x + torch.rand_like(x) - 0.5
    raise ValueError(f"rounding must be hard, ste, soft or noise, not {rounding!r}")
