import numpy as np
import pytest

from clr_infer.geometry import (
    Box,
    box_iou,
    box_to_pixels,
    canvas_size,
    common_px,
    crop_mask,
    enclosing_px,
    placed_box,
)


def test_iou_of_known_boxes():
    full = Box(0, 0, 1, 1)
    assert box_iou(full, full) == 1
    assert box_iou(full, Box(0, 0, 0.5, 1)) == pytest.approx(0.5)
    assert box_iou(Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1)) == 0
    assert box_iou(Box(0, 0, 0.6, 1), Box(0.4, 0, 1, 1)) == pytest.approx(0.2)
    for apart in (Box(0.6, 0, 1, 0.4), Box(0, 0.6, 0.4, 1), Box(0.6, 0.6, 1, 1)):
        assert box_iou(Box(0, 0, 0.4, 0.4), apart) == box_iou(apart, Box(0, 0, 0.4, 0.4)) == 0


def test_a_box_that_ends_before_it_starts_keeps_nothing():
    assert Box(0.6, 0, 0.4, 1).area == Box(0, 0.6, 1, 0.4).area == 0


@pytest.mark.parametrize("size", [(768, 512), (1, 1), (33, 1000)])
def test_boxes_in_pixels_stay_inside_and_are_never_empty(size):
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = np.sort(rng.uniform(-0.1, 1.1, (2, 2)), axis=0)
        x0, y0, x1, y1 = box_to_pixels(Box(a[0], a[1], b[0], b[1]), *size)
        assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]


def test_a_crop_finds_its_place_in_the_canvas_again():
    rng = np.random.default_rng(1)
    for _ in range(200):
        frame = rng.integers(64, 3000, 2)
        kept = rng.uniform(0.4, 1.0, 2)
        start = rng.uniform(0, 1 - kept)
        width, height = int(frame[0]), int(frame[1])
        px = box_to_pixels(Box(*start, *(start + kept)), width, height)
        box = Box(px[0] / width, px[1] / height, px[2] / width, px[3] / height)
        crop = (px[2] - px[0], px[3] - px[1])
        assert canvas_size(box, *crop) == (width, height)
        assert placed_box(box, *crop) == px


@pytest.mark.parametrize(
    "box", [Box(0.2, 0.3, 1.0, 1.0), Box(-0.1, -0.2, 0.7, 0.6), Box(0.4, 0.3, 1.1, 1.2)]
)
def test_a_sloppy_box_still_places_the_whole_crop(box):
    width, height = canvas_size(box, 101, 77)
    x0, y0, x1, y1 = placed_box(box, 101, 77)
    assert (x1 - x0, y1 - y0) == (101, 77)
    assert 0 <= x0 and 0 <= y0 and x1 <= width and y1 <= height


def test_a_box_beyond_the_frame_makes_no_canvas_smaller_than_its_crop():
    assert canvas_size(Box(-0.1, -0.1, 1.0, 1.1), 101, 77) == (101, 77)


def test_what_boxes_in_pixels_have_in_common_and_what_holds_both():
    a, b = (0, 2, 5, 9), (1, 1, 7, 4)
    assert common_px(a, b) == common_px(b, a) == (1, 2, 5, 4)
    assert enclosing_px(a, b) == enclosing_px(b, a) == (0, 1, 7, 9)


def test_mask_is_white_inside_only():
    mask = crop_mask((2, 1, 5, 3), 8, 4)
    holed = crop_mask((2, 1, 5, 3), 8, 4, [(3, 1, 4, 2)])
    assert holed[1, 3] == 0 and (holed != mask).sum() == 1
    assert mask.shape == (4, 8) and mask.dtype == np.uint8
    assert mask[1:3, 2:5].min() == 255 and int(mask.astype(int).sum()) == 255 * 6
