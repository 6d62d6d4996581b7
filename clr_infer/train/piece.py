"""A piece of training: some minutes on a machine that is lent, from what came back last time.

What a piece leaves fits into a few small files: the checkpoint that the next one goes on from, and
the averaged weights as a folder that the torch runtime opens.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..networks import Networks
from ..weights import MANIFEST, SAFETENSORS, Weights, default_folder
from .checkpoint import CHECKPOINT, load_checkpoint, load_start, save_checkpoint
from .data import Photos
from .fg_jpeg import FG_JPEG, bring_fg_jpeg
from .finish import package_unexported
from .forward import forward_pass
from .loop import Trainer
from .plan import Plan, plan_of, schedule

__all__ = ["FILE_BYTES_MAX", "Piece", "newest_checkpoint", "train_piece"]

FILE_BYTES_MAX = 16 * 2**20
"""Checkpoints over it leave the optimiser's moments behind."""

_SEEDS = range(4)
_WATCHED = ("out_db", "ssim_lost", "log_odds")
_PROFILED = 3
_LISTED = 15
_DONE_S = 1.0


@dataclass(frozen=True)
class Piece:
    """How to train in one piece.

    Attributes:
        minutes: from its beginning to its end, reading photographs and writing files included.
        reserve_s: of these, for what comes after training.
        least_s: to train in any case, however long the rest takes.
        schedule: minutes of a new schedule, over as many pieces as it takes; ``None`` ends it
            with this piece.
        size: side of the frame of a new schedule.
        batch: images a step of a new schedule.
        group: images that are made and attacked at once.
        learning_rate: peak of a new schedule.
        alignment: weight of the feature-alignment loss of a new schedule.
    """

    minutes: float
    reserve_s: float = 25.0
    least_s: float = 0.0
    schedule: float | None = None
    size: int = 320
    batch: int = 64
    group: int = 16
    learning_rate: float = 1e-3
    alignment: float = 0.0


def newest_checkpoint(paths: Iterable[Path]) -> Path | None:
    """The file that was written last; ``None`` if there is none of them."""
    found = [path for path in paths if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def train_piece(
    piece: Piece,
    photos: Photos,
    held_out: Photos | None,
    folder: Path,
    device: torch.device,
    checkpoint: Path | None,
    began: float,
    say: Callable[[str], None],
    data: str,
) -> dict[str, Any]:
    """Train for some minutes; writes ``checkpoint.pt``, ``weights/``, log and pictures.

    A checkpoint in the middle of its schedule goes on in it, with its own plan. From one at its
    end, or from the weights in the package where there is none, a new schedule starts. Until it
    is first saved, the old checkpoint stays: whenever this is killed, there is one to go on from.

    ``weights/`` keep the calibration of those in the package, and are left out where the codes
    are others.

    Args:
        piece: how.
        photos: to train on.
        held_out: to measure on, before and after.
        folder: for the files; what an earlier piece left there is replaced.
        device: to train on.
        checkpoint: to go on from.
        began: :func:`time.monotonic` at the beginning of the piece.
        say: takes a line about progress.
        data: what the photographs are, in words.

    Returns:
        Plan, steps, images a second (all of it, and the median of some steps each), what was
        measured on ``held_out``, where the device's time went, and the files with their bytes.

    Raises:
        UsageError: reading the photographs took all the time that there was.
        WeightsError: the checkpoint, or FG-JPEG beside it, cannot be read.
        OutputError: the folder cannot be written.
    """
    end = began + piece.minutes * 60.0 - piece.reserve_s
    if not piece.least_s and time.monotonic() >= end:
        raise UsageError(f"{piece.minutes:g} minutes leave no time to train: give --minutes more")
    for start in (checkpoint, folder / CHECKPOINT, default_folder()):
        if start is not None and bring_fg_jpeg(start, folder):
            break
    trainer = _trainer(piece, photos, folder, device, checkpoint, data)
    say(f"from {checkpoint or 'the weights in the package'}, step {trainer.total_steps}")
    before = _held_out(trainer.average, held_out, trainer.plan) if held_out else None
    step, seconds = trainer.step, trainer.seconds
    left = max(end - time.monotonic(), piece.least_s) / 60.0
    if step == 0 and piece.schedule is None:
        trainer.plan = replace(trainer.plan, minutes=left)
    trainer.run(minutes=left)
    if (folder / CHECKPOINT).stat().st_size > FILE_BYTES_MAX:
        trainer.save(with_optimizer=False)
    _write_weights(folder, trainer.plan.seed, say)
    after = _held_out(trainer.average, held_out, trainer.plan) if held_out else None
    images = (trainer.step - step) * trainer.plan.batch
    return {
        "plan": trainer.account(),
        "photographs": len(photos),
        "images": images,
        "images_per_s": images / max(trainer.seconds - seconds, 1e-9),
        "images_per_s_median": float(np.median(trainer.rates)) if trainer.rates else None,
        "held_out": {"before": before, "after": after},
        "profile": _profile(trainer),
        "files": _files(folder),
    }


def _files(folder: Path) -> dict[str, int]:
    """Bytes of each file, but for the hidden ones that a kill may leave."""
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    return {str(path): (folder / path).stat().st_size for path in visible}


def _trainer(
    piece: Piece,
    photos: Photos,
    folder: Path,
    device: torch.device,
    checkpoint: Path | None,
    data: str,
) -> Trainer:
    """In the middle of the checkpoint's schedule, or at the beginning of a new one."""
    own = folder / CHECKPOINT
    if checkpoint is not None:
        state = load_checkpoint(checkpoint, torch.device("cpu"))
        if state["seconds"] < state["plan"]["minutes"] * 60.0 - _DONE_S:
            plan = replace(plan_of(state["plan"], checkpoint), group=piece.group)
            if checkpoint.resolve() != own.resolve():
                save_checkpoint(own, state)
            return Trainer(plan, photos, folder, device, data=data)
    start = checkpoint or default_folder()
    facts = load_start(start).plan
    plan = Plan(
        minutes=piece.schedule or piece.minutes,
        size=piece.size,
        batch=piece.batch,
        group=piece.group,
        width=facts["width"],
        align_width=facts["align_width"],
        psnr_db=facts["psnr_db"],
        alignment=piece.alignment,
        seed=facts["seed"],
    )
    plan = replace(plan.fine_tuning(), learning_rate=piece.learning_rate)
    return Trainer(plan, photos, folder, device, start, anew=True, data=data)


def _write_weights(folder: Path, seed: int, say: Callable[[str], None]) -> None:
    base, weights = Weights(), folder / "weights"
    if seed == base.manifest["seed"]:
        package_unexported(folder / CHECKPOINT, folder / FG_JPEG, base, weights)
        return
    for name in (MANIFEST, SAFETENSORS):  # of an earlier piece
        (weights / name).unlink(missing_ok=True)
    say(f"no weights/: the package's are not calibrated for codes of seed {seed}")


@torch.no_grad()
def _held_out(networks: Networks, photos: Photos, plan: Plan) -> dict[str, float]:
    """What :func:`.forward.forward_pass` says of photographs, under all post-processing.

    The same draws each time.
    """
    stage, _ = schedule(plan, 1.0)
    found = [
        forward_pass(networks, photos, plan.batch, stage, np.random.default_rng(seed), plan.group)
        for seed in _SEEDS
    ]
    means = {name: np.mean([float(numbers[name]) for _, numbers in found]) for name in _WATCHED}
    return {name: float(mean) for name, mean in means.items()}


def _profile(trainer: Trainer) -> dict[str, Any]:
    """What the device was busy with in a few more steps, whose weights nobody keeps."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = trainer.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    rng = np.random.default_rng(0)
    with profile(activities=[activity]) as trace:
        for _ in range(_PROFILED):
            trainer.train_step(1.0, rng)
        if on_gpu:
            torch.cuda.synchronize(trainer.device)
    spent = {
        row.key: (row.self_device_time_total if on_gpu else row.self_cpu_time_total)
        / 1000.0
        / _PROFILED
        for row in trace.key_averages()
    }
    longest = sorted(spent, key=lambda key: -spent[key])[:_LISTED]
    return {
        "busy_ms_per_step": round(sum(spent.values()), 2),
        "ms_per_step": {key[:80]: round(spent[key], 3) for key in longest},
    }
