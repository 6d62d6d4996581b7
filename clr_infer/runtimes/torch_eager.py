"""PyTorch on a CPU or a GPU: eagerly the reference that exports are held against."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ModelError, RuntimeUnavailable
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors
from .torch_options import TorchOptions, in_16_bits

__all__ = ["TorchEager", "cpu_threads"]


class TorchEager:
    """Runs the networks as PyTorch modules.

    On a GPU the pipeline's tensors stay there from upload to result.

    Args:
        weights: where the safetensors file is.
        device: ``"cpu"``, ``"cuda"``, or ``None`` for a GPU if there is one.
        name: ``"torch"``, with options as in ``"torch+compile+bf16"``, see :class:`.TorchOptions`.
        threads: of the CPU; ``None`` takes what PyTorch takes.

    Raises:
        UsageError: unknown options.
        RuntimeUnavailable: PyTorch is missing, or sees no GPU where one is asked for.
        WeightsError: the weights do not fit these networks.
    """

    def __init__(
        self,
        weights: Weights,
        device: str | None = None,
        name: str = "torch",
        threads: int | None = None,
    ) -> None:
        self.name, options = name, TorchOptions.from_name(name)
        self._threads = threads
        try:
            import torch

            from ..device_pixels import DevicePixels
            from ..networks.served import load_served
        except ImportError as error:
            raise RuntimeUnavailable(
                'the torch runtime needs PyTorch: pip install "clr_infer[export]"'
            ) from error
        self._torch = torch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.size, self.psnr_db = weights.size, weights.psnr_db
        on_host = torch.device(self.device).type == "cpu"
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise RuntimeUnavailable(
                "PyTorch sees no GPU: it needs a build with CUDA and an NVIDIA driver that fits"
            )
        if options.graphs and on_host:
            raise RuntimeUnavailable(f"{name!r}: CUDA graphs need a GPU; leave +graphs out")
        self.pixels: Pixels = HostPixels() if on_host else DevicePixels(self.device)
        self._layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self._networks: dict[str, Any] = {
            network: self._prepared(module, options)
            for network, module in load_served(weights, self.device).items()
            if network in SPECS
        }
        self._lock = threading.Lock()

    def _prepared(self, network: Any, options: TorchOptions) -> Any:
        torch = self._torch
        if options.precision != "fp32":
            in_16_bits(network, {"bf16": torch.bfloat16, "fp16": torch.float16}[options.precision])
        network = network.to(memory_format=self._layout)
        if options.compile:
            network = torch.compile(network)
        if options.graphs:
            from .torch_graphs import GraphedNetwork

            network = GraphedNetwork(network)
        return network

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`; one call at a time."""
        spec = SPECS[network]
        check_inputs(spec, self.size, tensors)
        given = [tensors[t.name] for t in spec.inputs]
        if not self._networks:
            raise ModelError(f"{self.name} was closed; load it again")
        try:
            with self._lock, cpu_threads(self._threads), self._torch.inference_mode():
                outputs = self._networks[network](*(self._placed(value) for value in given))
        except (MemoryError, RuntimeError) as error:  # PyTorch's own are RuntimeErrors
            raise ModelError(f"{self.name} failed on {network}: {_advice(error)}") from error
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        if not all(isinstance(value, self._torch.Tensor) for value in given):
            outputs = tuple(output.cpu().numpy() for output in outputs)
        return {t.name: o for t, o in zip(spec.outputs, outputs, strict=True)}

    def _placed(self, value: Any) -> Any:
        tensor = self._torch.as_tensor(value, device=self.device)
        layout = self._layout if tensor.ndim == 4 else self._torch.contiguous_format
        return tensor.contiguous(memory_format=layout)

    def close(self) -> None:
        """Free the networks; what is running ends first."""
        with self._lock:
            self._networks.clear()


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Have PyTorch use so many threads of the CPU for a while; ``None`` leaves it as it is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _advice(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0]
    if isinstance(error, MemoryError) or "memory" in text.lower():
        return f"{first}; use smaller batches"
    if "compiler" in text.lower():
        return f"{first}; install a C++ compiler, or leave +compile out"
    return first
