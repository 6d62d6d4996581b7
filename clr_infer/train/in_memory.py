"""Networks that were trained just now, as a runtime: to score them without exporting anything."""

import numpy as np
import torch

from ..networks import Networks
from ..pixels import HostPixels, Pixels
from ..runtimes.base import Tensors
from ..specs import SPECS
from .loop import Trainer

__all__ = ["TrainedNetworks"]


class TrainedNetworks:
    """The averaged protect, align and recover networks of a trainer, at any frame.

    Args:
        trainer: of the run.
        size: side of the frame in pixels.
    """

    name = "trained"
    pixels: Pixels = HostPixels()

    def __init__(self, trainer: Trainer, size: int) -> None:
        plan = trainer.plan
        self.size, self.psnr_db = size, plan.psnr_db
        networks = Networks(size, plan.width, plan.align_width, plan.seed)
        networks.load_state_dict(trainer.average.state_dict())
        networks.protect.nominal_psnr_db = self.psnr_db
        self._networks = networks.eval()

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`..runtimes.base.Runtime`."""
        given = [torch.from_numpy(np.ascontiguousarray(value)) for value in tensors.values()]
        with torch.inference_mode():
            made = getattr(self._networks, network)(*given)
        made = made if isinstance(made, tuple) else (made,)
        return {t.name: o.numpy() for t, o in zip(SPECS[network].outputs, made, strict=True)}

    def close(self) -> None:
        """Nothing to free."""
