"""Networks that were trained just now run as those of any runtime do."""

import numpy as np
import pytest
import torch
from PIL import Image

from clr_infer.residual import residual_psnr_db
from clr_infer.specs import SPECS
from clr_infer.train.data import Photos
from clr_infer.train.in_memory import TrainedNetworks
from clr_infer.train.loop import Plan, Trainer


@pytest.fixture
def trainer(raccoon, tmp_path) -> Trainer:
    Image.fromarray(raccoon).resize((240, 180)).save(tmp_path / "raccoon.png")
    plan = Plan(minutes=1, size=64, batch=2, width=8, align_width=8, psnr_db=34.0)
    cpu = torch.device("cpu")
    return Trainer(plan, Photos(tmp_path, cpu), tmp_path / "run", cpu)


def test_the_average_runs_at_another_frame_and_its_own_strength(trainer):
    inputs = {"image": np.random.default_rng(0).uniform(0.3, 0.7, (1, 3, 96, 96)).astype("f4")}
    runtime = TrainedNetworks(trainer, 96)
    assert (runtime.size, runtime.psnr_db) == (96, 34.0)
    residual = runtime.run("protect", inputs)["residual"]
    assert residual.shape == (1, 3, 96, 96)
    assert residual_psnr_db(residual[0]) == pytest.approx(34.0, abs=0.3)
    with torch.no_grad():
        for parameter in trainer.networks.parameters():
            parameter.add_(1.0)
    again = TrainedNetworks(trainer, 96).run("protect", inputs)["residual"]
    np.testing.assert_array_equal(again, residual)


def test_every_output_has_its_name(trainer):
    runtime = TrainedNetworks(trainer, 64)
    frame = np.full((2, 3, 64, 64), 0.5, np.float32)
    box = np.tile(np.float32([0.0, 0.0, 1.0, 0.5]), (2, 1))
    for network, tensors in (
        ("localize", {"received": frame}),
        ("align", {"received": frame}),
        ("recover", {"aligned": frame, "crop_box": box}),
    ):
        made = runtime.run(network, tensors)
        shapes = {tensor.name: (2, *tensor.dims(64)) for tensor in SPECS[network].outputs}
        assert {name: value.shape for name, value in made.items()} == shapes
