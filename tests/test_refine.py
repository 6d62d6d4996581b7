"""Refined protection: the payload of one image, improved by descent."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.attacks import real
from clr_infer.attacks.steps import parse_chain
from clr_infer.cli import main
from clr_infer.errors import InputError, ModelError, RuntimeUnavailable
from clr_infer.evaluate.case import recover_with_true_box
from clr_infer.evaluate.metrics import psnr_outside, ssim
from clr_infer.geometry import Box, box_to_pixels, crop_mask
from clr_infer.preprocess import to_frame
from clr_infer.refine import Refiner
from clr_infer.residual import residual_psnr_db
from clr_infer.visibility import ssim_lost
from clr_infer.weights import Weights


@pytest.fixture(scope="module")
def session():
    with clr_infer.load("onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return Refiner(Weights())


def test_without_steps_it_is_the_network(session, refiner, coffee):
    frame = session.runtime.pixels.preprocess([coffee], session.runtime.size)
    plain = session.runtime.run("protect", {"image": frame})["residual"][0]
    np.testing.assert_allclose(refiner.residual(coffee, 0), plain, atol=2e-4)


def test_steps_change_the_payload_and_keep_the_strength(refiner, coffee):
    plain, refined = refiner.residual(coffee, 0), refiner.residual(coffee, 2)
    assert np.abs(refined - plain).max() > 0.5 / 255  # what rounding shows
    assert residual_psnr_db(refined) == pytest.approx(residual_psnr_db(plain), abs=1e-3)
    np.testing.assert_array_equal(refined, refiner.residual(coffee, 2))  # the same each time


@pytest.mark.gpu
def test_on_a_gpu_it_is_that_of_the_cpu(gpu, coffee, monkeypatch):
    """Noise differs between devices, and so the steps: not where they begin, nor the strength."""
    refiners = [Refiner(Weights())]
    with monkeypatch.context() as without:
        without.setattr(torch.cuda, "is_available", lambda: False)
        refiners.append(Refiner(Weights()))
    assert gpu.type in ("cpu", refiners[0].device.type) and refiners[1].device.type == "cpu"
    plain, expected = (refiner.residual(coffee, 0) for refiner in refiners)
    np.testing.assert_allclose(plain, expected, atol=0.5 / 255)
    refined = refiners[0].residual(coffee, 4)  # JPEG and the median are among them
    assert np.isfinite(refined).all() and np.abs(refined - plain).max() > 0.5 / 255
    assert residual_psnr_db(refined) == pytest.approx(residual_psnr_db(expected), abs=0.01)


def test_whoever_watches_it_can_end_it(session, refiner, coffee):
    small, seen = np.ascontiguousarray(coffee[:96, :128]), []
    refined = session.protect(small, refine=2, progress=seen.append)
    assert seen == [1, 2]
    np.testing.assert_array_equal(refined.image, session.protect(small, refine=2).image)

    def enough(done):
        seen.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refiner.residual(small, 1000, progress=enough)
    assert seen[2:] == [1, 2, 3]
    assert refiner.residual(small, 0).shape == (3, 512, 512)  # nothing is held


@torch.no_grad()
@pytest.mark.parametrize("levels", [2.0, 5.0])
def test_the_price_of_visibility_is_what_ssim_loses(raccoon, levels):
    original = torch.from_numpy(raccoon.copy()).permute(2, 0, 1)[None] / 255.0
    noise = levels / 255.0 * torch.randn(original.shape, generator=torch.manual_seed(0))
    noisy = 255.0 * (original + noise)[0].permute(1, 2, 0).numpy()
    assert float(ssim_lost(noise, original)) == pytest.approx(1.0 - ssim(raccoon, noisy), rel=0.05)
    assert float(ssim_lost(noise * 0.0, original)) == 0.0


def test_at_the_same_strength_it_is_recovered_better_seen_less_and_found_more_surely(
    session, raccoon
):
    height, width = raccoon.shape[:2]
    box = Box(0.1, 0.2, 0.9, 0.95)
    seen = crop_mask(box_to_pixels(box, width, height), width, height) > 0

    def recovered_db(protected: np.ndarray, quality: int) -> float:
        chain = parse_chain(f"crop=0.1,0.2,0.9,0.95 jpeg={quality}")
        received = real.apply(protected, chain, np.random.default_rng(0))
        guess = recover_with_true_box(session, received, box, (width, height))
        return psnr_outside(raccoon, guess, seen)

    made = [session.protect(raccoon, refine=steps) for steps in (0, 60)]
    assert made[1].psnr_db == pytest.approx(made[0].psnr_db, abs=0.02)
    plain, refined = (one.image for one in made)
    for quality in (80, 60):
        assert recovered_db(refined, quality) > recovered_db(plain, quality) + 0.1
    assert ssim(raccoon, refined) > ssim(raccoon, plain)
    scores = [
        session.runtime.run("localize", {"received": to_frame(image, session.runtime.size)[None]})
        for image in (plain, refined)
    ]
    assert scores[1]["score"] > scores[0]["score"]


@pytest.mark.parametrize("shape", [(32, 32), (40, 400)])
def test_the_smallest_and_the_longest_images_are_refined(session, coffee, shape):
    image = np.ascontiguousarray(coffee[: shape[0], : shape[1]])
    protected = session.protect(image, refine=1)
    assert protected.image.shape == image.shape and protected.psnr_db > 37


def test_the_place_is_found_as_ever(session, raccoon):
    protected = session.protect(raccoon, refine=1)
    assert protected.psnr_db == pytest.approx(40.0, abs=0.25)
    height, width = raccoon.shape[:2]
    located = session.locate(protected.image[height // 8 :, : 3 * width // 4])
    assert located.protected
    np.testing.assert_allclose(located.crop_box, (0, 0.125, 0.75, 1), atol=2e-3)


@pytest.mark.parametrize("steps", [-1, 1001])
def test_senseless_steps_are_refused(session, coffee, steps):
    with pytest.raises(InputError, match="refine must be 0 to 1000"):
        session.protect(coffee, refine=steps)


def test_as_many_steps_as_are_allowed_reach_the_refiner(session, coffee, monkeypatch):
    asked, noise = [], np.random.default_rng(0).normal(size=(3, 512, 512)).astype(np.float32)

    class Asked:
        @staticmethod
        def residual(pixels, steps, progress):
            asked.append(steps)
            return noise

    monkeypatch.setattr(session, "open_refiner", Asked)
    session.protect(coffee[:96, :128], refine=1000)
    assert asked == [1000]


def test_it_takes_gradients_whatever_the_caller_is_in(coffee):
    small = coffee[:96, :128]
    with clr_infer.load("onnxruntime") as session:
        once = session.protect(small, refine=np.int64(1)).image
        with torch.no_grad():
            np.testing.assert_array_equal(session.protect(small, refine=1).image, once)
    with clr_infer.load("onnxruntime") as session:
        with torch.inference_mode():
            np.testing.assert_array_equal(session.protect(small, refine=1).image, once)
        np.testing.assert_array_equal(session.protect(small, refine=1).image, once)
    with pytest.raises(ModelError, match="closed"):
        session.protect(small, refine=1)


def test_it_says_that_it_needs_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeUnavailable, match="needs PyTorch"):
        Refiner(Weights())


def test_the_command_refines(tmp_path, coffee):
    Image.fromarray(coffee[:128, :160]).save(tmp_path / "photo.png")
    words = ["protect", str(tmp_path / "photo.png"), "-o"]
    assert main([*words, str(tmp_path / "plain.png")]) == 0
    assert main([*words, str(tmp_path / "refined.png"), "--refine", "1"]) == 0
    plain, refined = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("plain", "refined"))
    assert (plain != refined).any()
