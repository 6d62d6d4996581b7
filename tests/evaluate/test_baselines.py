import numpy as np
import pytest

from clr_infer.errors import InputError
from clr_infer.evaluate.baselines import BASELINES, fill_baselines, mean_colour

BOX = (2, 1, 6, 4)
RECEIVED = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 5


def test_every_filling_keeps_the_received_pixels():
    filled = fill_baselines(RECEIVED, BOX, 9, 7)
    assert tuple(filled) == BASELINES
    for image in filled.values():
        assert image.shape == (7, 9, 3) and image.dtype == np.uint8
        np.testing.assert_array_equal(image[1:4, 2:6], RECEIVED)


def test_mean_colour_and_edge_by_hand():
    filled = fill_baselines(RECEIVED, BOX, 9, 7)
    np.testing.assert_array_equal(mean_colour(RECEIVED), [82, 88, 92])  # 82.5, 87.5, 92.5 to even
    np.testing.assert_array_equal(filled["mean_colour"][0, 0], [82, 88, 92])
    np.testing.assert_array_equal(filled["edge"][0, 0], RECEIVED[0, 0])
    np.testing.assert_array_equal(filled["edge"][6, 8], RECEIVED[2, 3])
    np.testing.assert_array_equal(filled["edge"][2, 8], RECEIVED[1, 3])


def test_blur_smooths_the_outside_only():
    rng = np.random.default_rng(0)
    received = rng.integers(0, 256, (40, 40, 3), np.uint8)
    filled = fill_baselines(received, (30, 30, 70, 70), 100, 100)
    rough = {name: np.abs(np.diff(filled[name][:30].astype(int), axis=1)).mean() for name in filled}
    assert rough["edge"] > rough["blur8"] > rough["blur16"] > rough["blur32"] > 0


def test_a_received_image_of_another_size_is_resized_to_its_true_one():
    flat = np.full((6, 8, 3), 77, np.uint8)
    for image in fill_baselines(flat, BOX, 9, 7).values():
        np.testing.assert_array_equal(image, np.full((7, 9, 3), 77))


def test_nothing_to_fill_and_a_box_outside():
    for image in fill_baselines(RECEIVED, (0, 0, 4, 3), 4, 3).values():
        np.testing.assert_array_equal(image, RECEIVED)
    for box in ((2, 1, 10, 4), (2, 1, 6, 8), (2, 1, 2, 4), (2, 1, 6, 1), (-1, 1, 6, 4)):
        with pytest.raises(InputError, match="frame of 9x7"):
            fill_baselines(RECEIVED, box, 9, 7)
