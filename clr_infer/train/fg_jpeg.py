"""Training of FG-JPEG against libjpeg, and of the QF predictor that supervises it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ..attacks.real import libjpeg
from ..networks.fg_jpeg import FgJpegNetwork, QfPredictor
from ..networks.served import load_served
from ..weights import Weights
from .checkpoint import load_parts, save_checkpoint
from .data import Photos

__all__ = ["FG_JPEG", "FgJpegPlan", "bring_fg_jpeg", "load_fg_jpeg", "train_fg_jpeg"]

FG_JPEG = "fg_jpeg.pt"

_SUBSAMPLINGS = ("4:2:0", "4:2:0", "4:2:2", "4:4:4")
_PREDICTOR_SHARE = 0.4


@dataclass(frozen=True)
class FgJpegPlan:
    """How to train FG-JPEG.

    Attributes:
        minutes: for both networks.
        size: side of the patches in pixels.
        batch: patches a step.
        learning_rate: its peak.
        qf_weight: weight of the QF predictor's cross-entropy.
        seed: of the random stream.
    """

    minutes: float = 20.0
    size: int = 128
    batch: int = 8
    learning_rate: float = 3e-3
    qf_weight: float = 2e-4
    seed: int = 0


def _patches(photos: Photos, plan: FgJpegPlan, rng: np.random.Generator) -> torch.Tensor:
    """A batch of 8-bit patches, Bx3xSxS in [0, 1]."""
    drawn = [photos.draw(rng, plan.size)[..., : plan.size, : plan.size] for _ in range(plan.batch)]
    return (torch.cat(drawn).clamp(0, 1) * 255).round() / 255


def _real(patches: torch.Tensor, qf: np.ndarray, subsampling: str) -> torch.Tensor:
    pixels = (patches * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = [libjpeg(p, int(q), subsampling) for p, q in zip(pixels, qf, strict=True)]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(patches) / 255.0


def train_fg_jpeg(plan: FgJpegPlan, photos: Photos, folder: Path, device: torch.device) -> Path:
    """Train the QF predictor on real JPEG, then FG-JPEG against real JPEG under its eyes.

    FG-JPEG sees even quality factors only, so that odd ones show what lies between.

    Returns:
        The checkpoint, ``fg_jpeg.pt`` in ``folder``.

    Raises:
        OutputError: it cannot be written.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    generator, predictor = FgJpegNetwork().to(device), QfPredictor().to(device)
    candidates = predictor.candidates.cpu().numpy()
    for share, network in ((_PREDICTOR_SHARE, predictor), (1 - _PREDICTOR_SHARE, generator)):
        rate = plan.learning_rate
        optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.98))
        budget, began, spent = plan.minutes * 60 * share, time.monotonic(), 0.0
        mean = None
        with tqdm(total=budget, unit="s", desc=type(network).__name__) as bar:
            while spent < budget:
                for group in optimizer.param_groups:
                    group["lr"] = rate * max(0.01, 1 - spent / budget)
                index = rng.integers(len(candidates), size=plan.batch)
                if network is generator:
                    index = index // 2 * 2  # candidates start at 10: even quality factors
                qf, target = candidates[index], torch.from_numpy(index).to(device)
                patches = _patches(photos, plan, rng)
                subsampling = str(rng.choice(_SUBSAMPLINGS))
                real = _real(patches, qf, subsampling)
                if network is predictor:
                    loss = F.cross_entropy(predictor(real), target)
                else:
                    quality = torch.from_numpy(qf).to(patches)
                    made = generator(patches, quality, subsampling)
                    loss = (made - real).abs().mean()
                    loss = loss + plan.qf_weight * F.cross_entropy(predictor(made), target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                mean = (
                    float(loss.detach())
                    if mean is None
                    else 0.98 * mean + 0.02 * float(loss.detach())
                )
                spent = time.monotonic() - began
                bar.set_postfix(loss=f"{mean:.5f}", refresh=False)
                bar.update(min(spent, budget) - bar.n)
        predictor.requires_grad_(False)
    path = folder / FG_JPEG
    state = {"generator": generator.state_dict(), "predictor": predictor.state_dict()}
    save_checkpoint(path, state)
    return path


def load_fg_jpeg(path: Path) -> dict[str, Any]:
    """Read the weights of both networks, ``generator`` and ``predictor``, to the host.

    Raises:
        WeightsError: the file is missing or holds something else.
    """
    return load_parts(path, {"generator": dict, "predictor": dict}, torch.device("cpu"))


def bring_fg_jpeg(start: Path, folder: Path) -> bool:
    """Put FG-JPEG as it is into the folder of a run that goes on from something trained.

    Args:
        start: a folder of weights, or a checkpoint, which has it in a file beside it.
        folder: of the run.

    Returns:
        Whether there was any.

    Raises:
        WeightsError: it cannot be read.
        OutputError: it cannot be written.
    """
    if start.is_dir():
        served = load_served(Weights(start))
        states = {"generator": served["fg_jpeg"], "predictor": served["qf_predictor"]}
        state = {name: network.state_dict() for name, network in states.items()}
    elif (start.parent / FG_JPEG).exists():
        state = load_fg_jpeg(start.parent / FG_JPEG)
    else:
        return False
    if start.is_dir() or start.parent.resolve() != folder.resolve():
        save_checkpoint(folder / FG_JPEG, state)
    return True
