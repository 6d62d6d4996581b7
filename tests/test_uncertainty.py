"""What the recover network expects of its own reconstruction."""

import itertools

import numpy as np
import pytest

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.evaluate.metrics import squared_error
from clr_infer.geometry import FULL_FRAME, Box, crop_mask
from clr_infer.preprocess import resize_pixels
from clr_infer.results import Located, Recovered
from clr_infer.sheet import HEAT_LEVELS, heat
from clr_infer.uncertainty import expected_psnr_db, spread_cells

BOX = Box(0.25, 0.0, 0.75, 0.5)


def test_cells_are_spread_over_the_canvas_around_the_received_pixels():
    cells = np.array([[3.0, 3.0], [40.0, 40.0]], np.float32)
    levels = spread_cells(cells, crop_mask((10, 5, 30, 20), 40, 60))
    assert levels.shape == (60, 40) and levels.dtype == np.uint8
    assert not levels[5:20, 10:30].any() and (levels[:5] == 3).all() and (levels[-10:] == 40).all()
    assert (np.diff(levels[:, 0].astype(int)) >= 0).all()
    quiet = spread_cells(np.full((2, 2), 1e-3, np.float32), crop_mask((0, 0, 1, 1), 7, 9))
    assert quiet[0, 0] == 0 and quiet.sum() == 7 * 9 - 1  # reconstructed pixels are never sure
    for level, expected in ((2.7, 3), (255.0, 255), (400.0, 255)):
        nothing_received = np.zeros((7, 9), np.uint8)
        assert (
            spread_cells(np.full((2, 2), level, np.float32), nothing_received) == expected
        ).all()


def test_the_expected_psnr_is_that_of_the_cells_outside_the_box():
    cells = np.full((8, 8), 10.0, np.float32)
    cells[:4, 2:6] = 200.0  # inside: counts for nothing
    assert expected_psnr_db(cells, BOX) == pytest.approx(20 * np.log10(25.5))
    cells[4:] = 20.0
    mean = (16 * 10.0**2 + 32 * 20.0**2) / 48
    assert expected_psnr_db(cells, BOX) == pytest.approx(10 * np.log10(255**2 / mean))
    assert expected_psnr_db(cells, FULL_FRAME) is None
    assert expected_psnr_db(cells, Box(1e-4, 0.0, 1.0, 1.0)) is None


def test_a_share_of_a_cell_counts_as_such():
    cells = np.array([[10.0, 30.0]], np.float32)
    found = expected_psnr_db(cells, Box(0.0, 0.0, 0.25, 1.0))  # half of the first cell is missing
    assert found == pytest.approx(10 * np.log10(255**2 / ((0.5 * 100 + 900) / 1.5)))


def test_nothing_is_expected_of_what_was_not_cropped():
    cells = np.full((128, 128), 20.0, np.float32)
    mask = np.full((60, 100), 255, np.uint8)
    box = Box(0.0, 0.0, 0.9999, 1.0)  # less than half a pixel away from the edge
    whole = Located(True, 1.0, box, (0, 0, 100, 60), (100, 60), mask)
    assert Recovered(None, whole, {}, cells).expected_psnr_db is None
    cut = Located(True, 1.0, Box(0.0, 0.0, 0.5, 1.0), (0, 0, 50, 60), (100, 60), mask)
    assert Recovered(None, cut, {}, cells).expected_psnr_db == pytest.approx(22.11, abs=0.01)


def test_without_protection_nothing_is_expected():
    nothing = Recovered(None, Located(False, 0.1, None, None, None, None))
    assert nothing.uncertainty is None and nothing.expected_psnr_db is None


def test_heat_goes_from_dark_to_light_around_a_gray_picture():
    levels = np.repeat(np.linspace(0, 2 * HEAT_LEVELS, 50)[None], 20, 0)
    image = np.random.default_rng(0).integers(0, 256, (20, 50, 3), dtype=np.uint8)
    mask = np.zeros((20, 50), np.uint8)
    mask[5:15, 30:40] = 255
    mask[8, 33] = 0  # painted over: reconstructed, as what lies around
    drawn = heat(levels, image, mask)
    brightness = drawn[0].astype(int).sum(1)
    assert (np.diff(brightness) >= 0).all() and (brightness[25:] == brightness[-1]).all()
    inside = drawn[5:15, 30:40]
    np.testing.assert_array_equal(inside[3, 3], drawn[0, 33])
    inside = np.delete(inside.reshape(-1, 3), 33, axis=0)
    assert (inside == inside[..., :1]).all() and inside.std() > 10


def test_the_shipped_network_knows_where_it_is_wrong(session, coffee, rocket):
    """Within each picture it tells sure places from unsure ones; of all it is off by little.

    Of one alone it may be off by more: the rocket's night sky is 3 dB worse than is expected of it.
    """
    off = []
    for original, steps in itertools.product((coffee, rocket), ("", "jpeg=60")):
        chain = parse_chain(f"crop=0.2,0.1,0.85,0.8 {steps}")
        received = apply(session.protect(original).image, chain, np.random.default_rng(0))
        found = session.recover(received)
        uncertainty, size = found.uncertainty, found.located.canvas_px
        assert uncertainty.shape == found.located.mask.shape
        assert np.array_equal(uncertainty > 0, found.located.mask == 0)
        error = squared_error(resize_pixels(original, *size), found.image) / 3.0
        outside = crop_mask(found.located.box_px, *size) == 0
        sure = outside & (uncertainty <= np.median(uncertainty[outside]))
        assert error[outside & ~sure].mean() > 2.0 * error[sure].mean()
        measured = 10 * np.log10(255**2 / error[outside].mean())
        off.append(abs(found.expected_psnr_db - measured))
    assert np.mean(off) < 2.0 and max(off) < 4.0


def test_results_are_objects_that_can_be_compared_and_kept():
    mask = np.full((60, 100), 255, np.uint8)
    one, alike = (
        Located(True, 1.0, Box(0.0, 0.0, 1.0, 1.0), (0, 0, 100, 60), (100, 60), mask)
        for _ in range(2)
    )
    assert one == one and one != alike
    assert len({one, alike, Recovered(mask, one), Recovered(mask, one)}) == 4
