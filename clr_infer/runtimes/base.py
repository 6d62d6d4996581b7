"""What every runtime does: run a network on named tensors."""

from typing import Protocol

import numpy as np

__all__ = ["Runtime", "Tensors"]

Tensors = dict[str, np.ndarray]


class Runtime(Protocol):
    """Executes networks; safe to call from several threads.

    Attributes:
        name: how it is chosen, ``load(runtime=name)``.
        size: side of the networks' frame in pixels.
        psnr_db: strength that the protect network gives a residual.
    """

    name: str
    size: int
    psnr_db: float

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network of :data:`clr_infer.specs.SPECS` on a batch.

        Raises:
            InputError: the tensors do not fit the network's spec.
            WeightsError: the network's weights are missing or damaged.
        """
        ...
