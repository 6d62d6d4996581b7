"""The networks, as PyTorch modules."""

from .align import AlignNetwork
from .protect import ProtectNetwork
from .recover import RecoverNetwork, place
from .registry import Networks

__all__ = ["AlignNetwork", "Networks", "ProtectNetwork", "RecoverNetwork", "place"]
