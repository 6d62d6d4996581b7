"""A server's network-level models as a runtime: the pipeline here, the networks there."""

import math
from functools import partial
from typing import Any

from ..pixels import HostPixels, Pixels
from ..runtimes.base import Tensors, in_pieces
from ..runtimes.triton_server import MAX_BATCH
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .calls import Call
from .synchronous import Client

__all__ = ["ServedNetworks"]


class ServedNetworks:
    """Runs networks on a server, see :class:`clr_infer.runtimes.Runtime`.

    Args:
        client: its shared memory, if it uses any, carries the tensors.
        weights: the facts of the networks that the server serves.
    """

    name = "triton-server"
    pixels: Pixels = HostPixels()

    def __init__(self, client: Client, weights: Weights) -> None:
        self._client = client
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, in pieces if it is larger than the server takes.

        Raises:
            InputError: the tensors do not fit the network's spec.
            ServerError: the server does not answer as it should.
        """
        check_inputs(SPECS[network], self.size, tensors)
        return in_pieces(partial(self._run_piece, network), tensors, MAX_BATCH)

    def _run_piece(self, network: str, tensors: Tensors) -> Tensors:
        spec = SPECS[network]
        count = len(next(iter(tensors.values())))

        def shaped(reply: Tensors) -> Tensors:
            return {t.name: reply[t.name].reshape(count, *t.dims(self.size)) for t in spec.outputs}

        call = Call(
            model=spec.model_name,
            inputs={
                t.name: tensors[t.name].reshape(count, *(t.dims(self.size) or (1,)))
                for t in spec.inputs
            },
            outputs=tuple(t.name for t in spec.outputs),
            parse=shaped,
            output_bytes={t.name: 4 * count * math.prod(t.dims(self.size)) for t in spec.outputs},
        )
        result: Any = self._client.call(call)
        return result

    def close(self) -> None:
        """Nothing is held: the client is its owner's to close."""
