"""Pictures of results say what they are said to, at any size, and leave the results alone."""

import numpy as np
import pytest

from clr_infer.geometry import crop_mask
from clr_infer.sheet import HEAT_LEVELS, heat, magnified_residual, overlay

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
