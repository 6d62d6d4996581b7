"""PyTorch, eagerly: the reference that exports are held against, on a CPU or a GPU."""

import threading

from ..errors import RuntimeUnavailable
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors

__all__ = ["TorchEager"]


class TorchEager:
    """Runs the networks as PyTorch modules.

    On a GPU the pipeline's tensors stay there from upload to result.

    Args:
        weights: where the safetensors file is.
        device: ``"cpu"``, ``"cuda"``, or ``None`` for a GPU if there is one.
    """

    name = "torch"

    def __init__(self, weights: Weights, device: str | None = None) -> None:
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
        self.pixels: Pixels = HostPixels() if on_host else DevicePixels(self.device)
        self._networks = load_served(weights, self.device)
        self._lock = threading.Lock()

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`."""
        spec = SPECS[network]
        check_inputs(spec, self.size, tensors)
        given = [tensors[t.name] for t in spec.inputs]
        inputs = [self._torch.as_tensor(v, device=self.device).contiguous() for v in given]
        with self._lock, self._torch.inference_mode():
            outputs = self._networks[network](*inputs)
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        if not all(isinstance(value, self._torch.Tensor) for value in given):
            outputs = tuple(output.cpu().numpy() for output in outputs)
        return {t.name: o for t, o in zip(spec.outputs, outputs, strict=True)}
