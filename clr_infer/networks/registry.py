"""The networks that are trained together."""

import torch
from torch import nn

from .align import AlignNetwork
from .localize import LocalizeNetwork
from .protect import ProtectNetwork
from .recover import RecoverNetwork

__all__ = ["Networks"]


class Networks(nn.Module):
    """Protect, align and recover networks of one frame size, under one roof.

    With them the localize network, in which nothing is learned: it is none of their state.

    Args:
        size: side of the frame in pixels, a multiple of 32. No weight depends on it.
        width: channels of the protect and recover networks.
        align_width: channels of the align network.
        seed: chooses the synchronisation codes.
    """

    def __init__(self, size: int, width: int = 48, align_width: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.protect = ProtectNetwork(size, width, seed)
        self.align = AlignNetwork(size, align_width)
        self.recover = RecoverNetwork(size, width)
        self.localize = LocalizeNetwork(size, seed)
        self.localize.register_buffer("calibration", self.localize.calibration, persistent=False)
        self.mixed_precision = False

    def precision(self) -> torch.autocast:
        """The context that the networks train in: bfloat16 if asked for, float32 elsewhere."""
        device = self.protect.template_rows.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.mixed_precision)
