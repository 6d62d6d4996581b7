"""Holes are filled from what lies around them."""

import numpy as np
import pytest

from clr_infer.fill import filled


def test_what_lies_in_no_hole_is_untouched(coffee):
    holes = [(0, 0, 33, 20), (100, 150, 240, 260), (599, 399, 600, 400)]
    inside = np.zeros(coffee.shape[:2], bool)
    for x0, y0, x1, y1 in holes:
        inside[y0:y1, x0:x1] = True
    painted = np.where(inside[..., None], np.uint8(255), coffee)
    result = filled(painted, holes)
    assert np.array_equal(result[~inside], coffee[~inside])
    assert np.array_equal(painted[inside], np.full_like(painted[inside], 255))  # as it was given
    error = (result[inside].astype(float) - coffee[inside]).std()
    assert error < coffee[inside].std()


@pytest.mark.parametrize("side", [(61, 97), (64, 64), (1, 9), (5, 1)])
def test_plain_pictures_are_whole_again(side):
    plain = np.full((*side, 3), (10, 130, 250), np.uint8)
    painted = plain.copy()
    painted[: (side[0] + 1) // 2, : side[1] // 2 + 1] = 0
    hole = (0, 0, side[1] // 2 + 1, (side[0] + 1) // 2)
    difference = filled(painted, [hole]).astype(int) - plain
    assert hole[2:] == side[::-1] or np.abs(difference).max() <= 4


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
def test_what_little_is_left_shows_how_light_the_rest_is(share):
    painted = np.full((100, 150, 3), (90, 160, 240), np.uint8)
    hole = (round(150 * share), 0, 150, 100)
    painted[:, hole[0] :] = 255
    difference = filled(painted, [hole]).astype(int) - (90, 160, 240)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("width", [160, 131, 129])
def test_a_ramp_goes_on_through_a_hole(width):
    ramp = np.repeat(np.linspace(40, 200, width)[None, :, None], 129, 0).repeat(3, 2)
    ramp = np.rint(ramp).astype(np.uint8)
    painted, (x0, x1) = ramp.copy(), (width // 3, 2 * width // 3)
    painted[45:85, x0:x1] = 0
    guess = filled(painted, [(x0, 45, x1, 85)])[65, x0:x1, 0].astype(int)
    assert np.abs(guess - ramp[65, x0:x1, 0]).max() <= 20
    assert (np.diff(guess[::8]) > 0).all()


def test_nothing_is_left_to_guess_from():
    assert not filled(np.full((40, 30, 3), 9, np.uint8), [(0, 0, 30, 40)]).any()
