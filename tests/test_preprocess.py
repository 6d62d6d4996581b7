import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from clr_infer.attacks.simulate import resize
from clr_infer.composite import composite
from clr_infer.errors import ImageError
from clr_infer.geometry import FULL_FRAME, Box
from clr_infer.preprocess import (
    check_pixels,
    check_size,
    from_frame,
    reduce_pixels,
    to_frame,
    to_pixels,
)
from clr_infer.settings import Settings


def test_to_frame_is_the_resize_that_training_saw(coffee):
    frame = to_frame(coffee, 128)
    native = torch.from_numpy(coffee.copy()).permute(2, 0, 1)[None].float() / 255
    trained = resize(native, 128, 128)[0].clamp(0, 1).numpy()
    assert frame.dtype == np.float32 and frame.shape == (3, 128, 128)
    difference = 255 * np.abs(frame - trained)
    assert difference.mean() < 0.5  # Pillow rounds and clips to 8 bits after each axis
    assert difference.max() < 8


def test_frame_of_its_own_size_is_exact(coffee):
    square = coffee[:128, :128]
    back = np.asarray(from_frame(to_frame(square, 128), 128, 128))
    assert np.array_equal(back, square)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.zeros((64, 64, 3), np.float32), "uint8"),
        (np.full((64, 64, 3), np.nan), "uint8"),
        (np.zeros((64, 64), np.uint8), "HxWx3"),
        (np.zeros((64, 64, 4), np.uint8), "HxWx3"),
        (np.zeros((1, 64, 64, 3), np.uint8), "HxWx3"),
        (np.zeros((0, 64, 3), np.uint8), "at least"),
        (np.zeros((1, 1, 3), np.uint8), "at least"),
        (np.zeros((40, 20000, 3), np.uint8), "times"),
        ("photo.jpg", "PIL image"),
        (None, "PIL image"),
        (Image.new("RGB", (5, 5)), "at least"),
    ],
)
def test_bad_images_say_what_is_wrong(image, word):
    with pytest.raises(ImageError, match=word):
        check_pixels(image, Settings())


def _opened(picture, **options):
    file = io.BytesIO()
    picture.save(file, **options)
    return Image.open(file)


def test_pictures_of_pillow_are_read_as_files_are(coffee):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    upright = Image.fromarray(coffee)
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    phone = _opened(lying, format="PNG", exif=exif)
    assert np.array_equal(check_pixels(phone, Settings()), coffee)
    deep = Image.fromarray(coffee[..., 0].astype(np.uint16) * 257)
    assert np.array_equal(check_pixels(deep, Settings())[..., 2], coffee[..., 0])
    hidden = upright.copy()
    hidden.putalpha(0)
    assert np.array_equal(check_pixels(hidden, Settings()), coffee)
    with pytest.raises(ImageError, match="floating-point"):
        check_pixels(Image.fromarray(np.zeros((64, 64), np.float32)), Settings())


def test_a_picture_of_pillow_that_is_cut_off_is_refused(coffee):
    file = io.BytesIO()
    Image.fromarray(coffee).save(file, format="JPEG")
    cut = Image.open(io.BytesIO(file.getvalue()[:-2000]))
    with pytest.raises(ImageError, match="cannot be decoded"):
        check_pixels(cut, Settings())


def test_the_pixel_limit_is_named_and_can_be_raised():
    with pytest.raises(ImageError, match="max_pixels"):
        check_size(20000, 20000, Settings())
    check_size(20000, 20000, Settings(max_pixels=400_000_000))


def test_composite_keeps_received_pixels_beyond_the_soft_edge():
    rng = np.random.default_rng(0)
    received = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    out = composite(received, np.zeros((3, 64, 64), np.float32), Box(0.25, 0.0, 0.75, 0.5), 6)
    assert out.shape == (160, 200, 3)
    inner = out[0:74, 56:144]  # the top edge is the frame's own: no feather there
    assert np.array_equal(inner, received[0:74, 6:94])
    assert out[100:].max() == 0
    assert 0 < out[79, 100].max() < 255 or received[79, 50].max() < 10


def test_no_edge_is_soft_where_the_frame_ends():
    received = np.random.default_rng(1).integers(100, 256, (80, 100, 3), dtype=np.uint8)
    black = np.zeros((3, 64, 64), np.float32)
    assert np.array_equal(composite(received, black, FULL_FRAME, 6), received)
    corner = composite(received, black, Box(0.5, 0.5, 1.0, 1.0), 6)
    assert np.array_equal(corner[86:, 106:], received[6:, 6:])
    assert (corner[80:, 100] < 100).all() and (corner[80, 100:] < 100).all()


def test_only_large_images_are_reduced():
    image = np.zeros((300, 400, 3), np.uint8)
    for area in (400 * 300, 500 * 500):
        assert reduce_pixels(image, area) is image
    assert reduce_pixels(image, 100 * 75).shape == (75, 100, 3)
    assert reduce_pixels(np.zeros((2, 9000, 3), np.uint8), 100.0).shape == (1, 671, 3)


@pytest.mark.parametrize("size", [(1, 1), (9, 7), (1, 200), (300, 1), (33, 64), (5, 129)])
def test_the_pixels_of_a_picture_are_all_there_and_its_own(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    for expected in (noise, noise[..., 1]):
        picture = Image.fromarray(expected)
        pixels = to_pixels(picture)
        assert pixels.dtype == np.uint8 and np.array_equal(pixels, expected)
        pixels[:] = 0  # results may be drawn on
        assert np.array_equal(np.asarray(picture), expected)
