"""What the demo measures beside the recovery is measured fairly."""

import numpy as np
import pytest

from clr_infer.attacks.steps import parse_chain
from clr_infer.demo import Demo, _true_box, describe, run_demo, sheet
from clr_infer.geometry import FULL_FRAME

CROP = "crop=0.1,0.1,0.8,0.8"


@pytest.mark.parametrize("step", ["mirror", "border=0.1"])
def test_baselines_fill_around_the_fragment_as_it_lay(session, coffee, step):
    plain, moved = (
        run_demo(session, coffee, steps, turned=step == "mirror").numbers["cropped_out_psnr_db"]
        for steps in (CROP, f"{CROP} {step}")
    )
    assert set(plain) == set(moved) and len(plain) > 4
    for name, psnr_db in plain.items():
        assert moved[name] == pytest.approx(psnr_db, abs=1.0), name


def test_the_true_box_is_that_of_the_pixels_that_were_kept():
    assert _true_box(parse_chain("jpeg=80"), 101, 50) == FULL_FRAME
    box = _true_box(parse_chain("jpeg=90 crop=0.1,0.2,0.904,0.95 jpeg=80"), 101, 50)
    np.testing.assert_allclose(box, (10 / 101, 10 / 50, 91 / 101, 48 / 50), atol=1e-12)


def test_pictures_show_the_fragment_where_it_lay_and_what_is_wrong_around_it(session, coffee):
    demo = run_demo(session, coffee, CROP)
    height, width = coffee.shape[:2]
    assert demo.numbers["true_box"] == pytest.approx([0.1, 0.1, 0.8, 0.8], abs=2e-3)
    assert demo.numbers["iou"] > 0.97
    located, received = demo.images["located"], demo.images["received"]
    assert abs(located.shape[0] - height) <= 3 and abs(located.shape[1] - width) <= 3
    middle = np.s_[height // 2 : height // 2 + 20, width // 2 : width // 2 + 20]
    rows, columns = (round(0.1 * side) for side in (height, width))
    there = received[height // 2 - rows :, width // 2 - columns :][:20, :20]
    assert np.abs(located[middle].astype(int) - there).mean() < 15  # a pixel aside at most
    assert (demo.images["error"][middle].std(axis=-1) == 0).all()  # received: in gray
    around = demo.images["error"][: height // 20]
    assert around.std(axis=-1).mean() > 5  # in colours
    assert "recovered" in describe(demo) and sheet(demo).shape[1] > 4 * 420


def test_a_sheet_of_what_was_not_found_has_one_row():
    numbers = {"image_px": [40, 30], "protected_psnr_db": 40.0, "steps": "jpeg=5"}
    names = ("original", "protected", "residual_x10", "received")
    images = {name: np.full((30, 40, 3), 99, np.uint8) for name in names}
    one = sheet(Demo(numbers, images))
    two = sheet(Demo(numbers | {"iou": 0.9}, images | {"located": images["original"]}))
    assert one.shape[1] == two.shape[1] and two.shape[0] > 1.8 * one.shape[0]
