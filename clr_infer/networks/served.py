"""The networks as they are served: from a folder of weights to modules, and back to files."""

from typing import Any

from safetensors.torch import load as load_safetensors
from torch import nn

from ..errors import WeightsError
from ..weights import SAFETENSORS, Weights
from .align import AlignNetwork
from .fg_jpeg import FgJpegNetwork, QfPredictor
from .localize import LocalizeNetwork
from .protect import ProtectNetwork
from .recover import RecoverNetwork

__all__ = ["build_served", "load_served"]


def build_served(manifest: dict[str, Any]) -> nn.ModuleDict:
    """Build all networks, untrained, from the facts in a manifest."""
    size, width, seed = manifest["size"], manifest["width"], manifest["seed"]
    protect = ProtectNetwork(size, width, seed)
    protect.nominal_psnr_db = manifest["psnr_db"]
    return nn.ModuleDict(
        {
            "protect": protect,
            "align": AlignNetwork(size, manifest["align_width"]),
            "localize": LocalizeNetwork(size, seed),
            "recover": RecoverNetwork(size, width),
            "fg_jpeg": FgJpegNetwork(),
            "qf_predictor": QfPredictor(),
        }
    ).eval()


def load_served(weights: Weights, device: str = "cpu", size: int | None = None) -> nn.ModuleDict:
    """Build all networks and load their weights, strictly.

    Args:
        weights: from where.
        device: for the networks.
        size: side of their frame in pixels; ``None`` takes that of the weights. No weight depends
            on it, but the confidence is calibrated for one.

    Raises:
        WeightsError: the file does not fit these networks.
    """
    networks = build_served(weights.manifest | {"size": size or weights.size})
    try:
        networks.load_state_dict(load_safetensors(weights.read(SAFETENSORS)))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{SAFETENSORS} does not fit the networks: {error}") from error
    return networks.to(device).requires_grad_(False)
