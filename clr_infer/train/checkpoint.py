"""Checkpoints: everything that training needs to go on, in one file; and what it can start from."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load as load_safetensors
from torch import nn

from ..errors import WeightsError
from ..image_files import write_bytes
from ..weights import MANIFEST, SAFETENSORS, Weights

__all__ = [
    "CHECKPOINT",
    "NOT_STATED",
    "TRAINED",
    "Start",
    "load_checkpoint",
    "load_into",
    "load_parts",
    "load_start",
    "save_checkpoint",
]

CHECKPOINT = "checkpoint.pt"

NOT_STATED = "not stated"
"""What weights were trained on, where nobody said it."""

TRAINED = ("protect", "align", "recover")
"""The networks of :class:`clr_infer.networks.Networks`."""

_CODES = {"width": int, "align_width": int, "seed": int, "psnr_db": int | float}
_PLAN = _CODES | {"minutes": int | float, "size": int}
_FOLDER = _CODES | {"steps": int, "training": list}
_STATE = {
    "plan": dict,
    "history": list,
    "networks": dict,
    "average": dict,
    "optimizer": dict | None,
    "step": int,
    "seconds": int | float,
    "total_steps": int,
    "data": str | None,  # this and the next came later than the others
    "default_psnr_db": int | float | None,
}


class Start(NamedTuple):
    """Trained weights that a new schedule starts from.

    Attributes:
        plan: what they were trained with: ``width``, ``align_width``, ``seed`` of the
            synchronisation codes, ``psnr_db``.
        weights: of the networks that are trained together, averaged.
        total_steps: that they were trained for.
        history: one record of each run.
        data: what they were trained on, in words.
        default_psnr_db: strength to protect at unless told otherwise; ``None`` where it is that
            of training.
    """

    plan: dict[str, Any]
    weights: dict[str, torch.Tensor]
    total_steps: int
    history: list[dict[str, Any]]
    data: str
    default_psnr_db: float | None


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that the old file or the new one is there, never half of one.

    Raises:
        OutputError: it cannot be written.
    """
    content = io.BytesIO()
    torch.save(state, content)
    write_bytes(path, content.getvalue(), force=True)


def _check(found: object, wanted: dict[str, Any], source: Path) -> None:
    held = found if isinstance(found, dict) else {}
    lacking = [name for name, kind in wanted.items() if not isinstance(held.get(name), kind)]
    if lacking:
        names = ", ".join(lacking)
        raise WeightsError(f"{source} is not of this training: {names} missing or of another kind")


def load_parts(path: Path, wanted: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Read a file of :func:`save_checkpoint`: tensors and plain values only, no code is run.

    Args:
        path: the file.
        wanted: names that it has to hold, and the types of their values.
        device: for the tensors.

    Raises:
        WeightsError: the file is missing, damaged or lacks one of them.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error}") from error
    _check(state, wanted, path)
    return state


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint of the networks that are trained together.

    Raises:
        WeightsError: the file is missing, or is no such checkpoint.
    """
    state = load_parts(path, _STATE, device)
    _check(state["plan"], _PLAN, path)
    return state


def load_into(module: nn.Module, weights: dict[str, torch.Tensor], source: Path) -> None:
    """Load weights into networks, strictly.

    Raises:
        WeightsError: they are of other networks.
    """
    try:
        module.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:  # as many kinds as foreign values
        raise WeightsError(
            f"{source} holds networks of other widths, or others: {error}"
        ) from error


def load_start(path: Path) -> Start:
    """Read what a new schedule starts from: a checkpoint, or a folder of weights.

    Raises:
        WeightsError: it is neither, or damaged.
    """
    if not path.is_dir():
        state = load_checkpoint(path, torch.device("cpu"))
        facts = (state["plan"], state["average"], state["total_steps"], state["history"])
        return Start(*facts, state.get("data") or NOT_STATED, state.get("default_psnr_db"))
    folder = Weights(path)
    manifest = folder.manifest
    _check(manifest, _FOLDER, path / MANIFEST)
    tensors = load_safetensors(folder.read(SAFETENSORS))
    trained = {name: t for name, t in tensors.items() if name.split(".")[0] in TRAINED}
    plan = {name: manifest[name] for name in _CODES}
    data = str(manifest.get("data") or NOT_STATED)
    return Start(
        plan, trained, manifest["steps"], manifest["training"], data, folder.default_psnr_db
    )
