"""Records in the lowest bits: they are found in any crop, and nowhere else."""

import numpy as np
import pytest

from clr_infer.lowest_bits import (
    ROOM_BYTES,
    TILE_PX,
    find_grid,
    grid_size,
    read_tiles,
    write_tiles,
)


@pytest.fixture(scope="module")
def written(coffee) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = grid_size(coffee.shape[1], coffee.shape[0])
    records = np.random.default_rng(0).integers(0, 256, (rows, columns, ROOM_BYTES), np.uint8)
    image = coffee.copy()
    write_tiles(image, records)
    return image, records


def _places(image: np.ndarray, records: np.ndarray) -> set[tuple[int, int, int, int]]:
    """Where tiles were found, once what they carry is checked."""
    tiles = read_tiles(image)
    for tile in tiles:
        assert tile.record == records[tile.row, tile.column].tobytes()
    return {tile[:4] for tile in tiles}


def test_only_lowest_bits_change(written, coffee):
    image, _ = written
    assert np.array_equal(image >> 1, coffee >> 1)
    assert 0.45 < (image != coffee).mean() < 0.55


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 31), (17, 5), (32, 64), (63, 33)])
def test_every_whole_tile_of_a_crop_is_found(written, corner):
    image, records = written
    x0, y0 = corner
    crop = image[y0 : y0 + 150, x0 : x0 + 201]
    expected = {
        (TILE_PX * column - x0, TILE_PX * row - y0, column, row)
        for row in range(-(-y0 // TILE_PX), (y0 + 150) // TILE_PX)
        for column in range(-(-x0 // TILE_PX), (x0 + 201) // TILE_PX)
    }
    assert expected and _places(crop, records) == expected


def test_the_least_part_that_must_hold_a_tile_shows_it(written):
    image, records = written
    side = 2 * TILE_PX - 1
    for x0, y0 in ((1, 1), (16, 3), (31, 30)):
        assert len(_places(image[y0 : y0 + side, x0 : x0 + side], records)) == 1
    assert len(_places(image[:TILE_PX, :TILE_PX], records)) == 1
    assert not read_tiles(image[1 : TILE_PX + 31, 1 : TILE_PX + 31])
    assert not read_tiles(image[1 : TILE_PX + 31]) and not read_tiles(image[:, 1 : TILE_PX + 31])
    assert not read_tiles(image[: TILE_PX - 1, :])


@pytest.mark.parametrize("height", [TILE_PX, 63, 95, 126, 158])
def test_a_single_whole_tile_is_found_wherever_it_lies(written, height):
    image, records = written
    for top in range(height - TILE_PX + 1):
        screen = np.zeros((height, 48, 3), np.uint8)
        screen[top : top + TILE_PX, 9 : 9 + TILE_PX] = image[:TILE_PX, :TILE_PX]
        assert _places(screen, records) == {(9, top, 0, 0)}


@pytest.mark.parametrize("bit", [1, 2, 128])
def test_any_changed_bit_costs_its_tile_alone(written, bit):
    image, records = written
    touched = image.copy()
    touched[2 * TILE_PX + 5, 3 * TILE_PX + 9, 1] ^= bit
    lost = _places(image, records) - _places(touched, records)
    assert lost == {(3 * TILE_PX, 2 * TILE_PX, 3, 2)}


def test_a_small_part_of_a_large_picture_is_found(written, rocket):
    image, records = written
    screen = np.zeros((1200, 1600, 3), np.uint8)
    screen[:427, :640] = rocket[:427, :640]
    screen[701 : 701 + 128, 903 : 903 + 160] = image[64:192, 32:192]
    expected = {
        (903 + TILE_PX * x, 701 + TILE_PX * y, 1 + x, 2 + y) for x in range(5) for y in range(4)
    }
    assert _places(screen, records) == expected


@pytest.mark.parametrize("wide", [1200, 6000])
def test_a_part_of_a_quarter_of_the_height_is_found_wherever_it_lies(written, wide):
    image = written[0][: 6 * TILE_PX]
    height, width = image.shape[:2]
    screen = np.zeros((4 * height, wide, 3), np.uint8)
    for top in np.linspace(0, 3 * height, 13).astype(int):
        screen[:] = 0
        screen[top : top + height, :width] = image
        found = read_tiles(screen)
        assert len(found) == 6 * (width // TILE_PX)
        assert {tile.top % TILE_PX for tile in found} == {top % TILE_PX}


@pytest.mark.parametrize("name", ["raccoon", "coffee", "rocket"])
def test_photographs_hold_none(name, request):
    assert read_tiles(request.getfixturevalue(name)) == []


def test_noise_and_plain_areas_hold_none():
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 3), np.uint8)
    assert read_tiles(noise) == []
    for level in (0, 127, 255):
        assert read_tiles(np.full((200, 200, 3), level, np.uint8)) == []


def test_a_key_hides_tiles_from_others(coffee):
    columns, rows = grid_size(coffee.shape[1], coffee.shape[0])
    image = coffee.copy()
    write_tiles(image, np.zeros((rows, columns, ROOM_BYTES), np.uint8), b"secret")
    assert len(read_tiles(image, b"secret")) == rows * columns
    assert not read_tiles(image) and not read_tiles(image, b"other")
    image, alike = coffee.copy(), 100 * b"x"
    write_tiles(image, np.zeros((rows, columns, ROOM_BYTES), np.uint8), alike + b"ours")
    assert read_tiles(image, alike + b"ours") and not read_tiles(image, alike + b"theirs")


def test_a_mark_alone_is_no_tile(written):
    image, records = written
    broken = image.copy()
    for row, column in np.ndindex(records.shape[:2]):  # all marks stay, all contents change
        broken[TILE_PX * row + 1, TILE_PX * column] ^= 1
    assert read_tiles(broken) == []


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_grid_is_found_in_pixels_of_any_layout(written, coffee, quarters, mirrored):
    image, _ = written
    upright = image[21:350, 13:570]
    lying = np.rot90(upright, -quarters)
    lying = np.ascontiguousarray(lying[:, ::-1] if mirrored else lying)
    view = np.rot90(lying[:, ::-1] if mirrored else lying, quarters)
    assert np.shares_memory(view, lying)
    assert find_grid(view) == find_grid(upright) == (TILE_PX - 13, TILE_PX - 21)
    assert read_tiles(view) == read_tiles(upright) != []
    assert find_grid(np.rot90(coffee, quarters)) is None
