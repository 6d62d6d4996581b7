from collections import Counter

import numpy as np
import pytest

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import describe, parse_chain
from clr_infer.errors import InputError, UsageError
from clr_infer.evaluate import protocol
from clr_infer.evaluate.protocol import (
    CONDITIONS,
    FULL,
    KEPT,
    LIMITS,
    MAIN_KEPT,
    QUICK,
    TARGETS,
    draw_crop,
)

SIZE = (768, 512)


def test_crops_depend_on_seed_image_and_kept_side_only():
    crop = draw_crop(0, 3, 0.77, *SIZE)
    assert crop == draw_crop(0, 3, 0.77, *SIZE)
    others = [draw_crop(1, 3, 0.77, *SIZE), draw_crop(0, 4, 0.77, *SIZE)]
    assert crop.box_px not in [other.box_px for other in others]
    assert draw_crop(0, 0, 0.95, *SIZE).box_px == (15, 6, 725, 505)  # published: never changes


@pytest.mark.parametrize("size", [SIZE, (512, 768), (33, 47)])
@pytest.mark.parametrize("kept", KEPT)
def test_crops_keep_their_promise(kept, size):
    for index in range(40):
        crop = draw_crop(0, index, kept, *size)
        x0, y0, x1, y1 = crop.box_px
        assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
        np.testing.assert_allclose(crop.box, np.divide(crop.box_px, size * 2), rtol=0, atol=1e-12)
        sides = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
        half_px = 0.5 / np.array(size) + 1e-9
        if crop.kind == "anisotropic":
            assert abs(sides[0] - sides[1]) <= 0.2 + half_px.sum()
            assert abs(sides.mean() - kept) <= half_px.sum()
            low, high = (0.6, 1.0) if kept >= 0.6 else (0.0, 0.6)
            assert (sides >= low - half_px).all() and (sides <= high + half_px).all()
        else:
            assert (abs(sides - kept) <= half_px).all()
        assert (crop.kind == "control") == (kept == 1.0)


def test_the_smallest_crops_of_the_smallest_images_hold_a_pixel():
    for index in range(60):
        x0, y0, x1, y1 = draw_crop(0, index, 0.1, 32, 32).box_px
        assert 0 <= x0 < x1 <= 32 and 0 <= y0 < y1 <= 32


def test_the_main_range_goes_down_to_its_end():
    sides = (1.0, 0.99, 0.6, 0.599)
    assert [protocol.kept_range(side) for side in sides] == ["control", "main", "main", "below"]


def test_a_crop_step_gives_exactly_the_pixels_of_the_box():
    rows, columns = np.mgrid[:512, :767]
    image = np.stack([columns % 256, columns // 256, rows % 256], -1).astype(np.uint8)
    for index in range(20):
        crop = draw_crop(0, index, 0.71, 767, 512)
        x0, y0, x1, y1 = crop.box_px
        chain = CONDITIONS["clean"].chain(crop.box)
        received = apply(image, chain, np.random.default_rng(0))
        np.testing.assert_array_equal(received, image[y0:y1, x0:x1])


def test_crops_spread_and_both_kinds_are_balanced():
    crops = {(i, kept): draw_crop(0, i, kept, *SIZE) for i in range(24) for kept in MAIN_KEPT}
    kinds = Counter(crop.kind for crop in crops.values())
    assert kinds["isotropic"] == kinds["anisotropic"]
    for kept in MAIN_KEPT:
        chosen = [crops[i, kept] for i in range(24)]
        assert Counter(crop.kind for crop in chosen)["isotropic"] == 12
        room = SIZE[0] * (1 - kept)
        assert np.ptp([crop.box_px[0] for crop in chosen]) > 0.7 * room
    paired = [crops[i, protocol.paired_kept(i, KEPT)] for i in range(24)]
    assert Counter(crop.kind for crop in paired)["isotropic"] == 12


def test_kept_sides_rotate_through_the_main_range():
    unswept, swept = CONDITIONS["median3"], CONDITIONS["jpeg60"]
    rotated = [protocol.kept_of_case(unswept, index, KEPT) for index in range(12)]
    assert all(len(one) == 1 for one in rotated)
    assert Counter(one[0] for one in rotated) == dict.fromkeys(MAIN_KEPT, 2)
    assert protocol.kept_of_case(swept, 5, KEPT) == KEPT
    assert protocol.kept_of_case(unswept, 1, (1.0, 0.5)) == (0.5,)


def test_published_conditions():
    assert list(CONDITIONS)[0] == "clean" and CONDITIONS["clean"].after == ()
    assert {name for name, one in CONDITIONS.items() if one.swept} == {"clean", "jpeg80", "jpeg60"}
    assert len({one.label for one in CONDITIONS.values()}) == len(CONDITIONS) == 62
    for one in CONDITIONS.values():
        assert parse_chain(describe(one.after)) == one.after
    web = CONDITIONS["jpeg90-crop-jpeg80"].chain(draw_crop(0, 0, 0.5, *SIZE).box)
    assert [step.name for step in web] == ["jpeg", "crop", "jpeg"]
    assert [step.values for step in web if step.name == "jpeg"] == [(90.0,), (80.0,)]


def test_sets():
    assert [one.name for one in QUICK.conditions] == ["clean", "jpeg80", "jpeg60"]
    assert QUICK.kept == MAIN_KEPT == (0.95, 0.89, 0.84, 0.77, 0.71, 0.63)
    assert FULL.kept == KEPT and len(FULL.conditions) == 26
    assert len(protocol.plan_image(FULL.conditions, KEPT, 0, 0, SIZE)) == 3 * 8 + 23
    assert not {one.name for one in FULL.conditions} & {one.name for one in LIMITS.conditions}


def test_every_condition_that_a_target_is_set_for_is_among_the_targets():
    assert {condition.name for condition in TARGETS.conditions} == {
        *(condition.name for condition in FULL.conditions),
        "jpeg50-half",
        "clean-third",
    }
    assert TARGETS.kept == FULL.kept


def test_conditions_with_kept_sides_of_their_own_are_measured_at_these():
    plan = protocol.plan_image(LIMITS.conditions, LIMITS.kept, 0, 4, SIZE)
    own = {condition.name: crop.kept for condition, crop in plan if condition.kept}
    assert own == {"jpeg50-half": 0.5, "clean-half": 0.5, "clean-third": 0.35}
    assert {crop.kept for condition, crop in plan if not condition.kept} == {KEPT[5]}
    assert len(plan) == len(LIMITS.conditions) == 36


def test_noise_differs_between_cases_but_not_between_runs():
    first = protocol.case_rng(0, 1, 0.77, CONDITIONS["noise0.02"]).random()
    assert first == protocol.case_rng(0, 1, 0.77, CONDITIONS["noise0.02"]).random()
    assert first != protocol.case_rng(0, 1, 0.77, CONDITIONS["noise0.04"]).random()
    assert first != protocol.case_rng(0, 2, 0.77, CONDITIONS["noise0.02"]).random()
    assert first != protocol.case_rng(0, 1, 0.71, CONDITIONS["noise0.02"]).random()
    assert first != protocol.case_rng(5, 1, 0.77, CONDITIONS["noise0.02"]).random()


def test_conditions_by_name_or_by_chain():
    assert protocol.pick_condition("tone") is CONDITIONS["tone"]
    custom = protocol.pick_condition("resize=0.6 jpeg=77")
    assert custom.name == custom.label == "resize=0.6 jpeg=77" and len(custom.after) == 2
    for wrong in ("jpeg81", "", "crop=0,0,0.5,0.5 jpeg=80", "jpeg=200"):
        with pytest.raises(UsageError):
            protocol.pick_condition(wrong)


def test_kept_sides_are_checked():
    assert protocol.check_kept([0.5, 1, 0.7, 0.5]) == (1.0, 0.7, 0.5)
    for wrong in ([], [0.0], [1.1], [float("nan")]):
        with pytest.raises(InputError):
            protocol.check_kept(wrong)
