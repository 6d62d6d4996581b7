"""CUDA graphs of PyTorch modules."""

from collections import OrderedDict
from typing import Any

import torch

__all__ = ["GraphedNetwork"]

_BATCH_SIZES_MAX = 8
_WARM_UPS = 3


class GraphedNetwork:
    """Runs a module from a CUDA graph, one for each batch size; one caller at a time.

    Args:
        network: on a GPU, without a gradient.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network
        self._graphs: OrderedDict[int, tuple[Any, tuple, tuple]] = OrderedDict()

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> tuple[Any, tuple, tuple]:
        held = tuple(value.clone() for value in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their algorithms outside the recording
            for _ in range(_WARM_UPS):
                self._network(*held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate and wait meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self._network(*held)
        return graph, held, outputs if isinstance(outputs, tuple) else (outputs,)

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run a batch; a new batch size is recorded first, the oldest of many forgotten."""
        batch = len(inputs[0])
        if batch not in self._graphs:
            while len(self._graphs) >= _BATCH_SIZES_MAX:
                self._graphs.popitem(last=False)
            self._graphs[batch] = self._record(inputs)
        self._graphs.move_to_end(batch)
        graph, held, outputs = self._graphs[batch]
        for target, value in zip(held, inputs, strict=True):
            target.copy_(value)
        graph.replay()
        return tuple(output.clone() for output in outputs)
