"""Plain borders: found where there are some, left alone where there are none."""

import numpy as np
import pytest

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.border import inside_border, was_added
from clr_infer.demo import run_demo
from clr_infer.geometry import UPRIGHT, Box, Turn, box_iou, box_to_pixels
from clr_infer.settings import DEFAULT_SETTINGS, Settings

BOX = Box(0.0, 0.25, 0.75, 1.0)
"""At an edge of the frame: a border cannot be taken for more of the original there."""


def _framed(image: np.ndarray, left: int, top: int, right: int, bottom: int, colour=255):
    height, width = image.shape[:2]
    framed = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    framed[:] = colour
    framed[top : top + height, left : left + width] = image
    return framed


def _near(found, truth, most=4):
    assert found is not None
    inside = np.subtract(found, truth) * (1, 1, -1, -1)
    assert (inside >= 0).all() and (inside <= most).all(), f"{found} for {truth}"


@pytest.mark.parametrize("colour", [255, 0, (20, 90, 200)])
@pytest.mark.parametrize("widths", [(30, 30, 30, 30), (0, 60, 0, 60), (12, 0, 0, 0), (1, 2, 3, 40)])
def test_borders_of_any_side_and_colour_are_found(raccoon, widths, colour):
    height, width = raccoon.shape[:2]
    left, top = widths[:2]
    found = inside_border(_framed(raccoon, *widths, colour), DEFAULT_SETTINGS)
    _near(found, (left, top, left + width, top + height))


def test_bars_of_two_colours_are_found(raccoon):
    height, width = raccoon.shape[:2]
    framed = _framed(_framed(raccoon, 30, 0, 50, 0, 255), 0, 40, 0, 20, 0)
    _near(inside_border(framed, DEFAULT_SETTINGS), (30, 40, 30 + width, 40 + height))


def test_a_border_is_found_after_resizing_and_jpeg(raccoon):
    height, width = raccoon.shape[:2]
    framed = _framed(raccoon, 40, 40, 40, 40)
    received = apply(framed, parse_chain("resize=0.75 jpeg=60"), np.random.default_rng(0))
    truth = np.round(0.75 * np.array([40, 40, 40 + width, 40 + height]))
    _near(inside_border(received, DEFAULT_SETTINGS), truth, most=10)


@pytest.mark.parametrize("words", ["mirror border=0.1 jpeg=80", "rotate=3 border=0.05"])
def test_what_lies_wrongly_within_a_border_is_set_upright(session, protected, words):
    chain = parse_chain(f"crop=0.2,0,1,0.8 {words}")
    located = session.locate(apply(protected, chain, np.random.default_rng(0)))
    assert located.protected and located.turn != UPRIGHT
    assert box_iou(located.crop_box, Box(0.2, 0.0, 1.0, 0.8)) > 0.85
    assert located.picture_px[0] > 10 and located.picture_px[1] > 10


def test_what_lies_on_its_side_within_a_border_is_found_if_it_is_sought(
    session, protected, raccoon
):
    chain = parse_chain("crop=0.2,0,1,0.8 rotate=180 border=0.1")
    for image, there in ((protected, True), (raccoon, False)):
        received = apply(image, chain, np.random.default_rng(0))
        assert not session.locate(received).protected
        located = session.locate(received, turned=True)
        assert located.protected == there
    located = session.locate(apply(protected, chain, np.random.default_rng(0)), turned=True)
    assert located.turn == Turn(False, 180.0)


def test_photographs_have_none(raccoon, coffee):
    for image in (raccoon, coffee):
        assert inside_border(image, DEFAULT_SETTINGS) is None


def test_a_clear_sky_is_none(raccoon):
    sky = raccoon.copy()
    grain = np.random.default_rng(0).integers(-4, 5, sky[:60].shape)
    sky[:60] = np.array([110, 150, 210]) + grain
    assert inside_border(sky, DEFAULT_SETTINGS) is None


def test_nothing_is_cut_from_plain_images_or_below_the_limits(raccoon):
    for level in (0, 255):
        assert inside_border(np.full((200, 300, 3), level, np.uint8), DEFAULT_SETTINGS) is None
    framed = _framed(raccoon, 50, 50, 50, 50)
    assert inside_border(framed, Settings(side_min=raccoon.shape[0])) is None
    sliver = _framed(raccoon[:, :40], 200, 0, 200, 0)
    assert inside_border(sliver, Settings(aspect_max=3.0)) is None


@pytest.fixture(scope="module")
def fragment(protected):
    height, width = protected.shape[:2]
    x0, y0, x1, y1 = box_to_pixels(BOX, width, height)
    return protected[y0:y1, x0:x1], Box(x0 / width, y0 / height, x1 / width, y1 / height)


@pytest.mark.parametrize("steps", ["", "resize=0.75 jpeg=80"])
def test_a_screenshot_is_located_and_recovered(session, fragment, steps):
    image, truth = fragment
    screenshot = _framed(image, 60, 25, 45, 80, 235)
    received = apply(screenshot, parse_chain(steps), np.random.default_rng(0))
    result = session.recover(received)
    located = result.located
    assert located.protected and box_iou(located.crop_box, truth) > 0.97
    x0, y0, x1, y1 = located.picture_px
    assert located.box_px[2] - located.box_px[0] == x1 - x0
    assert located.box_px[3] - located.box_px[1] == y1 - y0
    assert result.image.shape[:2] == located.mask.shape
    inside = result.image[located.mask == 255].reshape(y1 - y0, x1 - x0, 3)
    kept = (slice(10, -10), slice(10, -10))
    assert np.array_equal(inside[kept], received[y0:y1, x0:x1][kept])


def test_others_in_a_batch_are_answered_as_alone(session, fragment, coffee):
    image, _ = fragment
    batch = [image, _framed(image, 30, 30, 30, 30), coffee]
    together = session.locate_batch(batch)
    for one, alone in zip(together, map(session.locate, batch), strict=True):
        assert one.protected == alone.protected and one.picture_px == alone.picture_px
        np.testing.assert_allclose(one.confidence, alone.confidence, atol=1e-5)
        if one.protected:
            np.testing.assert_allclose(one.crop_box, alone.crop_box, atol=1e-5)
    assert together[0].picture_px == (0, 0, image.shape[1], image.shape[0])


@pytest.mark.parametrize("colour", [0, (20, 90, 200), 255])
@pytest.mark.parametrize(("width", "steps"), [(16, ""), (20, "jpeg=80"), (45, "jpeg=80")])
def test_a_border_that_was_added_is_cut_off_though_the_fragment_is_found_with_it(
    session, protected, width, colour, steps
):
    height, full = protected.shape[:2]
    truth = Box(0.125, 0.25, 0.875, 0.9375)  # far from the edges: with its border it fits, too
    x0, y0, x1, y1 = box_to_pixels(truth, full, height)
    framed = _framed(protected[y0:y1, x0:x1], width, width, width, width, colour)
    received = apply(framed, parse_chain(steps), np.random.default_rng(0)) if steps else framed
    located = session.locate(received)
    assert located.protected
    _near(located.picture_px, (width, width, width + x1 - x0, width + y1 - y0), most=6)
    assert box_iou(located.crop_box, truth) > 0.97


def test_only_what_the_original_does_not_show_was_added():
    size = 256
    pixels = np.full((80, 100, 3), 200, np.uint8)
    picture_px, crop_box = (10, 8, 90, 72), Box(0.2, 0.2, 0.8, 0.8)
    uncertainty = np.full((64, 64), 10 / 255, np.float32)

    def added(level: float, box: Box = crop_box, inside: tuple = picture_px, unsure: int = 1):
        frame = np.full((3, size, size), level / 255, np.float32)
        return was_added(pixels, inside, box, size, lambda: (frame, unsure * uncertainty))

    assert not added(190) and added(90)
    assert not added(90, unsure=6) and not added(192, unsure=0)
    for cramped in (Box(0.0, 0.2, 0.8, 0.8), Box(0.2, 0.2, 1.0, 0.8), Box(0.2, 0.2, 0.8, 1.0)):
        assert added(200, cramped)  # no room for a border in the frame
    assert not added(90, inside=(2, 2, 98, 78))  # too narrow to say


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_each_side_of_a_border_is_compared_with_its_own_place(side):
    size, pixels = 256, np.full((110, 130, 3), 200, np.uint8)
    strips = {  # in the frame, where a picture at (77, 64, 179, 128) has this border around it
        "left": np.s_[56:144, 51:76],
        "top": np.s_[56:64, 51:218],
        "right": np.s_[56:144, 180:218],
        "bottom": np.s_[128:144, 51:218],
    }
    alike, other = np.full((size, size), 90.0), np.full((size, size), 200.0)
    for place in strips.values():
        alike[place] = 200.0
    other[strips[side]] = 90.0

    def added(levels: np.ndarray) -> bool:
        frame = np.stack(3 * [levels / 255]).astype(np.float32)
        unsure = np.full((64, 64), 10 / 255, np.float32)
        inside, box = (20, 10, 100, 90), Box(0.3, 0.25, 0.7, 0.5)
        return was_added(pixels, inside, box, size, lambda: (frame, unsure))

    assert not added(alike) and added(other)


@pytest.mark.parametrize("steps", ["", "jpeg=70"])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_border_that_was_protected_with_the_picture_belongs_to_it(session, coffee, colour, steps):
    letterboxed = session.protect(_framed(coffee, 0, 40, 0, 40, colour)).image
    located = session.locate(apply(letterboxed, parse_chain(steps), np.random.default_rng(0)))
    assert located.picture_px == (0, 0, letterboxed.shape[1], letterboxed.shape[0])
    assert box_iou(located.crop_box, Box(0, 0, 1, 1)) > 0.99


def test_the_demo_takes_pictures_with_a_border(session, coffee):
    demo = run_demo(session, _framed(coffee, 0, 60, 0, 60, 0), "crop=0,0,0.9,0.9 jpeg=90")
    assert demo.numbers["iou"] > 0.95 and "located" in demo.images
