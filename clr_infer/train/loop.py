"""The training loop: from a folder of photographs to weights.

Resumable: everything stands in ``checkpoint.pt``, and a run that is started again in the same
folder goes on where the last one stopped.
"""

import copy
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ..errors import OutputError, WeightsError
from ..networks import Networks
from ..processor import multiplies_bfloat16
from .checkpoint import (
    CHECKPOINT,
    NOT_STATED,
    load_checkpoint,
    load_into,
    load_start,
    save_checkpoint,
)
from .data import Photos
from .forward import Stage, forward_pass
from .log import Log
from .pictures import draw_curves, draw_sheet
from .plan import Plan, refuse_other, schedule

__all__ = ["Plan", "Trainer", "schedule"]

_WARM_UP_STEPS = 100
_EMA_DECAY = 0.999
_LOG_EVERY = 50
_ALIGN_EVERY = 4
"""The alignment loss needs two more views of each image: it is taken in one of so many steps."""

_THEN = "; then "


def _followed(earlier: str, data: str) -> str:
    """What weights were trained on, in words: what came before, then this."""
    return earlier if earlier.split(_THEN)[-1] == data else earlier + _THEN + data


class Trainer:
    """One run of training in one folder.

    Args:
        plan: the schedule.
        photos: the training photographs.
        folder: for the checkpoint and the log.
        device: ``cpu`` or ``cuda``.
        start_from: a checkpoint or a folder of weights to start a new schedule from; what is in
            ``folder`` goes first.
        anew: start it in any case. What is in ``folder`` stays there until the first save.
        data: what the photographs are, in words.

    Attributes:
        jpeg: the model of JPEG to train with; the exact one unless it is replaced.
        data: what all of the training was on, in words.
        default_psnr_db: strength that the result protects at unless told otherwise; ``None``
            where it is that of training.

    Raises:
        WeightsError: a checkpoint or the weights cannot be read, or are of other networks.
        UsageError: what is in ``folder`` was begun with another plan, see :func:`refuse_other`.
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        plan: Plan,
        photos: Photos,
        folder: Path,
        device: torch.device,
        start_from: Path | None = None,
        *,
        anew: bool = False,
        data: str = "",
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
        self.data, self.default_psnr_db = data or NOT_STATED, None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {folder} cannot be made: {error}") from error
        if (folder / CHECKPOINT).exists() and not anew:
            self._resume(folder / CHECKPOINT, data)
        elif start_from is not None:
            start = load_start(start_from)
            load_into(self.networks, start.weights, start_from)
            load_into(self.average, start.weights, start_from)
            self.total_steps, self.earlier = start.total_steps, start.history
            self.data = _followed(start.data, self.data)
            self.default_psnr_db = start.default_psnr_db

    def _resume(self, path: Path, data: str) -> None:
        # Read to the host: the optimiser would ask a GPU for its count of steps in each step.
        state = load_checkpoint(path, torch.device("cpu"))
        refuse_other(self.plan, state["plan"], path)
        load_into(self.networks, state["networks"], path)
        load_into(self.average, state["average"], path)
        if state["optimizer"] is not None:  # float32 again, as the networks are
            try:
                self.optimizer.load_state_dict(state["optimizer"])
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise WeightsError(f"{path} is of another optimiser: {error!r}") from error
        self.step, self.seconds = state["step"], state["seconds"]
        self.total_steps, self.earlier = state["total_steps"], state["history"][:-1]
        self.data = state.get("data") or NOT_STATED
        if data:
            self.data = _followed(self.data, data)
        self.default_psnr_db = state.get("default_psnr_db")

    def account(self) -> dict:
        """This run so far, for the record that stays with the weights: the plan and its use."""
        spent = {"steps": self.step, "minutes_spent": round(self.seconds / 60, 1)}
        return asdict(self.plan) | spent

    def save(self, with_optimizer: bool = True) -> None:
        """Write ``checkpoint.pt``.

        Args:
            with_optimizer: keep its moments, in 16 bits: two thirds of the size. Without them a
                resumed run has to find them again.

        Raises:
            OutputError: it cannot be written; what was there stays.
        """
        save_checkpoint(
            self.folder / CHECKPOINT,
            {
                "plan": asdict(self.plan),
                "history": [*self.earlier, self.account()],
                "networks": self.networks.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self._moments() if with_optimizer else None,
                "step": self.step,
                "seconds": self.seconds,
                "total_steps": self.total_steps,
                "data": self.data,
                "default_psnr_db": self.default_psnr_db,
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
        """Draw ``curves.png`` from the log, and ``sheet.png`` with the averaged weights.

        Raises:
            OutputError: they cannot be written.
        """
        try:
            draw_curves(self.folder / "log.csv", self.folder / "curves.png")
            draw_sheet(self.average, self.photos, self.plan.psnr_db, self.folder / "sheet.png")
        except OSError as error:
            raise OutputError(f"no pictures in {self.folder}: {error}") from error

    def run(self, minutes: float | None = None, save_every_s: float = 180.0) -> None:
        """Train to the end of the schedule, or for ``minutes`` of it.

        Writes ``log.csv`` (running means) as it goes, the checkpoint and the pictures every three
        minutes and at the end.

        Raises:
            OutputError: a file cannot be written.
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
        began, before, saved = time.monotonic(), self.seconds, time.monotonic()
        marked = (self.step, began)
        with Log(self.folder / "log.csv") as log, tqdm(total=stop, initial=before, unit="s") as bar:
            while self.seconds < stop:
                log.take(self.train_step(self.seconds / budget, rng))
                self.seconds = before + time.monotonic() - began
                if self.step % _LOG_EVERY == 0 or self.seconds >= stop:
                    row = log.write(self.total_steps, self.seconds)
                    marked = self._mark(*marked)
                    bar.set_postfix(row, refresh=False)
                    bar.update(min(self.seconds, stop) - bar.n)
                if time.monotonic() - saved > save_every_s:
                    self.save()
                    self.save_pictures()
                    saved = time.monotonic()

    def _mark(self, step: int, at: float) -> tuple[int, float]:
        """Note the images a second since a step that was done at a time; returns these of now."""
        now = time.monotonic()
        if self.step > step:
            self.rates.append((self.step - step) * self.plan.batch / (now - at))
        return self.step, now
