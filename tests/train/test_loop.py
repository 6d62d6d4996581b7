"""Steps of training: how fast, how far, what is aligned in which, and what a run goes on with."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from clr_infer.train.forward import Stage
from clr_infer.train.loop import Plan, Trainer, schedule

CPU = torch.device("cpu")
PLAN = Plan(minutes=1, size=64, batch=2, width=8, align_width=8)


@pytest.fixture
def trainer(photos, tmp_path) -> Trainer:
    return Trainer(PLAN, photos, tmp_path, CPU)


def test_fine_tuning_is_at_the_end_of_the_curriculum_from_the_start_and_slower():
    plan = replace(PLAN, psnr_start_db=24.0, psnr_db=37.0, alignment=0.7)
    tuned = plan.fine_tuning()
    for progress in (0.0, 0.1, 1.0):
        assert schedule(tuned, progress)[0] == schedule(plan, 1.0)[0]
        assert schedule(tuned, progress)[1] == schedule(plan, progress)[1]
    assert schedule(plan, 1.0)[0] == Stage(37.0, 1.0, 0.7)
    assert tuned.learning_rate < plan.learning_rate


def test_what_lies_beyond_the_end_is_as_the_end():
    assert schedule(PLAN, 1.5) == schedule(PLAN, 1.0)


def test_every_fourth_step_aligns(trainer):
    rng = np.random.default_rng(0)
    assert ["align" in trainer.train_step(0.5, rng) for _ in range(5)] == [1, 0, 0, 0, 1]


def test_the_rate_warms_up_to_that_of_the_plan(trainer):
    """Not from nothing: the first step counts, too."""
    for step, share in ((0, 0.01), (49, 0.5), (99, 1.0), (5000, 1.0)):
        trainer.step = step
        trainer.train_step(0.4, np.random.default_rng(0))
        peak = PLAN.learning_rate * schedule(PLAN, 0.4)[1]
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(share * peak)


def test_gradients_are_cut_to_the_same_length(trainer):
    parameters = list(trainer.networks.parameters())
    for parameter in parameters:
        parameter.register_hook(lambda gradient: gradient * 1000.0)
    trainer.train_step(0.5, np.random.default_rng(0))
    length = torch.stack([p.grad.square().sum() for p in parameters]).sum().sqrt()
    assert float(length) == pytest.approx(1.0, abs=1e-3)


def test_a_resumed_run_has_its_own_average_and_history_and_other_pictures(
    trainer, photos, monkeypatch
):
    drawn, train_step = [], Trainer.train_step

    def noted(self, progress, rng):
        drawn.append(rng.random())
        return train_step(self, progress, rng)

    monkeypatch.setattr(Trainer, "train_step", noted)
    monkeypatch.setattr(Trainer, "save_pictures", lambda _: None)
    trainer.run(minutes=1e-6)
    again = Trainer(PLAN, photos, trainer.folder, CPU)
    assert (again.step, again.earlier) == (1, []) and again.account()["steps"] == 1
    for ours, theirs in zip(again.average.parameters(), trainer.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    again.run(minutes=1e-6)
    assert again.step == 2 and again.seconds > trainer.seconds
    assert len(drawn) == 2 and drawn[0] != drawn[1]


def test_time_and_images_are_counted(trainer):
    trainer.step, trainer.seconds = 500, 90.0
    assert trainer.account()["minutes_spent"] == 1.5
    trainer._mark(400, time.monotonic() - 1000.0)
    assert trainer.rates == [pytest.approx(100 * PLAN.batch / 1000.0, rel=0.01)]
    trainer._mark(500, time.monotonic())  # nothing was done since
    assert len(trainer.rates) == 1
