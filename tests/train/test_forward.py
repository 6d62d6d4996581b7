"""What a training pass asks of the networks: each loss grows with what it is there to prevent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clr_infer.attacks.curriculum import Attack
from clr_infer.attacks.steps import Step, parse_chain
from clr_infer.networks import Networks
from clr_infer.networks.recover import Reading
from clr_infer.train import forward
from clr_infer.train.data import Photos
from clr_infer.train.forward import (
    Stage,
    Views,
    attack_alike,
    forward_pass,
    make_batch,
    merge_residual,
    recovery_loss,
)

LEFT = torch.zeros(1, 1, 64, 64)
LEFT[..., :32] = 1  # what was received
SURE = torch.full((1, 1, 16, 16), 0.1)


@pytest.fixture(scope="module")
def photo(raccoon) -> torch.Tensor:
    """1x3x64x64."""
    pixels = torch.from_numpy(raccoon[100:164, 200:264].copy())
    return pixels.permute(2, 0, 1)[None] / 255.0


@pytest.fixture(scope="module")
def photos(tmp_path_factory, coffee) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(coffee).save(folder / "coffee.png")
    return Photos(folder, torch.device("cpu"))


def _loss(photo, error, mask=LEFT, thumbnail=0.0, said=SURE) -> tuple[float, dict[str, float]]:
    reading = Reading(photo + error, F.avg_pool2d(photo, 4) + thumbnail, said)
    loss, numbers = recovery_loss(reading, photo, mask)
    return float(loss), {name: float(value) for name, value in numbers.items()}


def test_what_is_recovered_wrongly_costs_more_than_what_was_received(photo):
    """And that costs in proportion, however much it is; the numbers are of the outside alone."""
    perfect, _ = _loss(photo, 0.0)
    inside = [_loss(photo, error * LEFT) for error in (0.1, 0.2)]
    outside = [_loss(photo, error * (1.0 - LEFT)) for error in (0.1, 0.2)]
    once, twice = (loss - perfect for loss, _ in inside)
    assert 0 < once < outside[0][0] - perfect < outside[1][0] - perfect
    assert twice == pytest.approx(2 * once, rel=1e-3)
    for (_, at_ease), (_, numbers), error in zip(inside, outside, (0.1, 0.2), strict=True):
        assert at_ease["out_db"] == pytest.approx(60.0)
        assert numbers["out_db"] == pytest.approx(-20 * np.log10(error), abs=0.01)


def test_the_uncertainty_counts_the_pixels_of_a_cell_that_were_cropped_away(photo):
    part = LEFT.roll(2, -1)  # half of some cells
    _, right = _loss(photo, 0.1 * (1.0 - part), part)
    _, also_inside = _loss(photo, 0.1, part)
    assert also_inside["surprise"] == pytest.approx(right["surprise"], abs=1e-4)
    _, wrong = _loss(photo, 0.3 * (1.0 - part), part)
    assert wrong["surprise"] > right["surprise"] + 1
    costs = [_loss(photo, 0.1 * (1.0 - part), part, said=share * SURE)[0] for share in (0.2, 1, 5)]
    assert costs[1] == min(costs)  # as unsure as it is wrong


def test_thumbnails_cost_and_are_measured_at_every_size(photo):
    right, exact = _loss(photo, 0.0)
    assert exact["thumb_db"] == pytest.approx(60.0)
    wrong, numbers = _loss(photo, 0.0, thumbnail=0.1)
    assert wrong > right and numbers["thumb_db"] == pytest.approx(20.0, abs=0.01)


def test_a_sliver_that_is_lost_has_no_say_in_decibels(photo):
    """Its few pixels would weigh as much as half an image."""
    sliver = torch.ones_like(LEFT)
    sliver[..., -1:] = 0
    costs = []
    for mask in (sliver, LEFT):
        wrong, right = (
            _loss(photo, error * (1.0 - mask), mask, said=10 * SURE)[0] for error in (0.3, 0.0)
        )
        costs.append(wrong - right)
    few, many = costs
    assert 0 < few < many / 2


def test_protected_images_are_on_8_bit_levels(photo):
    residual = 0.01 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    levels = 255.0 * merge_residual(photo, residual)
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0.0)


def test_views_are_of_the_crop_and_all_but_one_post_processed(raccoon):
    """Of pictures that are wider than high."""
    wide = torch.from_numpy(raccoon[:96, :160].copy()).permute(2, 0, 1)[None] / 255.0
    crop = Step("crop", (0.25, 0.25, 0.75, 1.0))
    attack = Attack((), crop, parse_chain("jpeg=50"))
    views = attack_alike(wide, [attack], np.random.default_rng(0), with_alignment=True)
    np.testing.assert_allclose(views.crop_box, [crop.values])
    assert torch.equal(views.clean, wide[..., 24:, 40:120])
    received, simulated = (
        float((view - views.clean).abs().mean()) for view in (views.received, views.simulated)
    )
    apart = float((views.received - views.simulated).abs().mean())
    assert 0 < apart < min(received, simulated)


def test_both_post_processed_branches_are_drawn_to_the_clean_one(photo):
    networks = Networks(64, 16, 8)
    noisy = photo + 0.1 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))

    def distance(received: torch.Tensor, simulated: torch.Tensor) -> float:
        views = Views(received, photo, simulated, np.array([[0.0, 0.0, 1.0, 1.0]]))
        features = networks.align.features(received)
        return float(forward._alignment_loss(networks, views, features).detach())

    assert distance(photo, photo) == pytest.approx(0.0, abs=1e-6)
    one, other, both = distance(noisy, photo), distance(photo, noisy), distance(noisy, noisy)
    assert one == pytest.approx(other) and both == pytest.approx(one + other) and one > 0


def test_a_pass_weighs_its_losses_as_its_stage_says(photos):
    networks = Networks(64, 16, 8)
    stage = Stage(36.0, 1.0, alignment=0.1, visibility=1.0)

    def passed(stage: Stage) -> tuple[float, dict[str, float]]:
        loss, numbers = forward_pass(networks, photos, 3, stage, np.random.default_rng(3))
        return float(loss.detach()), {name: float(value) for name, value in numbers.items()}

    loss, numbers = passed(stage)
    blind, _ = passed(replace(stage, visibility=0.0))
    assert loss - blind == pytest.approx(numbers["ssim_lost"], rel=1e-3)
    aligned, _ = passed(replace(stage, alignment=1.1))
    batch = make_batch(networks, photos, 3, stage, np.random.default_rng(3))
    restored = networks.align(batch.views.received) - batch.views.clean
    asked = numbers["align"] + float(restored.detach().abs().mean())
    assert aligned - loss == pytest.approx(asked, rel=1e-3)


def test_the_recover_network_learns_to_bear_a_box_that_is_a_little_off(photos, monkeypatch):
    boxes, place = [], forward.place

    def noted(image, box):
        boxes.append(box.detach().numpy())
        return place(image, box)

    monkeypatch.setattr(forward, "place", noted)
    forward_pass(Networks(64, 16, 8), photos, 8, Stage(36.0, 0.0), np.random.default_rng(0))
    given, true = boxes
    assert 0.1 < 64 * np.abs(given - true).mean() < 1.0  # pixels
