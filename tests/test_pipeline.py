"""The main job on real photographs with the shipped weights and real codecs."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import clr_infer
from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.errors import ImageError, InputError, ModelError
from clr_infer.geometry import Box, box_iou, box_to_pixels
from clr_infer.preprocess import resize_pixels

BOX = Box(0.10, 0.05, 0.85, 0.80)


def _cut(image: np.ndarray, box: Box, steps: str = "") -> tuple[np.ndarray, Box]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box_to_pixels(box, width, height)
    received = apply(image[y0:y1, x0:x1], parse_chain(steps), np.random.default_rng(0))
    return received, Box(x0 / width, y0 / height, x1 / width, y1 / height)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


def test_protection_has_the_strength_it_says(session, raccoon, protected):
    default = session.weights.default_psnr_db
    assert default - 0.3 < _psnr(protected, raccoon) < default + 2
    strong, soft = (session.protect(raccoon, psnr_db=db) for db in (38.0, 44.0))
    assert soft.psnr_db - strong.psnr_db == pytest.approx(6.0, abs=0.2)
    assert soft.psnr_db == pytest.approx(_psnr(soft.image, raccoon), abs=1e-3)


def test_smooth_images_are_disturbed_less(session, raccoon):
    ramp = np.linspace(60, 200, 600).astype(np.uint8)
    sky = np.repeat(np.repeat(ramp[None, :, None], 400, 0), 3, 2)
    assert session.protect(sky).psnr_db > session.protect(raccoon).psnr_db + 2


@pytest.mark.parametrize("steps", ["", "jpeg=80", "jpeg=60", "gaussian=3 jpeg=85"])
def test_a_fragment_is_located(session, protected, steps):
    received, truth = _cut(protected, BOX, steps)
    located = session.locate(received)
    assert located.protected and located.confidence > 0.9
    assert box_iou(located.crop_box, truth) > 0.98
    height, width = protected.shape[:2]
    assert abs(located.canvas_px[0] - width) <= 8 and abs(located.canvas_px[1] - height) <= 8
    assert located.mask.shape == (located.canvas_px[1], located.canvas_px[0])
    kept = (located.mask == 255).mean()
    assert kept == pytest.approx(truth.area, abs=0.02)


@pytest.mark.parametrize("steps", ["", "jpeg=80"])
def test_the_original_is_recovered_better_than_edges_can_tell(session, raccoon, protected, steps):
    received, truth = _cut(protected, BOX, steps)
    recovered = session.recover(received)
    height, width = raccoon.shape[:2]
    x0, y0, x1, y1 = box_to_pixels(truth, width, height)
    outside = np.ones((height, width), bool)
    outside[y0:y1, x0:x1] = False
    ours = resize_pixels(recovered.image, width, height)
    pad = ((y0, height - y1), (x0, width - x1), (0, 0))
    edges = np.pad(received, pad, mode="edge")
    gain = _psnr(ours[outside], raccoon[outside]) - _psnr(edges[outside], raccoon[outside])
    assert gain > 2.0


def test_received_pixels_are_kept(session, protected):
    received, _ = _cut(protected, BOX)
    recovered = session.recover(received)
    x0, y0, x1, y1 = recovered.located.box_px
    inside = recovered.image[y0:y1, x0:x1][8:-8, 8:-8]
    assert np.array_equal(inside, received[8:-8, 8:-8])


def test_an_uncropped_image_gives_nearly_the_whole_frame(session, protected):
    located = session.locate(protected)
    assert located.protected
    assert box_iou(located.crop_box, Box(0, 0, 1, 1)) > 0.99


@pytest.mark.parametrize("name", ["raccoon", "coffee", "rocket"])
def test_unprotected_images_are_called_so(session, name, request):
    image = request.getfixturevalue(name)
    for received in (image, _cut(image, BOX, "jpeg=80")[0]):
        result = session.recover(received)
        assert not result.located.protected
        assert result.image is None
        assert result.located.crop_box is None and result.located.mask is None


def test_noise_and_flat_images_are_not_protected(session):
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, (200, 300, 3), dtype=np.uint8),
        np.full((200, 300, 3), 255, np.uint8),
        np.zeros((200, 300, 3), np.uint8),
    ):
        assert not session.locate(image).protected


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (900, 300), (2000, 1500), (97, 113)])
def test_any_size_and_aspect(session, raccoon, size):
    image = resize_pixels(raccoon, *size)
    protected = session.protect(image)
    assert protected.image.shape == image.shape
    recovered = session.recover(protected.image)
    assert recovered.located.protected
    assert box_iou(recovered.located.crop_box, Box(0, 0, 1, 1)) > 0.95


def test_pil_images_and_arrays_are_the_same(session, coffee):
    by_array = session.protect(coffee).image
    assert np.array_equal(by_array, session.protect(Image.fromarray(coffee)).image)


def test_batches_equal_single_calls(session, coffee, rocket):
    together = session.protect_batch([coffee, rocket])
    for image, result in zip((coffee, rocket), together, strict=True):
        alone = session.protect(image).image
        assert np.abs(result.image.astype(int) - alone).max() <= 1
    fragments = [_cut(r.image, BOX)[0] for r in together]
    mixed = session.recover_batch([fragments[0], coffee, fragments[1]])
    assert [r.located.protected for r in mixed] == [True, False, True]
    assert mixed[1].image is None and mixed[2].image is not None
    assert session.protect_batch([]) == session.recover_batch([]) == session.locate_batch([]) == []


def test_a_lossless_fragment_shows_the_copy_in_it(session, coffee):
    plain, copied = session.protect(coffee), session.protect(coffee, copy=True)
    assert plain.copy_psnr_db is None and copied.copy_psnr_db > 27
    assert plain.psnr_db - 0.5 < copied.psnr_db < plain.psnr_db
    assert copied.psnr_db == pytest.approx(_psnr(copied.image, coffee), abs=1e-3)
    received, truth = _cut(copied.image, BOX)
    found = session.recover(received)
    assert found.from_copy and found.located.by_copy and found.located.crop_box == truth
    assert found.image.shape == coffee.shape
    outside = found.located.mask == 0
    assert _psnr(found.image[outside], coffee[outside]) > copied.copy_psnr_db - 3
    assert found.expected_psnr_db == pytest.approx(copied.copy_psnr_db, abs=0.2)
    x0, y0, x1, y1 = found.located.box_px
    inside = found.image[y0:y1, x0:x1]
    assert np.array_equal(inside[8:-8, 8:-8], received[8:-8, 8:-8])
    assert not np.array_equal(inside, received)  # the edge is soft


def test_a_copy_shows_what_was_painted_over(session, coffee):
    received, _ = _cut(session.protect(coffee, copy=True).image, BOX)
    painted = received.copy()
    painted[100:180, 150:260] = 255
    found, whole = session.recover(painted), session.recover(received)
    altered = (whole.located.mask > 0) & (found.located.mask == 0)
    assert 80 * 110 <= altered.sum() <= 144 * 174
    assert _psnr(found.image[altered], coffee[altered]) > 24
    assert np.array_equal(found.image[~altered], whole.image[~altered])
    assert (found.uncertainty[altered] > 0).all() and not whole.uncertainty[altered].any()


def test_what_was_painted_over_is_guessed_where_a_fragment_is_too_small_for_its_copy(
    session, coffee
):
    copied = session.protect(coffee, copy=True).image
    received, _ = _cut(copied, Box(0.3, 0.3, 0.68, 0.7))
    painted = received.copy()
    painted[40:90, 60:140] = np.random.default_rng(0).integers(0, 256, (50, 80, 3))
    whole, found = session.recover(received), session.recover(painted)
    altered = (whole.located.mask > 0) & (found.located.mask == 0)
    assert not found.from_copy and altered.any()
    shown = _psnr(found.image[altered], coffee[altered])
    assert shown > _psnr(
        np.broadcast_to(coffee.mean((0, 1)), coffee.shape)[altered], coffee[altered]
    )
    expected = np.sqrt(np.square(found.uncertainty[altered].astype(float)).mean())
    assert 0.5 < expected * 10 ** (shown / 20) / 255 < 2  # it says how far off that is
    outside = whole.located.mask == 0
    lost = _psnr(whole.image[outside], coffee[outside]) - _psnr(
        found.image[outside], coffee[outside]
    )
    assert lost < 1


def test_the_networks_go_on_where_a_copy_ends(session, coffee):
    copied = session.protect(coffee, copy=True).image
    received, truth = _cut(copied, BOX, "jpeg=80")
    found = session.recover(received)
    assert found.image is not None and not found.from_copy and not found.located.by_copy
    assert box_iou(found.located.crop_box, truth) > 0.98
    small, exact = _cut(copied, Box(0.3, 0.35, 0.55, 0.6))
    found = session.recover(small)  # too few tiles to show the copy, enough to say where
    assert not found.from_copy and found.located.crop_box == exact == session.locate(small).crop_box
    assert found.image.shape == coffee.shape


def test_a_batch_may_hold_copies_and_others(session, coffee, rocket):
    plain, copied = (session.protect(coffee, copy=copy).image for copy in (False, True))
    whole, _ = _cut(copied, BOX)
    small, _ = _cut(copied, Box(0.3, 0.35, 0.55, 0.6))
    images = [_cut(plain, BOX)[0], small, rocket, whole]
    together = session.recover_batch(images)
    assert [one.from_copy for one in together] == [False, False, False, True]
    assert [one.located.by_copy for one in together] == [False, True, False, True]
    assert [one.located.protected for one in together] == [True, True, False, True]
    for image, one, place in zip(images, together, session.locate_batch(images), strict=True):
        alone = session.recover(image)
        assert one.located.crop_box == alone.located.crop_box == place.crop_box
        assert (one.image is None) == (alone.image is None)
        if alone.image is not None:
            assert np.abs(one.image.astype(int) - alone.image).max() <= 1


def test_an_image_too_small_for_a_copy_is_refused(session, coffee):
    with pytest.raises(ImageError, match="too small to hold a copy"):
        session.protect_batch([coffee, resize_pixels(coffee, 96, 64)], copy=True)


def test_results_are_reproducible(session, coffee, protected):
    assert np.array_equal(session.protect(coffee).image, session.protect(coffee).image)
    received, _ = _cut(protected, BOX, "jpeg=80")
    first, second = session.recover(received), session.recover(received)
    assert first.located.crop_box == second.located.crop_box
    assert np.array_equal(first.image, second.image)


def test_threads_share_a_session(session, protected):
    fragments = [_cut(protected, Box(0.02 * i, 0.1, 0.8 + 0.02 * i, 0.9))[0] for i in range(6)]
    alone = [session.locate(f).crop_box for f in fragments]
    with ThreadPoolExecutor(3) as pool:
        together = [r.crop_box for r in pool.map(session.locate, fragments)]
    assert together == alone


def test_bad_arguments_fail_before_any_work(session, coffee):
    for strength in (0, 29.9, 50.1, float("nan")):
        with pytest.raises(InputError, match="PSNR"):
            session.protect(coffee, psnr_db=strength)
    with pytest.raises(ImageError):
        session.recover(coffee.astype(np.float32))
    with pytest.raises(ImageError):
        session.protect_batch([coffee, coffee[:10]])


@pytest.mark.parametrize("images", [None, 5, "photo.jpg"])
def test_a_batch_is_a_list_of_images(session, coffee, images):
    for call in (session.protect_batch, session.locate_batch, session.recover_batch):
        with pytest.raises(InputError, match="list"):
            call(images)
    pair = np.stack([coffee[:64, :64], coffee[:64, :64]])
    whole = session.protect_batch(pair), session.protect_batch(image for image in pair)
    assert np.array_equal(whole[0][1].image, whole[1][0].image)


def test_numbers_are_numbers(session, coffee):
    for options in ({"psnr_db": "40"}, {"refine": "4"}, {"refine": 1.5}, {"refine": -1}):
        with pytest.raises(InputError):
            session.protect(coffee, **options)
    with pytest.raises(InputError, match="between 1 and 100"):
        session.fg_jpeg(coffee, "80")


def test_a_closed_session_says_so(coffee):
    with clr_infer.load("onnxruntime") as session:
        session.locate(coffee)
    for call in (session.protect, session.locate, session.recover):
        with pytest.raises(ModelError, match="closed"):
            call(coffee)


def test_results_say_how_long_each_stage_took(session, protected):
    result = session.recover(protected)
    stages = {"copy", "preprocess", "align", "localize", "recover", "composite"}
    assert set(result.timings_ms) == stages
    assert all(v >= 0 for v in result.timings_ms.values())


def test_the_canvas_has_a_limit(protected):
    height, width = protected.shape[:2]
    limited = clr_infer.load(settings=clr_infer.Settings(max_pixels=int(width * height * 0.7)))
    received, _ = _cut(protected, BOX)
    with pytest.raises(ImageError, match="max_pixels"):
        limited.recover(received)


def test_numbers_that_are_none_do_not_become_black_pixels(session, protected, monkeypatch):
    run = session.runtime.run

    def overflown(network, tensors):
        outputs = run(network, tensors)
        if network == "recover":
            return {name: np.full_like(value, np.nan) for name, value in outputs.items()}
        return outputs

    monkeypatch.setattr(session.runtime, "run", overflown)
    with pytest.raises(ModelError, match="recover network gave numbers that are not finite"):
        session.recover(protected)
