"""Checkpoints: everything that training needs to go on, in one file."""

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import WeightsError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that the old file or the new one is there, never half of one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, no code is run.

    Raises:
        WeightsError: the file is missing or is no checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error}") from error
    return state
