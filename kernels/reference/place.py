"""Putting received images back into their frames, in plain PyTorch; differentiable."""

import torch

__all__ = ["place"]


def _resample_matrix(start: torch.Tensor, stop: torch.Tensor, size: int) -> torch.Tensor:
    """Weights that resample a row of ``size`` samples into its span of a frame, BxSxS.

    A triangle filter as wide as one frame pixel, the antialiased bilinear of image libraries.
    Row n of the result holds the weights of the received samples in frame pixel n; its edges
    are replicated outside the span.
    """
    index = torch.arange(size, dtype=start.dtype, device=start.device)
    extent = (stop - start).clamp(min=1e-3).view(-1, 1)
    position = ((index + 0.5) / size - start.view(-1, 1)) / extent * size - 0.5
    position = position.clamp(0.0, size - 1.0)
    reach = (1.0 / extent).clamp(min=1.0)[..., None]
    weights = (1.0 - (position[..., None] - index).abs() / reach).clamp(min=0.0)
    return weights / weights.sum(-1, keepdim=True)


def _coverage(start: torch.Tensor, stop: torch.Tensor, size: int) -> torch.Tensor:
    """1 where a frame pixel's centre lies in the span, BxS."""
    centre = (torch.arange(size, dtype=start.dtype, device=start.device) + 0.5) / size
    return ((centre >= start.view(-1, 1)) & (centre <= stop.view(-1, 1))).to(start.dtype)


def place(received: torch.Tensor, crop_box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put received images back into their frames, see :func:`clr_infer.kernels.place`."""
    size = received.shape[-1]
    x0, y0, x1, y1 = crop_box.unbind(1)
    rows = _resample_matrix(y0, y1, size)[:, None]
    cols = _resample_matrix(x0, x1, size)[:, None]
    canvas = rows @ received @ cols.transpose(2, 3)
    mask = _coverage(y0, y1, size)[:, None, :, None] * _coverage(x0, x1, size)[:, None, None, :]
    return canvas, mask
