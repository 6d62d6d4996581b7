"""A tiny network trains for seconds on real photographs, and its artifacts load."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.errors import InputError, WeightsError
from clr_infer.train.checkpoint import load_checkpoint
from clr_infer.train.data import Photos
from clr_infer.train.fg_jpeg import FgJpegPlan, train_fg_jpeg
from clr_infer.train.finish import package, recalibrate
from clr_infer.train.loop import Plan, Trainer, schedule
from clr_infer.train.model_card import write_model_card
from clr_infer.weights import Weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, raccoon, coffee, rocket) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("raccoon", raccoon), ("coffee", coffee), ("rocket", rocket)):
        Image.fromarray(image).resize((360, 240)).save(folder / f"{name}.png")
    return Photos(folder, CPU)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(minutes=0.15, size=64, batch=4, width=16, align_width=8, psnr_start_db=22.0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, photos, plan) -> Path:
    folder = tmp_path_factory.mktemp("run")
    Trainer(plan, photos, folder, CPU).run()
    return folder


def _log(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def test_the_loss_falls(plan, photos, tmp_path):
    trainer = Trainer(plan, photos, tmp_path, CPU)
    rng = np.random.default_rng(0)
    losses = [trainer.train_step(0.0, rng)["loss"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_training_leaves_checkpoint_log_and_pictures(run_folder):
    assert (run_folder / "checkpoint.pt").stat().st_size > 0
    for name in ("curves.png", "sheet.png"):
        with Image.open(run_folder / name) as picture:
            assert min(picture.size) > 200
    assert not list(run_folder.glob("*.partial"))


def test_training_resumes_where_it_stopped(plan, photos, tmp_path):
    first = Trainer(plan, photos, tmp_path, CPU)
    first.run(minutes=0.04)
    assert 0 < first.seconds < plan.minutes * 60
    again = Trainer(plan, photos, tmp_path, CPU)
    assert (again.step, again.seconds) == (first.step, first.seconds)
    for a, b in zip(first.networks.parameters(), again.networks.parameters(), strict=True):
        assert torch.equal(a, b)
    again.run()
    assert again.step > first.step and again.seconds >= plan.minutes * 60
    before = again.step
    Trainer(plan, photos, tmp_path, CPU).run()  # nothing is left to do
    assert load_checkpoint(tmp_path / "checkpoint.pt", CPU)["step"] == before


def test_fine_tuning_starts_from_weights_at_full_strength(run_folder, plan, photos, tmp_path):
    tuned = Trainer(plan.fine_tuning(), photos, tmp_path, CPU, run_folder / "checkpoint.pt")
    old = load_checkpoint(run_folder / "checkpoint.pt", CPU)
    assert tuned.step == 0 and tuned.total_steps == old["total_steps"]
    assert [run["steps"] for run in tuned.earlier] == [old["step"]]
    weight = "recover.head.weight"
    assert torch.equal(tuned.networks.state_dict()[weight], old["average"][weight])
    assert schedule(tuned.plan, 0.0)[0].psnr_db == plan.psnr_db


def test_the_curriculum_goes_from_loud_and_clean_to_quiet_and_attacked(plan):
    start, half, end = (schedule(plan, p)[0] for p in (0.0, 0.25, 1.0))
    assert (start.psnr_db, start.hardness) == (plan.psnr_start_db, 0.0)
    assert start.psnr_db < half.psnr_db < end.psnr_db == plan.psnr_db
    assert end.hardness == 1.0
    assert schedule(plan, 0.0)[1] == 1.0 and schedule(plan, 1.0)[1] < 0.05


def test_weights_are_packaged_and_run_in_both_runtimes(
    run_folder, photos, coffee, tmp_path_factory
):
    jpeg = train_fg_jpeg(FgJpegPlan(minutes=0.05, batch=2), photos, run_folder, CPU)
    folder = tmp_path_factory.mktemp("weights") / "out"
    manifest = package(run_folder / "checkpoint.pt", jpeg, 128, photos, folder, "test pictures")
    write_model_card(folder, "(not measured)")
    assert "test pictures" in (folder / "MODEL_CARD.md").read_text()
    assert manifest["calibration"]["true_positive_rate"] <= 1
    again = recalibrate(Weights(folder), photos, folder)
    assert again == manifest  # the same photographs and crops, the same calibration
    results = []
    for runtime in ("onnxruntime", "torch"):
        session = clr_infer.load(runtime, weights=folder)
        protected = session.protect(coffee)
        assert 37.5 < protected.psnr_db < 42
        results.append((protected.image, session.locate(protected.image)))
    difference = np.abs(results[0][0].astype(int) - results[1][0])
    assert difference.max() <= 1 and difference.mean() < 0.01
    assert results[0][1].confidence == pytest.approx(results[1][1].confidence, abs=1e-2)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt", CPU)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no photograph"):
        Photos(tmp_path, CPU)
