"""The median filter of 8-bit images, by exchanges: all windows at once, and nothing is sorted."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["median_filter"]


def median_filter(image: torch.Tensor, side: int) -> torch.Tensor:
    """The median of each window, with a gradient.

    The gradient of a pixel goes to those in its window that equal it, in equal shares.

    Args:
        image: Bx3xHxW in [0, 1], on 8-bit levels.
        side: of the window in pixels, odd; the image goes on as its edges.

    Returns:
        Bx3xHxW.
    """
    filtered: torch.Tensor = _MedianFilter.apply(image, side)
    return filtered


class _MedianFilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, side: int) -> torch.Tensor:
        pad = side // 2
        padded = F.pad(image, (pad,) * 4, mode="replicate")
        levels = (padded * 255.0).round().to(torch.uint8)
        found = _median([part.contiguous() for part in _windows(levels, side)])
        ctx.save_for_backward(levels, found)
        ctx.side = side
        return found.to(image.dtype) / 255.0

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        levels, found = ctx.saved_tensors
        side, pad = ctx.side, ctx.side // 2
        count = sum((part == found).to(torch.uint8) for part in _windows(levels, side))
        share = gradient / count
        padded = gradient.new_zeros(levels.shape)
        for part, into in zip(_windows(levels, side), _windows(padded, side), strict=True):
            into += share * (part == found)
        return _fold_edges(_fold_edges(padded, pad).mT, pad).mT, None


def _windows(padded: torch.Tensor, side: int) -> Iterator[torch.Tensor]:
    """Each place in a window in turn, for all windows: views of BxCxHxW."""
    height, width = padded.shape[-2] - side + 1, padded.shape[-1] - side + 1
    for y in range(side):
        for x in range(side):
            yield padded[..., y : y + height, x : x + width]


def _median(values: list[torch.Tensor]) -> torch.Tensor:
    """The elementwise median of an odd number of tensors.

    Of one more than half of them and one, neither the least nor the greatest can be the median:
    both go, one of the others comes.
    """
    half = len(values) // 2 + 2
    kept, others = values[:half], values[half:]
    while len(kept) > 1:
        kept = _without_extremes(kept)
        kept += [others.pop()] if others else []
    return kept[0]


def _without_extremes(values: list[torch.Tensor]) -> list[torch.Tensor]:
    """All but the elementwise least and greatest of three or more tensors."""
    values, half = list(values), len(values) // 2

    def exchange(low: int, high: int) -> None:
        a, b = values[low], values[high]
        values[low], values[high] = torch.minimum(a, b), torch.maximum(a, b)

    last = len(values) - 1
    for index in range(half):
        exchange(index, last - index)
    for index in range(1, last - half + 1):  # the least of the lower half goes to the front
        exchange(0, index)
    for index in range(half, last):
        exchange(index, last)
    return values[1:-1]


def _fold_edges(padded: torch.Tensor, pad: int) -> torch.Tensor:
    """What reached the replicated rows goes to the rows that they replicate."""
    if pad == 0:
        return padded
    inner = padded[..., pad:-pad, :].clone()
    inner[..., 0, :] += padded[..., :pad, :].sum(-2)
    inner[..., -1, :] += padded[..., -pad:, :].sum(-2)
    return inner
