"""Rounding of DCT coefficients, with named gradient surrogates.

Halves go away from zero, as in libjpeg.

- ``hard``: true rounding, no gradient.
- ``ste``: true rounding, gradient 1 (straight-through estimator, Bengio et al. 2013).
- ``soft``: round(x) + (x - round(x))^3, gradient 3 (x - round(x))^2 (Shin and Song,
  "JPEG-resistant adversarial images", 2017).
- ``noise``: x plus uniform noise of one step, as in learned compression (Balle et al. 2017).

Integer tensors are quantised with the exact integer division of libjpeg.
"""

import torch

from ..options import ROUNDINGS, Rounding

__all__ = [
    "dequantise",
    "quantise",
    "round_half_away",
    "round_with",
    "ste_floor",
    "ste_round",
]


def ste_round(x: torch.Tensor) -> torch.Tensor:
    """Round half to even in the forward pass; pass the gradient through unchanged."""
    return x + (x.round() - x).detach()


def ste_floor(x: torch.Tensor) -> torch.Tensor:
    """Round down in the forward pass; pass the gradient through unchanged."""
    return x + (x.floor() - x).detach()


def round_half_away(x: torch.Tensor) -> torch.Tensor:
    """Round to the nearest integer, halves away from zero; no gradient."""
    return (x.abs() + 0.5).floor() * x.sign()


def round_with(
    x: torch.Tensor, rounding: Rounding, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """Round ``x`` (any shape) with the named surrogate.

    Args:
        x: values in units of one step.
        rounding: the surrogate.
        noise: for ``"noise"``, uniform in [0, 1), of the shape of ``x``; drawn when not given.

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
        return x + (torch.rand_like(x) if noise is None else noise) - 0.5
    raise ValueError(f"rounding must be one of {list(ROUNDINGS)}, not {rounding!r}")


def quantise(
    coefficients: torch.Tensor, table: torch.Tensor, rounding: Rounding = "ste"
) -> torch.Tensor:
    """Divide coefficients by their steps and round.

    Args:
        coefficients: ...x8x8, floating in whole units, or int32 in eighths.
        table: steps, broadcastable to ``coefficients``; whole numbers for integer coefficients.
        rounding: the surrogate, for floating coefficients.

    Returns:
        Levels of the shape and type of ``coefficients``.
    """
    if coefficients.is_floating_point():
        return round_with(coefficients / table, rounding)
    step = 8 * table.int()
    level = torch.div(coefficients.abs() + (step >> 1), step, rounding_mode="floor")
    return level * coefficients.sign()


def dequantise(levels: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Multiply levels by their steps: coefficients in whole units, of the type of ``levels``."""
    return levels * table.to(levels.dtype)
