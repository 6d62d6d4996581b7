"""What every runtime does: run a network on named tensors."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..pixels import Pixels

__all__ = ["Runtime", "Tensors", "in_pieces", "joined"]

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


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays one behind the other along the batch; a single one as it is, which saves a copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def in_pieces(run: Callable[[Tensors], Tensors], tensors: Tensors, batch_max: int) -> Tensors:
    """Run a batch of any size in pieces, one after the other.

    Args:
        run: runs a network on a batch of at most ``batch_max``.
        tensors: numpy arrays by name, of one batch size.
        batch_max: largest batch of a piece.

    Returns:
        The outputs of all pieces, joined.
    """
    batch = len(next(iter(tensors.values())))
    pieces = [
        run({name: array[start : start + batch_max] for name, array in tensors.items()})
        for start in range(0, batch, batch_max)
    ]
    return {name: joined([piece[name] for piece in pieces]) for name in pieces[0]}
