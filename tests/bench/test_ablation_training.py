"""The training ablation, rehearsed in seconds with tiny networks."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clr_infer.train.data import Photos

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ablation_training.py"


@pytest.fixture(scope="module")
def ablation():
    spec = importlib.util.spec_from_file_location("ablation_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos(tmp_path_factory, raccoon, coffee) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("raccoon", raccoon), ("coffee", coffee)):
        Image.fromarray(image).resize((180, 120)).save(folder / f"{name}.png")
    return Photos(folder, torch.device("cpu"))


def test_arms_train_in_turns_and_are_scored(ablation, photos, tmp_path):
    setting = ablation.Setting(
        minutes=0.02,
        slice_minutes=0.01,
        seeds=1,
        size=32,
        batch=1,
        width=8,
        align_width=8,
        frame=64,
    )
    result = ablation.measure(setting, photos, photos, tmp_path)
    assert [arm["name"] for arm in result["arms"]] == [arm.name for arm in ablation.ARMS]
    assert {arm["fg_jpeg"] for arm in result["arms"]} == {True, False}
    for arm in result["arms"]:
        assert arm["steps"] >= 1 and len(arm["runs"]) == 1
        assert set(arm["cropped_out_psnr_db"]) == set(ablation.CONDITIONS)
        assert all(5 < value < 40 for value in arm["cropped_out_psnr_db"].values())
        assert set(arm["spread_db"].values()) == {0.0}
    assert len(list(tmp_path.glob("*/checkpoint.pt"))) == len(ablation.ARMS)


def test_one_arm_trains_on_fg_jpeg(ablation, photos, tmp_path, monkeypatch):
    used = []
    simulate = ablation.FgJpeg.__call__

    def counted(self, images, qf, subsampling):
        used.append(len(images))
        return simulate(self, images, qf, subsampling)

    monkeypatch.setattr(ablation.FgJpeg, "__call__", counted)
    plan = ablation.Setting(size=32, batch=4, width=8, align_width=8).plan(ablation.ARMS[2], seed=0)
    trainer = ablation.Trainer(plan, photos, tmp_path, torch.device("cpu"))
    for jpeg in (trainer.jpeg, ablation.FgJpeg()):
        trainer.jpeg = jpeg
        for _ in range(3):
            trainer.train_step(0.9, np.random.default_rng(0))
        assert bool(used) == isinstance(jpeg, ablation.FgJpeg)


def test_one_arm_has_no_payload(ablation, photos, tmp_path):
    (arm,) = [arm for arm in ablation.ARMS if not arm.payload]
    plan = ablation.Setting(size=32, batch=1, width=8, align_width=8).plan(arm, seed=0)
    trainer = ablation.Trainer(plan, photos, tmp_path, torch.device("cpu"))
    image = photos.draw(np.random.default_rng(0), 32)[..., :32, :32]
    shape, payload = trainer.networks.protect.shape, torch.ones(1, 48, 8, 8)
    payload[:, ::2] = -1.0
    carried = shape(payload, image, plan.psnr_db) - shape(0 * payload, image, plan.psnr_db)
    assert plan.psnr_start_db == plan.psnr_db and 0 < float(carried.abs().max()) < 0.1 / 255


def test_fg_jpeg_replaces_the_core_and_lets_gradients_through(ablation, coffee):
    image = torch.from_numpy(coffee[:64, :64].copy()).permute(2, 0, 1)[None] / 255.0
    image.requires_grad_()
    simulated = ablation.FgJpeg()(image, [60.0], "4:2:0")
    plain = ablation.JpegModel()(image, [60.0], "4:2:0")
    assert float((simulated - plain).detach().abs().max()) > 0
    simulated.sum().backward()
    assert float(image.grad.abs().mean()) > 0
