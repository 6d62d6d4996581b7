"""Photographs are read as all other images are, and bad files stop nothing."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clr_infer.errors import InputError
from clr_infer.train.data import Photos

CPU = torch.device("cpu")


@pytest.fixture
def photo(raccoon) -> Image.Image:
    return Image.fromarray(raccoon).resize((240, 180))


def _spoil(folder: Path, photo: Image.Image) -> None:
    whole = io.BytesIO()
    photo.save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:3000])
    (folder / "text.jpg").write_text("a text")
    (folder / "empty.png").write_bytes(b"")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


def test_bad_files_are_named_and_left_out(photo, tmp_path, caplog):
    photo.save(tmp_path / "good.png")
    _spoil(tmp_path, photo)
    (tmp_path / "c.jpg").mkdir()
    photo.save(tmp_path / "c.jpg" / "inside.png")
    photos = Photos(tmp_path, CPU)
    assert photos.names == ["inside.png", "good.png"] and photos.unreadable == 4
    assert "4 of 6 files" in caplog.text
    for name in ("cut.jpg", "text.jpg", "empty.png", "gone.png"):
        assert name in caplog.text


def test_nothing_but_bad_files_is_refused(photo, tmp_path):
    _spoil(tmp_path, photo)
    with pytest.raises(InputError, match="no photograph"):
        Photos(tmp_path, CPU)


def test_small_ones_are_left_out_without_a_word(photo, tmp_path, caplog):
    photo.save(tmp_path / "good.png")
    photo.resize((90, 20)).save(tmp_path / "small.png")
    assert Photos(tmp_path, CPU).names == ["good.png"] and not caplog.text


def test_photographs_are_upright_and_16_bits_are_scaled(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    gray = np.asarray(photo.convert("L"))
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "b.png")
    upright, scaled = Photos(tmp_path, CPU).images
    assert np.array_equal(upright.permute(1, 2, 0), photo)
    assert np.array_equal(scaled[0], gray) and torch.equal(scaled[0], scaled[2])


def test_large_ones_are_reduced_and_no_others_enlarged(raccoon, tmp_path):
    Image.fromarray(raccoon).resize((1600, 1200)).save(tmp_path / "large.png")
    Image.fromarray(raccoon).resize((400, 300)).save(tmp_path / "middle.png")
    large, middle = Photos(tmp_path, CPU).images
    assert large.shape == (3, 512, 683) and middle.shape == (3, 300, 400)


def test_a_limit_takes_the_first_by_name(photo, tmp_path):
    for name in "bca":
        photo.save(tmp_path / f"{name}.png")
    assert Photos(tmp_path, CPU, limit=2).names == ["a.png", "b.png"]


def test_square_photographs_serve_as_wide_and_as_tall_ones(tmp_path):
    for size, shade in (((200, 200), 60), ((100, 300), 190)):
        Image.new("RGB", size, (shade,) * 3).save(tmp_path / f"{shade}.png")
    photos, rng = Photos(tmp_path, CPU), np.random.default_rng(0)
    drawn = [photos.draw(rng, 64) for _ in range(60)]
    shades = {True: set(), False: set()}
    for one in drawn:
        shades[one.shape[2] > one.shape[3]] |= set(one.mul(255).round().unique().tolist())
    assert shades == {True: {60.0, 190.0}, False: {60.0}}


def test_pictures_are_mirrored_but_never_upside_down(tmp_path):
    """Lighter from top to bottom, and a little from left to right."""
    rows, columns = np.mgrid[:240, :320]
    lit = (rows * 0.8 + columns * 0.1).astype(np.uint8)
    Image.fromarray(lit).save(tmp_path / "ramp.png")
    photos, rng = Photos(tmp_path, CPU), np.random.default_rng(0)
    drawn = [photos.draw(rng, 64)[0, 0] for _ in range(30)]
    assert all(one[-1].mean() > one[0].mean() for one in drawn)
    assert {bool(one[:, -1].mean() > one[:, 0].mean()) for one in drawn} == {True, False}
