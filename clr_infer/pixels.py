"""What the pipeline does to pixels, behind one protocol: where the runtime keeps its arrays."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .composite import composite
from .geometry import Box
from .preprocess import to_frame
from .residual import merge_residual, residual_psnr_db

__all__ = ["HostPixels", "Pixels"]


class Pixels(Protocol):
    """Operations on images and frames; arrays are of the runtime's own kind.

    Images are HxWx3 uint8, frames 3xSxS float32 in [0, 1]. Results for the caller are numpy.
    """

    def upload(self, image: np.ndarray) -> Any:
        """Bring an image to where the runtime works."""
        ...

    def download(self, array: Any) -> np.ndarray:
        """Bring any array back."""
        ...

    def download_all(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        """Bring small float32 arrays back, together."""
        ...

    def preprocess(self, images: Sequence[Any], size: int) -> Any:
        """Stretch uploaded images to the frame, antialiased: Bx3xSxS."""
        ...

    def residual_psnr_db(self, residuals: Any) -> list[float]:
        """The strengths of residuals of the protect network, Bx3xSxS, as they are."""
        ...

    def residual_merge(self, image: Any, residual: Any, psnr_db: float) -> tuple[np.ndarray, float]:
        """Add a residual to an uploaded image, see :func:`.residual.merge_residual`."""
        ...

    def composite(
        self, received: Any, recovered: Any, crop_box: Box, feather_px: int
    ) -> np.ndarray:
        """Lay an uploaded image over a recovered frame, see :func:`.composite.composite`."""
        ...


class HostPixels:
    """The operations on the CPU, by numpy and Pillow, for runtimes that take numpy arrays."""

    def upload(self, image: np.ndarray) -> np.ndarray:
        """Nothing to do."""
        return image

    def download(self, array: np.ndarray) -> np.ndarray:
        """Nothing to do."""
        return array

    def download_all(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Nothing to do."""
        return list(arrays)

    def preprocess(self, images: Sequence[np.ndarray], size: int) -> np.ndarray:
        """See :func:`.preprocess.to_frame`."""
        return np.stack([to_frame(image, size) for image in images])

    def residual_psnr_db(self, residuals: np.ndarray) -> list[float]:
        """See :func:`.residual.residual_psnr_db`."""
        return [residual_psnr_db(residual) for residual in residuals]

    def residual_merge(
        self, image: np.ndarray, residual: np.ndarray, psnr_db: float
    ) -> tuple[np.ndarray, float]:
        """See :func:`.residual.merge_residual`."""
        return merge_residual(image, residual, psnr_db)

    def composite(
        self, received: np.ndarray, recovered: np.ndarray, crop_box: Box, feather_px: int
    ) -> np.ndarray:
        """See :func:`.composite.composite`."""
        return composite(received, recovered, crop_box, feather_px)
