"""The fragile copy: sharp from lossless crops, gone after all else, never believed blindly."""

import struct

import numpy as np
import pytest

from clr_infer import fragile_copy
from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.border import inside_border
from clr_infer.errors import ImageError, InputError, RuntimeUnavailable
from clr_infer.fragile_copy import code_copy, read_copy, with_copy
from clr_infer.geometry import Box
from clr_infer.lowest_bits import ROOM_BYTES, TILE_PX, grid_size, write_tiles
from clr_infer.preprocess import resize_pixels
from clr_infer.residual import psnr_of_mse
from clr_infer.settings import DEFAULT_SETTINGS, Settings
from clr_infer.turns import SIDES, upright


def _read(image: np.ndarray, settings: Settings = DEFAULT_SETTINGS):
    return read_copy(np.ascontiguousarray(image), settings)


def _marked(image: np.ndarray, settings: Settings = DEFAULT_SETTINGS) -> np.ndarray:
    return with_copy(image, code_copy(image), settings)


def _attacked(image: np.ndarray, words: str) -> np.ndarray:
    return apply(image, parse_chain(words), np.random.default_rng(0))


@pytest.fixture(scope="module")
def marked(coffee) -> np.ndarray:
    return _marked(coffee)


def test_the_error_is_that_of_the_copy(coffee):
    copy = code_copy(coffee)
    found = _read(with_copy(coffee, copy, DEFAULT_SETTINGS))
    shown = resize_pixels(found.image, coffee.shape[1], coffee.shape[0])
    error = np.sqrt(np.square(shown.astype(float) - coffee).mean())
    assert copy.error == pytest.approx(error, abs=1e-3)
    assert found.cell_uncertainty == pytest.approx(error, abs=0.13)
    assert psnr_of_mse(error**2) > 27


def test_an_error_beyond_what_is_noted_is_noted_as_the_largest():
    noise = 255 * np.random.default_rng(0).integers(0, 2, (192, 192, 3), np.uint8)
    assert code_copy(noise).error > 64
    found = _read(_marked(noise))
    assert found.image is not None and (found.cell_uncertainty == 63.75).all()


@pytest.mark.parametrize(
    "box_px", [(0, 0, 600, 400), (1, 1, 301, 201), (217, 103, 523, 333), (300, 200, 600, 400)]
)
def test_a_crop_of_half_of_each_side_shows_the_copy_and_its_exact_place(coffee, marked, box_px):
    assert marked.shape == (400, 600, 3)
    x0, y0, x1, y1 = box_px
    found = _read(marked[y0:y1, x0:x1])
    place = found.located
    assert place.protected and place.by_copy and place.confidence == 1.0
    assert place.box_px == box_px and place.canvas_px == (600, 400)
    assert place.crop_box == Box(x0 / 600, y0 / 400, x1 / 600, y1 / 400)
    assert place.picture_px == (0, 0, x1 - x0, y1 - y0)
    assert (place.mask > 0).sum() == (x1 - x0) * (y1 - y0)
    assert np.array_equal(found.picture, marked[y0:y1, x0:x1])
    assert np.array_equal(found.image, _read(marked).image)


def test_less_than_is_needed_still_says_where_it_lay(marked):
    found = _read(marked[150:260, 210:340])
    assert found.image is None
    assert found.located.box_px == (210, 150, 340, 260)


def test_what_was_painted_over_is_told_tile_by_tile(marked):
    painted = marked[20:380, 40:560].copy()
    painted[100:101, 150:151, 1] ^= 1  # one bit, in the tile from (160, 96) of the canvas
    painted[200:260, 300:380] = 0  # over the tiles from (320, 192) to (448, 288)
    found = _read(painted)
    assert np.array_equal(found.image, _read(marked).image)
    place, runs = found.located, [(320, y, 448, y + 32) for y in (192, 224, 256)]
    assert place.altered_px == ((160, 96, 192, 128), *runs)
    expected = np.zeros((400, 600), bool)
    expected[20:380, 40:560] = True
    for x0, y0, x1, y1 in place.altered_px:
        expected[y0:y1, x0:x1] = False
    assert np.array_equal(place.mask > 0, expected)


def test_what_was_painted_over_along_the_edge_of_the_original_is_told(marked):
    caption = marked.copy()
    caption[340:] = 255
    place = _read(caption).located
    assert place.box_px == (0, 0, 600, 400)
    assert place.altered_px == ((0, 320, 576, 352), (0, 352, 576, 384))
    cut = marked[40:360, 50:550].copy()
    cut[-60:] = 255  # inside the original nobody can tell this from a page below the fragment
    assert _read(cut).located.box_px == (50, 40, 550, 298)


def test_tiles_that_are_altered_all_along_an_edge_of_a_fragment_are_no_part_of_it(marked):
    cut = marked[32:352, 64:384].copy()
    cut[:, :TILE_PX] |= 1
    cut[-TILE_PX:] |= 1
    assert _read(cut).located.box_px == (64 + TILE_PX, 32, 384, 352 - TILE_PX)


def test_small_fragments_are_altered_as_well(marked):
    painted = marked[150:280, 210:360].copy()
    painted[60:64, 60:64] = 0
    found = _read(painted)
    assert found.image is None and found.located.altered_px == ((256, 192, 288, 224),)


def test_nothing_is_altered_where_nothing_was(marked):
    for part in (marked, marked[7:390, 13:590], marked[40:290, 100:333]):
        assert _read(part).located.altered_px == ()


@pytest.mark.parametrize("colour", [0, 30, 255])
def test_borders_around_it_are_no_part_of_the_picture(marked, colour):
    framed = np.full((330, 420, 3), colour, np.uint8)
    framed[32:302, 64:394] = marked[65:335, 129:459]  # cut off the grid on every side
    place = _read(framed).located  # two lines beside a border count as mixed with it
    assert place.picture_px == (66, 34, 392, 300) and place.box_px == (131, 67, 457, 333)
    framed ^= np.random.default_rng(0).integers(0, 64, framed.shape, np.uint8)
    # plain no more: what cannot be told from it is left out
    framed[32:302, 64:394] = marked[65:335, 129:459]
    x0, y0, x1, y1 = _read(framed).located.picture_px
    assert 64 <= x0 < 64 + TILE_PX and 394 - TILE_PX < x1 <= 394
    assert 32 <= y0 < 32 + TILE_PX and 302 - TILE_PX < y1 <= 302
    whole = np.full((500, 700, 3), 255, np.uint8)
    whole[50:450, 50:650] = marked
    assert _read(whole).located.picture_px == (50, 50, 650, 450)


def test_a_border_beside_a_picture_of_its_colour_is_cut_off_on_the_other_sides(coffee):
    dark = coffee.copy()
    dark[:90] = 0
    framed = np.zeros((314, 454, 3), np.uint8)
    framed[12:302, 12:442] = _marked(dark)[40:330, 70:500]
    x0, y0, x1, y1 = _read(framed).located.box_px
    assert (x0, x1, y1) == (72, 498, 328) and 64 - TILE_PX < y0 <= 64


def test_an_own_border_does_not_hide_one_that_was_added(coffee):
    banded = coffee.copy()
    banded[:, :50] = 0
    framed = np.zeros((300, 520, 3), np.uint8)
    framed[:, :500] = _marked(banded)[60:360, 40:540]  # 10 columns of its own, 20 that were added
    assert _read(framed).located.box_px == (40, 60, 538, 360)


def test_a_small_crop_keeps_its_plain_edge(coffee):
    plain = coffee.copy()
    plain[100:110] = 200
    found = _read(_marked(plain)[100:235, 210:350])
    assert found.image is None and found.located.box_px == (210, 100, 350, 235)


def test_a_border_of_the_original_belongs_to_it(coffee):
    framed = coffee.copy()
    framed[:60], framed[:, -50:] = 0, 0
    marked = _marked(framed)[40:380, 30:570]
    assert inside_border(marked, DEFAULT_SETTINGS) is not None
    assert _read(marked).located.box_px == (30, 40, 570, 380)


@pytest.mark.parametrize("turn", SIDES)
def test_mirrored_and_on_its_side_it_is_read_where_that_is_asked_for(marked, turn):
    part = marked[40:340, 110:530]
    sides = np.rot90(part, -round(turn.degrees / 90.0))
    page = np.full((500, 573, 3), 255, np.uint8)
    lying = np.ascontiguousarray(sides[:, ::-1] if turn.mirrored else sides)
    page[20 : 20 + lying.shape[0], 30 : 30 + lying.shape[1]] = lying
    assert _read(page) is None
    found = read_copy(page, DEFAULT_SETTINGS, turned=True)
    place = found.located
    assert place.turn == turn and place.box_px == (112, 42, 528, 338)
    x0, y0, x1, y1 = place.picture_px
    assert (x0, y0) == (32, 22) and (x1, y1) == (28 + lying.shape[1], 18 + lying.shape[0])
    assert np.array_equal(upright(page[y0:y1, x0:x1], turn), found.picture)
    assert np.array_equal(found.picture, marked[42:338, 112:528])


@pytest.mark.parametrize(
    "words", ["jpeg=100", "webp=95", "resize=1.5", "gaussian=3", "noise=0.02", "tone=0.01,1"]
)
def test_anything_with_losses_ends_it(marked, words):
    assert _read(_attacked(marked, words)) is None


@pytest.mark.parametrize("name", ["raccoon", "coffee", "rocket"])
def test_other_pictures_hold_none(name, request):
    assert _read(request.getfixturevalue(name)) is None


def test_tiles_that_were_carried_to_another_picture_are_not_believed(marked, rocket):
    stolen = resize_pixels(rocket, 600, 400) & 0xFE | marked & 1
    assert _read(stolen) is None


def test_tiles_of_two_pictures_are_not_mixed(marked, coffee):
    other = _marked(np.ascontiguousarray(coffee[:, ::-1]))
    joined = np.concatenate([marked[:, :384], other[:, 384:]], axis=1)
    found = _read(joined)
    assert np.array_equal(found.image, _read(marked).image)
    place = found.located
    assert place.box_px == (0, 0, 600, 400) and {run[0] for run in place.altered_px} == {384}


def test_a_key_keeps_others_from_reading_and_from_writing(coffee):
    with pytest.raises(InputError, match="copy_key is bytes, not str"):
        Settings(copy_key="ours")
    ours, others = Settings(copy_key=b"ours"), Settings(copy_key=100 * b"others")
    marked = _marked(coffee, ours)
    assert _read(marked, ours).image is not None
    assert _read(marked) is None and _read(marked, others) is None
    assert _read(_marked(coffee), ours) is None and _read(_marked(coffee, others), ours) is None
    assert "ours" not in repr(ours)


def _forged(image: np.ndarray, facts: tuple[int, int, int]) -> np.ndarray:
    """An image whose tiles state anything; they are whole."""
    columns, rows = grid_size(image.shape[1], image.shape[0])
    record = fragile_copy._FACTS.pack(*facts, b"anything").ljust(ROOM_BYTES, b"\x5a")
    records = np.frombuffer(record * rows * columns, np.uint8).reshape(rows, columns, ROOM_BYTES)
    forged = image.copy()
    write_tiles(forged, records)
    return forged


def test_forged_tiles_do_no_harm(coffee):
    assert _read(_forged(coffee, (600, 400, 0))) is None  # no bytes at all
    for size in ((64, 64), (575, 400), (600, 383)):  # tiles beyond the image
        assert _read(_forged(coffee, (*size, 100 << 8))) is None
    found = _read(_forged(coffee, (600, 400, 100 << 8)))
    assert found.image is None and found.cell_uncertainty.min() > 0  # no AVIF, and none is exact
    assert _read(_forged(coffee, (600, 400, 0xFFFFFF << 8))).image is None  # never complete
    assert _read(_forged(coffee, (6000, 2500, 100 << 8))).image is None
    assert _read(_forged(coffee, (8000, 8000, 100 << 8))) is None  # far larger than what is there
    with pytest.raises(ImageError, match="limit"):
        _read(_forged(coffee, (4000, 3000, 100 << 8)), Settings(max_pixels=10_000_000))


def test_a_copy_that_is_not_the_one_it_says_is_not_believed(coffee, monkeypatch):
    monkeypatch.setattr(fragile_copy, "_name", lambda _: b"anything")
    marked = _marked(coffee)
    monkeypatch.undo()
    assert _read(marked).image is None


@pytest.mark.parametrize("size", [(5000, 5000), (16000, 16000)])
def test_a_copy_that_unfolds_is_not_opened(coffee, monkeypatch, size):
    content = fragile_copy._avif(coffee, 50)
    field = content.index(b"ispe") + 8  # width and height, as the header says them
    bomb = content[:field] + struct.pack(">II", *size) + content[field + 8 :]
    monkeypatch.setattr(fragile_copy, "_encoded", lambda *_: bomb)
    monkeypatch.setattr(fragile_copy, "_decoded", lambda _: coffee)
    marked = _marked(coffee)
    monkeypatch.undo()
    assert _read(marked).image is None


def test_a_small_part_of_another_picture_says_nothing_of_it(marked, rocket):
    pasted = rocket.copy()
    pasted[50:178, 60:188] = marked[64:192, 96:224]
    assert _read(pasted) is None


def test_any_crop_of_half_of_each_side_holds_enough(coffee):
    for size in ((192, 192), (300, 200), (320, 240), (230, 250)):
        small = _marked(resize_pixels(coffee, *size))
        width, height = size[0] // 2, size[1] // 2
        for x0, y0 in ((1, 1), (31, 17), (size[0] - width, size[1] - height)):
            found = _read(small[y0 : y0 + height, x0 : x0 + width])
            assert found.image is not None, (size, x0, y0)


def test_larger_images_keep_a_copy_of_a_megapixel(raccoon):
    large = resize_pixels(raccoon, 2400, 1600)
    found = _read(_marked(large)[300:1100, 500:1500])
    assert found.located.box_px == (500, 300, 1500, 1100)
    assert 0.9 * 2**20 < found.image.shape[0] * found.image.shape[1] <= 1.01 * 2**20


@pytest.mark.parametrize("growth", [0.01, 0.035, 0.1])
def test_the_coding_that_is_kept_fits_and_fills_the_room(growth):
    sizes, asked = (100 * np.exp(growth * np.arange(91))).astype(int).tolist(), []

    def coded(quality: int) -> bytes:
        asked.append(quality)
        return bytes(sizes[quality])

    for room in (50, 103, 150, 233, 400, 10**6):
        asked.clear()
        found, fitting = fragile_copy._fitting(coded, room), [s for s in sizes[1:] if s <= room]
        assert len(asked) == len(set(asked))
        if fitting:
            assert len(found) in fitting and (len(found) > 0.94 * room or len(found) == fitting[-1])
        else:
            assert found is None


def test_what_does_not_fit_is_halved_and_halved_again(monkeypatch):
    monkeypatch.setattr(fragile_copy, "_avif", lambda image, _: bytes(image.size // 3))
    image = np.zeros((100, 200, 3), np.uint8)
    coded = [fragile_copy._encoded(image, room) for room in (20000, 15000, 6000, 4000)]
    assert [len(one) for one in coded[:3]] == pytest.approx([20000, 10000, 5000], rel=0.02)
    assert coded[3] is None


def test_busy_images_shrink_until_they_fit():
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    assert _read(_marked(noise)).image.shape[0] in (136, 192)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (160, 160), (640, 100)])
def test_an_image_that_cannot_hold_itself_is_refused(coffee, size):
    with pytest.raises(ImageError, match="too small to hold a copy"):
        code_copy(resize_pixels(coffee, *size))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_side_too_long_to_be_noted_is_refused(swapped):
    for side, reason in ((65535, "too small to hold a copy"), (65536, "a side may have 65535")):
        long = np.zeros((side, 32, 3), np.uint8)
        with pytest.raises(ImageError, match=reason):
            code_copy(long.swapaxes(0, 1) if swapped else long)


def test_pillow_without_avif_says_what_to_install(coffee, monkeypatch):
    monkeypatch.setattr(fragile_copy.features, "check", lambda _: False)
    with pytest.raises(RuntimeUnavailable, match="pillow"):
        code_copy(coffee)
