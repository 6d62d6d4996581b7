"""What every runtime does: run a network on named tensors."""

from typing import Any, Protocol

from ..pixels import Pixels

__all__ = ["Runtime", "Tensors"]

Tensors = dict[str, Any]
"""Arrays by name: of numpy, or of the kind that the runtime's ``pixels`` make."""


class Runtime(Protocol):
    """Executes networks; safe to call from several threads.

    Attributes:
        name: how it is chosen, ``load(runtime=name)``.
        size: side of the networks' frame in pixels.
        psnr_db: strength that the protect network gives a residual.
        pixels: the pipeline's operations on pixels, where the runtime keeps its arrays.
    """

    name: str
    size: int
    psnr_db: float
    pixels: Pixels

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network of :data:`clr_infer.specs.SPECS` on a batch.

        Arrays come back as they were given: numpy for numpy.

        Raises:
            InputError: the tensors do not fit the network's spec.
            WeightsError: the network's weights are missing or damaged.
            ModelError: it failed, or memory ran out; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Free what the runtime holds; it cannot be used afterwards. A second call does nothing."""
        ...
