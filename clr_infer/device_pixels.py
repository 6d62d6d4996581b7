"""The pixel operations on a device, by :mod:`clr_infer.kernels`; needs torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from .errors import ModelError
from .geometry import Box, canvas_size, placed_box
from .kernels import composite, preprocess, residual_merge
from .kernels.dispatch import Impl, KernelUnavailable
from .residual import psnr_of_mse

__all__ = ["DevicePixels"]


class DevicePixels:
    """The operations on tensors, which stay on their device between the networks.

    Preprocess and composite equal those on the host bit by bit (with Pillow 13); the merge does
    but for ties in its rounding. On a GPU calls are queued: the time of a stage includes the wait
    for what it needs.

    Args:
        device: where the runtime's tensors are.
        impl: implementation of the kernels.
    """

    def __init__(self, device: str, impl: Impl = "auto") -> None:
        self.device, self.impl = torch.device(device), impl

    def upload(self, image: np.ndarray) -> torch.Tensor:
        """Copy an image to the device."""
        with self._working():
            return torch.tensor(image, device=self.device)

    def download(self, array: torch.Tensor) -> np.ndarray:
        """Copy a tensor to the host; waits for it."""
        with self._working():
            return array.cpu().numpy()

    def download_all(self, arrays: Sequence[torch.Tensor]) -> list[np.ndarray]:
        """Copy small tensors to the host as one; waits once."""
        flat = self.download(torch.cat([array.flatten() for array in arrays]))
        parts = np.split(flat, np.cumsum([array.numel() for array in arrays])[:-1])
        return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]

    def preprocess(self, images: Sequence[torch.Tensor], size: int) -> torch.Tensor:
        """See :func:`clr_infer.kernels.preprocess`."""
        with self._working():
            return torch.stack([preprocess(image, size, self.impl) for image in images])

    def residual_psnr_db(self, residuals: torch.Tensor) -> list[float]:
        """See :func:`.residual.residual_psnr_db`; waits for the residuals."""
        with self._working():
            powers = residuals.double().square().mean((1, 2, 3)).tolist()
        return [psnr_of_mse(255.0**2 * power) for power in powers]

    def residual_merge(
        self, image: torch.Tensor, residual: torch.Tensor, psnr_db: float
    ) -> tuple[np.ndarray, float]:
        """See :func:`clr_infer.kernels.residual_merge`."""
        with self._working():
            merged, measured = residual_merge(image, residual, psnr_db, self.impl)
        return self.download(merged), measured

    def composite(
        self, received: torch.Tensor, recovered: torch.Tensor, crop_box: Box, feather_px: int
    ) -> np.ndarray:
        """See :func:`clr_infer.kernels.composite`."""
        height, width = received.shape[:2]
        box_px = placed_box(crop_box, width, height)
        canvas_px = canvas_size(crop_box, width, height)
        with self._working():
            canvas = composite(received, recovered, box_px, canvas_px, feather_px, self.impl)
        return self.download(canvas)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Errors of the device and of the kernels, as those of the package."""
        try:
            yield
        except KernelUnavailable:
            raise
        except (MemoryError, RuntimeError, ValueError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            hint = "; use smaller batches or images" if "memory" in first.lower() else ""
            raise ModelError(f"{self.device} failed on an image: {first}{hint}") from error
