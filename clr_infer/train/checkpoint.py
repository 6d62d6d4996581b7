"""Checkpoints: everything that training needs to go on, in one file; and what it can start from."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load as load_safetensors

from ..errors import WeightsError
from ..weights import SAFETENSORS, Weights

__all__ = ["TRAINED", "Start", "load_checkpoint", "load_start", "save_checkpoint"]

TRAINED = ("protect", "align", "recover")
"""The networks of :class:`clr_infer.networks.Networks`."""


class Start(NamedTuple):
    """Trained weights that a new schedule starts from.

    Attributes:
        plan: what they were trained with: ``width``, ``align_width``, ``seed`` of the
            synchronisation codes, ``psnr_db``.
        weights: of the networks that are trained together, averaged.
        total_steps: that they were trained for.
        history: one record of each run.
    """

    plan: dict[str, Any]
    weights: dict[str, torch.Tensor]
    total_steps: int
    history: list[dict[str, Any]]


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


def load_start(path: Path) -> Start:
    """Read what a new schedule starts from: a checkpoint, or a folder of weights.

    Raises:
        WeightsError: it is neither, or damaged.
    """
    if not path.is_dir():
        state = load_checkpoint(path, torch.device("cpu"))
        return Start(state["plan"], state["average"], state["total_steps"], state["history"])
    folder = Weights(path)
    tensors = load_safetensors(folder.read(SAFETENSORS))
    trained = {name: t for name, t in tensors.items() if name.split(".")[0] in TRAINED}
    facts = folder.manifest
    plan = {name: facts[name] for name in ("width", "align_width", "seed", "psnr_db")}
    return Start(plan, trained, facts["steps"], facts["training"])
