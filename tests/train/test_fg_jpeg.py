"""What FG-JPEG and its judge are trained on."""

import numpy as np
import torch

from clr_infer.networks.fg_jpeg import FgJpegNetwork
from clr_infer.train import fg_jpeg
from clr_infer.train.fg_jpeg import FgJpegPlan, train_fg_jpeg

CPU = torch.device("cpu")


def test_the_simulator_sees_even_quality_factors_only_and_the_judge_all(
    photos, tmp_path, monkeypatch
):
    saved, simulated = [], []
    libjpeg, forward = fg_jpeg.libjpeg, FgJpegNetwork.forward

    def noted(pixels, qf, subsampling):
        saved.append((qf, subsampling))
        return libjpeg(pixels, qf, subsampling)

    def watched(self, image, qf, subsampling="4:2:0"):
        simulated.extend((quality, subsampling) for quality in qf.tolist())
        return forward(self, image, qf, subsampling)

    monkeypatch.setattr(fg_jpeg, "libjpeg", noted)
    monkeypatch.setattr(FgJpegNetwork, "forward", watched)
    train_fg_jpeg(FgJpegPlan(minutes=0.005, size=32, batch=16), photos, tmp_path, CPU)
    judged = len(saved) - len(simulated)
    assert simulated and saved[judged:] == simulated
    assert all(quality % 2 == 0 for quality, _ in simulated)
    assert any(quality % 2 for quality, _ in saved[:judged])


def test_patches_are_on_8_bit_levels(photos):
    patches = fg_jpeg._patches(photos, FgJpegPlan(size=32, batch=3), np.random.default_rng(0))
    assert patches.shape == (3, 3, 32, 32) and 0 <= patches.min() and patches.max() <= 1
    torch.testing.assert_close(255 * patches, (255 * patches).round(), atol=1e-4, rtol=0)


def test_what_is_compared_with_is_the_real_codec(photos):
    patches = fg_jpeg._patches(photos, FgJpegPlan(size=32, batch=2), np.random.default_rng(0))
    real = fg_jpeg._real(patches, np.array([30, 90]), "4:4:4")
    for patch, decoded, quality in zip(patches, real, (30, 90), strict=True):
        pixels = (255 * patch).round().byte().permute(1, 2, 0).numpy()
        expected = fg_jpeg.libjpeg(pixels, quality, "4:4:4")
        np.testing.assert_array_equal((255 * decoded).round().permute(1, 2, 0), expected)
