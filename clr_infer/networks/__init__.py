"""The networks, as PyTorch modules."""

from .align import AlignNetwork
from .localize import LocalizeNetwork
from .protect import ProtectNetwork
from .recover import RecoverNetwork, place
from .registry import Networks

__all__ = [
    "AlignNetwork",
    "LocalizeNetwork",
    "Networks",
    "ProtectNetwork",
    "RecoverNetwork",
    "place",
]
