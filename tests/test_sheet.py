"""Pictures of results say what they are said to, at any size, and leave the results alone."""

import numpy as np
import pytest

from clr_infer.geometry import crop_mask
from clr_infer.sheet import HEAT_LEVELS, contact_sheet, heat, magnified_residual, overlay

SIZES = [(1, 1), (7, 9), (300, 40), (64, 200)]


def _noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", [(60, 90), (300, 41)])
def test_what_was_reconstructed_is_dimmed(size):
    height, width = size
    image = _noise(size)
    before, box_px, hole = image.copy(), (5, 4, width, height - 9), (20, 20, 33, 30)
    drawn = overlay(image, box_px, altered_px=[hole])
    assert np.array_equal(image, before)
    received = crop_mask(box_px, width, height, [hole]) > 0
    dimmed = (image * 0.72 + 24.0).astype(np.uint8)
    expected = np.where(received[..., None], image, dimmed)
    inside = np.s_[6 : height - 11, 7 : width - 2]  # but for the box's own lines
    assert np.array_equal(drawn[inside], expected[inside])
    assert np.array_equal(drawn[:4], expected[:4]) and np.array_equal(drawn[:, :5], expected[:, :5])
    assert (drawn[4, 5] == (255, 70, 70)).all()
    assert np.array_equal(overlay(image, None), image)


def test_the_found_box_is_red_within_a_green_one_that_is_true():
    image, box_px = _noise((60, 90)), (10, 8, 80, 50)
    drawn = overlay(image, None, box_px)
    assert (drawn[8, 10:80] == (60, 230, 110)).all() and (drawn[49, 10:80] == (60, 230, 110)).all()
    assert np.array_equal(drawn[50:], image[50:]) and np.array_equal(drawn[:, 80:], image[:, 80:])
    both = overlay(image, box_px, box_px)
    assert (both[8, 10:80] == (255, 70, 70)).all() and (both[9, 11:79] == (60, 230, 110)).all()


def test_pictures_of_any_shape_lie_in_rows_under_captions():
    shades = {"low": ((20, 40), 50), "high": ((80, 40), 100), "below": ((40, 40), 150)}
    tiles = {name: np.full((*size, 3), shade, np.uint8) for name, (size, shade) in shades.items()}
    rows = [[("low", tiles["low"]), ("high", tiles["high"])], [("below", tiles["below"])]]
    laid = contact_sheet(rows, tile_px=100)
    for name, height, at in (
        ("low", 50, (34, 8)),
        ("high", 200, (34, 116)),
        ("below", 100, (268, 8)),
    ):
        assert (laid[at[0] : at[0] + height, at[1] : at[1] + 100] == shades[name][1]).all()
        assert laid[at[0] - 26 : at[0], at[1] : at[1] + 100].min() < 100  # its caption
    assert laid.shape == (376, 224, 3) and (laid[:8] == 255).all()


@pytest.mark.parametrize("size", SIZES)
def test_errors_in_whole_levels_are_drawn_as_those_in_fractions(size):
    levels = _noise(size, 1)[..., 0]
    image, mask = _noise(size), (_noise(size, 2)[..., 0] > 99).astype(np.uint8)
    drawn = heat(levels, image, mask)
    assert np.array_equal(drawn, heat(levels + 0.3, image, mask))
    hot = (levels >= HEAT_LEVELS) & (mask == 0)
    assert (drawn[hot] == (252, 247, 160)).all() and hot.any() == (mask == 0).any()
    gray = drawn[mask > 0]
    assert (gray == gray[:, :1]).all() and (gray >= 60).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_residual_is_magnified_around_gray(size):
    one, other = _noise(size), _noise(size, 3)
    before = one.copy(), other.copy()
    magnified = magnified_residual(one, other, 2.5)
    expected = np.clip(np.rint(2.5 * (other.astype(float) - one) + 128), 0, 255)
    assert np.array_equal(magnified, expected)
    assert np.array_equal(one, before[0]) and np.array_equal(other, before[1])
