"""The training loop: from a folder of photographs to weights.

Resumable: everything stands in ``checkpoint.pt``, and a run that is started again in the same
folder goes on where the last one stopped.
"""

import copy
import csv
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ..errors import WeightsError
from ..networks import Networks
from ..networks.protect import NOMINAL_PSNR_DB
from ..processor import multiplies_bfloat16
from .checkpoint import load_checkpoint, load_start, save_checkpoint
from .data import Photos
from .forward import Stage, forward_pass
from .pictures import draw_curves, draw_sheet

__all__ = ["Plan", "Trainer", "schedule"]

_WARM_UP_STEPS = 100
_EMA_DECAY = 0.999
_LOG_EVERY = 50
_ALIGN_EVERY = 4
"""The alignment loss needs two more views of each image: it is taken in one of so many steps."""


@dataclass(frozen=True)
class Plan:
    """What to train, for how long and on what.

    Attributes:
        minutes: time that the whole schedule takes, resumed runs included.
        size: side of the frame in training; the networks run at any other size afterwards.
        batch: images a step.
        group: images that are made and attacked at once: they share sizes and kinds of
            post-processing. Many fill a GPU, one leaves every image its own.
        width: channels of the protect and recover networks.
        align_width: channels of the align network.
        learning_rate: its peak; it warms up and then falls along a cosine.
        psnr_start_db: strength of the residual at the start of the curriculum.
        psnr_db: strength that it ends at.
        ramp: share of the run in which strength and post-processing reach their end.
        alignment: weight of the feature-alignment loss.
        seed: of the random stream.
    """

    minutes: float
    size: int = 128
    batch: int = 8
    group: int = 1
    width: int = 48
    align_width: int = 32
    learning_rate: float = 1.5e-3
    psnr_start_db: float = 24.0
    psnr_db: float = NOMINAL_PSNR_DB
    ramp: float = 0.5
    alignment: float = 0.1
    seed: int = 0

    def fine_tuning(self) -> "Plan":
        """The same plan for trained networks: the curriculum's end from the start."""
        return replace(self, psnr_start_db=self.psnr_db, ramp=0.0, learning_rate=4e-4)


def schedule(plan: Plan, progress: float) -> tuple[Stage, float]:
    """The curriculum and the learning rate, as a share of its peak, at ``progress`` (0 to 1).

    First the networks learn to speak: a strong residual and no post-processing. Then both grow
    to their end in the share ``plan.ramp`` of the run.
    """
    ramp = min(progress / plan.ramp, 1.0) if plan.ramp else 1.0
    psnr = plan.psnr_start_db + (plan.psnr_db - plan.psnr_start_db) * ramp
    hardness = min(max((ramp - 0.2) / 0.7, 0.0), 1.0)
    rate = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return Stage(psnr, hardness, plan.alignment), rate


class Trainer:
    """One run of training in one folder.

    Args:
        plan: the schedule.
        photos: the training photographs.
        folder: for the checkpoint and the log.
        device: ``cpu`` or ``cuda``.
        start_from: a checkpoint or a folder of weights to start a new schedule from; what is in
            ``folder`` goes first.

    Attributes:
        jpeg: the model of JPEG to train with; the exact one unless it is replaced.

    Raises:
        WeightsError: a checkpoint or the weights cannot be read, or are of other networks.
    """

    def __init__(
        self,
        plan: Plan,
        photos: Photos,
        folder: Path,
        device: torch.device,
        start_from: Path | None = None,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.photos, self.folder, self.device = plan, photos, folder, device
        self.networks = Networks(plan.size, plan.width, plan.align_width, plan.seed).to(device)
        self.networks.to(memory_format=torch.channels_last)
        self.networks.mixed_precision = device.type != "cpu" or multiplies_bfloat16()
        self.jpeg = Stage.jpeg
        self.average = copy.deepcopy(self.networks).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.networks.parameters(), plan.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4
        )
        self.step, self.seconds, self.total_steps = 0, 0.0, 0
        self.earlier: list[dict] = []
        self.rates: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            # Read to the host: the optimiser would ask a GPU for its count of steps in each step.
            self._resume(load_checkpoint(folder / "checkpoint.pt", torch.device("cpu")))
        elif start_from is not None:
            start = load_start(start_from)
            try:
                self.networks.load_state_dict(start.weights)
            except RuntimeError as error:
                message = f"{start_from} holds networks of other widths: {error}"
                raise WeightsError(message) from error
            self.average.load_state_dict(start.weights)
            self.total_steps, self.earlier = start.total_steps, start.history

    def _resume(self, state: dict) -> None:
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        if state["optimizer"] is not None:  # float32 again, as the networks are
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.total_steps, self.earlier = state["total_steps"], state["history"][:-1]

    def account(self) -> dict:
        """This run so far, for the record that stays with the weights: the plan and its use."""
        spent = {"steps": self.step, "minutes_spent": round(self.seconds / 60, 1)}
        return asdict(self.plan) | spent

    def save(self, with_optimizer: bool = True) -> None:
        """Write ``checkpoint.pt``.

        Args:
            with_optimizer: keep its moments, in 16 bits: two thirds of the size. Without them a
                resumed run has to find them again.
        """
        save_checkpoint(
            self.folder / "checkpoint.pt",
            {
                "plan": asdict(self.plan),
                "history": [*self.earlier, self.account()],
                "networks": self.networks.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self._moments() if with_optimizer else None,
                "step": self.step,
                "seconds": self.seconds,
                "total_steps": self.total_steps,
            },
        )

    def _moments(self) -> dict:
        """The state of the optimiser in bfloat16: float32's range, half its size."""
        state = self.optimizer.state_dict()
        small = {
            index: {k: v.bfloat16() if v.ndim else v for k, v in one.items()}
            for index, one in state["state"].items()
        }
        return {**state, "state": small}

    def train_step(
        self, progress: float, rng: np.random.Generator
    ) -> dict[str, torch.Tensor | float]:
        """Do one optimiser step; returns the numbers for the log, without waiting for them."""
        stage, rate = schedule(self.plan, progress)
        alignment = 0.0 if self.step % _ALIGN_EVERY else stage.alignment
        stage = replace(stage, jpeg=self.jpeg, alignment=alignment)
        rate *= min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * rate
        plan = self.plan
        loss, numbers = forward_pass(self.networks, self.photos, plan.batch, stage, rng, plan.group)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.networks.parameters())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for parameter in parameters:  # one that overflowed counts as none, without asking
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        self.optimizer.step()
        self.step += 1
        self.total_steps += 1
        decay = min(_EMA_DECAY, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)(list(self.average.parameters()), parameters, None)
        return {
            "loss": loss.detach(),
            **numbers,
            "psnr_db": stage.psnr_db,
            "hardness": stage.hardness,
        }

    def save_pictures(self) -> None:
        """Draw ``curves.png`` from the log, and ``sheet.png`` with the averaged weights."""
        draw_curves(self.folder / "log.csv", self.folder / "curves.png")
        draw_sheet(self.average, self.photos, self.plan.psnr_db, self.folder / "sheet.png")

    def run(self, minutes: float | None = None, save_every_s: float = 180.0) -> None:
        """Train to the end of the schedule, or for ``minutes`` of it.

        Writes ``log.csv`` (running means) as it goes, the checkpoint and the pictures every three
        minutes and at the end.
        """
        budget = self.plan.minutes * 60.0
        stop = budget if minutes is None else min(budget, self.seconds + minutes * 60.0)
        try:
            # Sizes within the networks never change: the fastest convolutions are worth a search.
            with torch.backends.cudnn.flags(enabled=True, benchmark=True):
                self._train_until(stop, save_every_s)
        finally:  # an interrupted run loses nothing
            self.save()
        self.save_pictures()

    def _train_until(self, stop: float, save_every_s: float) -> None:
        rng = np.random.default_rng([self.plan.seed, self.total_steps])
        budget = self.plan.minutes * 60.0
        means: dict[str, torch.Tensor | float] = {}
        began, before, saved = time.monotonic(), self.seconds, time.monotonic()
        marked = (self.step, began)
        log = self.folder / "log.csv"
        with log.open("a", newline="") as stream, tqdm(total=stop, initial=before, unit="s") as bar:
            writer = csv.DictWriter(stream, self._columns())
            if stream.tell() == 0:
                writer.writeheader()
            while self.seconds < stop:
                numbers = self.train_step(self.seconds / budget, rng)
                for name, value in numbers.items():
                    means[name] = means.get(name, value) * 0.98 + value * 0.02
                self.seconds = before + time.monotonic() - began
                if self.step % _LOG_EVERY == 0 or self.seconds >= stop:
                    row = {n: f"{float(v):.4f}" for n, v in means.items()}  # waits for the device
                    marked = self._mark(*marked)
                    now = {"step": self.total_steps, "seconds": f"{self.seconds:.0f}"}
                    writer.writerow(now | row)
                    stream.flush()
                    bar.set_postfix(row, refresh=False)
                    bar.update(min(self.seconds, stop) - bar.n)
                if time.monotonic() - saved > save_every_s:
                    self.save()
                    self.save_pictures()
                    saved = time.monotonic()

    def _columns(self) -> list[str]:
        aligned = ["align"] if self.plan.alignment else []
        quality = ["out_db", "thumb_db", "surprise", "ssim_lost", "log_odds"]
        return ["step", "seconds", "loss", *quality, *aligned, "psnr_db", "hardness"]

    def _mark(self, step: int, at: float) -> tuple[int, float]:
        """Note the images a second since a step that was done at a time; returns these of now."""
        now = time.monotonic()
        if self.step > step:
            self.rates.append((self.step - step) * self.plan.batch / (now - at))
        return self.step, now
