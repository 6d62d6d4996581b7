import numpy as np
import pytest
import torch

from clr_infer.errors import ModelError
from clr_infer.residual import mean_squared_error, merge_residual, psnr_of_mse
from clr_infer.train.forward import merge_residual as merge_in_training


@pytest.mark.parametrize("shape", [(64, 64), (37, 301), (700, 90)])
@pytest.mark.parametrize("psnr_db", [34.0, 40.0])
def test_strength_is_what_was_asked_for(shape, psnr_db):
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 190, (*shape, 3), dtype=np.uint8)
    residual = rng.normal(0, 1, (3, 64, 64)).astype(np.float32)
    merged, measured = merge_residual(pixels, residual, psnr_db)
    mse = float(np.square(merged.astype(float) - pixels).mean())
    assert measured == pytest.approx(psnr_of_mse(mse), abs=1e-6)
    assert measured == pytest.approx(psnr_db, abs=0.12)  # rounding to 8 bits adds a little


def test_strips_leave_no_seam():
    """The strips of a tall image equal one resize of the whole residual."""
    rng = np.random.default_rng(1)
    residual = rng.normal(0, 1, (3, 64, 64)).astype(np.float32)
    pixels = np.full((900, 120, 3), 128, np.uint8)
    merged, _ = merge_residual(pixels, residual, 36.0)
    native = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    scaled = torch.from_numpy(residual)[None]
    scaled = scaled / scaled.square().mean().sqrt() * 10 ** (-36 / 20)
    expected = merge_in_training(native, scaled)
    expected = (expected[0] * 255).round().byte().permute(1, 2, 0).numpy()
    difference = np.abs(merged.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_clipping_is_counted_in_the_measured_psnr():
    pixels = np.full((64, 64, 3), 255, np.uint8)
    residual = np.random.default_rng(2).normal(0, 1, (3, 64, 64)).astype(np.float32)
    _, measured = merge_residual(pixels, residual, 36.0)
    assert measured > 38.0


def test_the_mean_squared_error_is_that_of_all_pixels():
    a, b = np.random.default_rng(4).integers(0, 256, (2, 300, 7, 3), np.uint8)
    expected = np.square(a.astype(float) - b).mean()
    assert mean_squared_error(a, b) == mean_squared_error(b, a) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e30])
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_a_residual_that_is_none_does_not_pass_for_one(value):
    residual = np.random.default_rng(3).normal(0, 1, (3, 64, 64)).astype(np.float32)
    residual[(0, 5, 7) if value else ...] = value
    with pytest.raises(ModelError, match="zero or not finite.*fp32"):
        merge_residual(np.full((40, 50, 3), 128, np.uint8), residual, 40.0)
