"""Pictures in tiles, and FG-JPEG on them."""

import numpy as np
import pytest
import torch

from clr_infer.errors import ImageError, InputError
from clr_infer.networks.served import load_served
from clr_infer.tiles import join_tiles, split_tiles


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (33, 7), (64, 64), (65, 63), (96, 97), (80, 81), (112, 128), (130, 257), (40, 1000)],
)
def test_tiles_join_to_what_was_split(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    tiles = list(split_tiles(pixels, 64))
    assert all(tile.shape == (3, 64, 64) and tile.dtype == np.float32 for tile in tiles)
    rows, columns = (max(1, -(-(side - 32) // 32)) for side in (height, width))
    assert len(tiles) == rows * columns  # each after the first adds what does not overlap
    np.testing.assert_array_equal(join_tiles(tiles, 64, height, width), pixels)


def test_what_happens_at_the_borders_of_tiles_is_not_seen():
    pixels = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
    tiles = []
    for tile in split_tiles(pixels, 64):
        spoilt = np.full_like(tile, 0.5)
        spoilt[:, 2:-2, 2:-2] = tile[:, 2:-2, 2:-2]
        tiles.append(spoilt)
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_array_equal(join_tiles(tiles, 64, 200, 300)[inner], pixels[inner])


def test_fg_jpeg_in_tiles_is_fg_jpeg_of_the_whole_picture(session, raccoon):
    pixels = np.ascontiguousarray(raccoon[:250, :620])
    network = load_served(session.weights)["fg_jpeg"]
    with torch.inference_mode():
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255.0
        whole = network(image, torch.tensor([60.0]))[0].permute(1, 2, 0).numpy()
    simulated = session.fg_jpeg(pixels, 60)
    assert simulated.image.shape == pixels.shape and simulated.image.dtype == np.uint8
    differs = np.abs(simulated.image - np.rint(255.0 * whole)) > 1
    assert differs.mean() < 1e-3 and differs[:, 488:504].mean() < 1e-3  # two tiles meet there
    assert set(simulated.timings_ms) == {"preprocess", "fg_jpeg"}


@pytest.mark.parametrize("qf", [0, 101, float("nan")])
def test_quality_factors_out_of_range_are_refused(session, raccoon, qf):
    with pytest.raises(InputError, match="between 1 and 100"):
        session.fg_jpeg(raccoon, qf)


def test_fg_jpeg_takes_no_bad_images(session):
    with pytest.raises(ImageError):
        session.fg_jpeg(np.zeros((8, 8), np.uint8), 50)
