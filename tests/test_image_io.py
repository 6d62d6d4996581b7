import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, JpegImagePlugin

from clr_infer import image_io
from clr_infer.errors import ImageError, InputError
from clr_infer.image_io import encode_image, format_for, image_size, is_lossy, read_image
from clr_infer.settings import Settings

HEIGHT, WIDTH = 47, 63
LOSSLESS = ["PNG", "BMP", "PPM", "TIFF", "WEBP"]
READ = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM"]


def picture(seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    if file_format == "WEBP":
        options = {"lossless": True, "exact": True} | options
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour, rows):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_reads_lossless_formats_exactly_from_path_name_and_bytes(tmp_path, file_format):
    content = encoded(picture(), file_format)
    path = tmp_path / "image"
    path.write_bytes(content)
    for source in (path, str(path), content):
        loaded = read_image(source)
        assert loaded.format == file_format
        assert loaded.pixels.dtype == np.uint8
        assert loaded.pixels.flags.c_contiguous
        np.testing.assert_array_equal(loaded.pixels, np.asarray(picture()))
        assert (loaded.alpha, loaded.exif, loaded.icc_profile) == (None, None, None)
        assert loaded.warnings == ()


def test_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert read_image(path).format == "PNG"


@pytest.mark.parametrize("file_format", READ)
@pytest.mark.parametrize("share", [0.004, 0.3, 0.6, 0.99])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_truncated_files_are_refused_by_name(tmp_path, file_format, share):
    content = encoded(picture(), file_format)
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r"cut\.jpg': .*(cut off|empty)"):
        read_image(path)


def test_the_size_of_a_file_is_known_without_its_pixels(coffee):
    content = encode_image(coffee, format="JPEG")
    assert image_size(content) == image_size(content[:2000]) == (600, 400)
    pages = [Image.new("RGB", size) for size in ((40, 50), (300, 200))]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    sizes = [image_size(buffer.getvalue(), frame) for frame in (None, 0, 1, 2)]
    assert sizes == [(40, 50), (40, 50), (300, 200), (0, 0)]
    assert image_size(b"no image") == image_size(b"") == (0, 0)


def test_a_jpeg_that_ends_before_its_pixels_is_refused():
    content = encoded(picture(), "JPEG")
    scan = content.index(b"\xff\xda")
    for end in (scan, scan + 14):
        with pytest.raises(ImageError, match="damaged or cut off"):
            read_image(content[:end])


def test_corrupt_pixels_are_refused():
    content = bytearray(encoded(picture(), "PNG"))
    middle = content.index(b"IDAT") + 1000
    content[middle : middle + 40] = bytes(40)
    with pytest.raises(ImageError, match="damaged or cut off, it cannot be decoded: "):
        read_image(bytes(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"dear reader, this is text\n" * 9, "not an image of a kind that is read .*JPEG"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(99), "not an image of a kind that is read .*JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "not an image of a kind"),
    ],
)
def test_files_that_are_no_images_are_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"holiday\.jpg': {reason}"):
        read_image(path)


def test_formats_off_the_list_are_refused_although_pillow_knows_them():
    content = encoded(picture(), "TGA")
    assert Image.open(io.BytesIO(content)).format == "TGA"
    with pytest.raises(ImageError, match="not an image of a kind that is read"):
        read_image(content)


def test_random_damage_gives_nothing_but_image_errors():
    rng = np.random.default_rng(1)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on damaged directories
        for file_format in READ:
            content = encoded(picture(), file_format)
            for _ in range(40):
                damaged = np.frombuffer(content, np.uint8).copy()
                damaged[rng.integers(0, min(len(damaged), 400), 4)] = rng.integers(0, 256, 4)
                try:
                    read_image(damaged.tobytes())
                except ImageError:
                    refused += 1
    assert refused > 40


def test_a_process_that_loads_truncated_images_is_told(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (warning,) = read_image(encoded(picture(), "PNG")).warnings
    assert "LOAD_TRUNCATED_IMAGES" in warning


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((1, 1), "1x1 pixels; each side needs at least 32"),
        ((1, 20000), "1x20000 pixels; each side needs at least 32"),
        ((32, 330), "32x330 pixels; the long side may be at most 10 times"),
    ],
)
def test_sizes_out_of_range_are_refused(size, reason):
    with pytest.raises(ImageError, match=reason):
        read_image(encoded(Image.new("RGB", size), "PNG"))


@pytest.fixture
def no_decoding(monkeypatch):
    def load(self):
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


def test_a_header_of_a_bomb_is_refused_before_decoding(no_decoding):
    with pytest.raises(ImageError, match="far too many pixels.*MAX_IMAGE_PIXELS.*400000000 pixels"):
        read_image(png(20000, 20000, 8, 2, b""))


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_small_file_of_100_megapixels_is_refused_before_decoding(no_decoding, action):
    content = png(10000, 10000, 1, 0, bytes(1251 * 10000))
    assert len(content) < 20_000
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # Pillow warns here, and a strict process raises
        filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
        with pytest.raises(ImageError, match="megapixels; the limit is 64|too many pixels"):
            read_image(content)
        assert warnings.filters == filters
    assert Image.MAX_IMAGE_PIXELS == limit


def test_the_pixel_limit_is_a_setting(no_decoding):
    with pytest.raises(ImageError, match=r"the limit is 0\.002 \(raise it with max_pixels\)"):
        read_image(encoded(picture(), "PNG"), Settings(max_pixels=2000))


FRAMES = [picture(seed) for seed in range(3)]
MOVING = ["PNG", "WEBP", "GIF", "TIFF"]


def moving(file_format):
    frames = [f.quantize(32) for f in FRAMES] if file_format == "GIF" else FRAMES
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("file_format", MOVING)
def test_animations_and_pages_need_a_frame(file_format):
    content = moving(file_format)
    with pytest.raises(ImageError, match="several frames or pages; choose one with frame"):
        read_image(content)
    for index in (2, 0, 1):
        loaded = read_image(content, frame=index)
        expected = FRAMES[index].quantize(32) if file_format == "GIF" else FRAMES[index]
        np.testing.assert_array_equal(loaded.pixels, np.asarray(expected.convert("RGB")))
        assert loaded.format == file_format


@pytest.mark.parametrize("file_format", MOVING)
@pytest.mark.parametrize("frame", [3, 99])
def test_a_frame_that_does_not_exist_is_refused(file_format, frame):
    with pytest.raises(ImageError, match=f"holds no frame {frame}"):
        read_image(moving(file_format), frame=frame)


def test_frames_of_still_images():
    content = encoded(picture(), "JPEG")
    assert read_image(content, frame=0).pixels.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ImageError, match="holds no frame 1"):
        read_image(content, frame=1)
    for frame in (-1, "0"):
        with pytest.raises(ImageError, match="frame counts from 0"):
            read_image(content, frame=frame)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_frames_of_too_many_pixels_are_refused_before_decoding(no_decoding, file_format):
    with pytest.raises(ImageError, match="the limit is"):
        read_image(moving(file_format), Settings(max_pixels=2000), frame=2)


def test_pages_are_judged_by_their_own_size():
    pages = [Image.new("RGB", (8, 8)), picture()]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(content, frame=1).pixels, np.asarray(picture()))
    with pytest.raises(ImageError, match="8x8 pixels; each side needs at least 32"):
        read_image(content, frame=0)


def test_a_phones_multi_picture_jpeg_counts_as_its_first_picture():
    second = picture().transpose(Image.Transpose.ROTATE_90)
    content = encoded(picture(), "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    loaded = read_image(content)
    assert (loaded.format, loaded.pixels.shape) == ("JPEG", (HEIGHT, WIDTH, 3))
    assert read_image(content, frame=1).pixels.shape == (WIDTH, HEIGHT, 3)


def test_sources_of_a_wrong_type_are_refused():
    for source in (0, None, np.zeros((64, 64, 3), np.uint8)):
        with pytest.raises(ImageError, match="from a path or from bytes, not from"):
            read_image(source)


PIXELS = np.asarray(picture())
ALPHA = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("alpha", [None, ALPHA, np.zeros_like(ALPHA)])
def test_what_is_encoded_without_loss_comes_back(file_format, alpha):
    loaded = read_image(encode_image(PIXELS, format=file_format, alpha=alpha))
    assert loaded.format == file_format
    np.testing.assert_array_equal(loaded.pixels, PIXELS)  # also where alpha is 0
    if alpha is None or file_format not in image_io.ALPHA_FORMATS:
        assert loaded.alpha is None
    else:
        np.testing.assert_array_equal(loaded.alpha, alpha)


def test_masks_are_encoded_as_gray():
    content = encode_image(ALPHA, format="PNG")
    assert Image.open(io.BytesIO(content)).mode == "L"
    np.testing.assert_array_equal(read_image(content).pixels, np.dstack([ALPHA] * 3))


@pytest.mark.parametrize(("quality", "expected"), [(None, 95), (40, 40), (100, 100)])
def test_jpeg_keeps_full_chroma_at_its_quality(quality, expected):
    content = encode_image(PIXELS, format="JPEG", quality=quality, alpha=ALPHA)
    image = Image.open(io.BytesIO(content))
    reference = Image.open(io.BytesIO(encoded(picture(), "JPEG", quality=expected)))
    assert image.quantization == reference.quantization
    assert JpegImagePlugin.get_sampling(image) == 0
    assert image.mode == "RGB"


def test_webp_loses_only_where_asked():
    lossy = encode_image(PIXELS, format="WEBP", quality=50)
    lossless = encode_image(PIXELS, format="WEBP")
    assert len(lossy) < len(lossless) / 2
    assert not np.array_equal(read_image(lossy).pixels, PIXELS)


@pytest.mark.parametrize("quality", [0, 101, -5, 90.0, "90", True])
def test_quality_out_of_range_is_refused(quality):
    with pytest.raises(InputError, match="quality must be a whole number from 1 to 100"):
        encode_image(PIXELS, format="JPEG", quality=quality)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"format": "PNG", "quality": 90}, "quality applies to JPEG and WEBP; PNG is lossless"),
        ({"format": "GIF"}, "format must be one of PNG, JPEG, WEBP, TIFF, BMP, not 'GIF'"),
        ({"format": "PNG", "alpha": ALPHA[1:]}, r"alpha must be \(47, 63\) uint8"),
        ({"format": "PNG", "alpha": ALPHA / 255}, "alpha must be .* float64"),
        ({"format": "JPEG", "exif": b"Exif\0\0" + bytes(65530)}, "65536 bytes; JPEG holds at most"),
        ({"format": "TIFF", "exif": b"no exif at all"}, "cannot be encoded as TIFF: "),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, reason):
    with pytest.raises(InputError, match=reason):
        encode_image(PIXELS, **arguments)


@pytest.mark.parametrize(
    "pixels",
    [PIXELS / 255, PIXELS[:, :, :2], PIXELS[None], PIXELS[:0], PIXELS[0, 0]],
    ids=lambda p: f"{p.dtype}{p.shape}",
)
def test_pixels_that_are_no_image_are_refused(pixels):
    with pytest.raises(InputError, match="pixels to encode"):
        encode_image(pixels, format="PNG")


@pytest.mark.parametrize(("file_format", "limit"), [("WEBP", 16383), ("JPEG", 65500)])
def test_sides_that_a_format_cannot_hold_are_refused(file_format, limit):
    encode_image(np.zeros((limit, 1), np.uint8), format=file_format)
    with pytest.raises(InputError, match=f"{file_format} holds at most {limit} a side"):
        encode_image(np.zeros((limit + 1, 1), np.uint8), format=file_format)


def test_a_jpeg_holds_as_much_exif_data_as_a_marker():
    block = b"Exif\0\0II*\0" + bytes(65533 - 10)
    assert block in encode_image(PIXELS, format="JPEG", exif=block)
    with pytest.raises(InputError, match="65534 bytes; JPEG holds at most 65533"):
        encode_image(PIXELS, format="JPEG", exif=block + b"\0")


def test_pillow_can_write_every_suffix(tmp_path):
    for suffix, file_format in image_io.SUFFIXES.items():
        assert format_for(tmp_path / f"a.b{suffix.upper()}") == file_format
        assert read_image(encode_image(PIXELS, format=file_format)).format == file_format


@pytest.mark.parametrize("name", ["out", "out.gif", ".png", "out.png.", "-", "a.png\n"])
def test_unknown_suffixes_are_refused_with_the_list(tmp_path, name):
    with pytest.raises(InputError, match=r"must be one of \.png, \.jpg, \.jpeg, \.webp, \.tif"):
        format_for(tmp_path / name)


@pytest.mark.parametrize(
    ("file_format", "quality", "loses"),
    [("JPEG", None, True), ("WEBP", 100, True), ("WEBP", None, False), ("PNG", None, False)],
)
def test_what_is_called_lossy_loses_something_and_nothing_else_does(file_format, quality, loses):
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    back = read_image(encode_image(noise, format=file_format, quality=quality)).pixels
    assert is_lossy(file_format, quality) == loses == (not np.array_equal(back, noise))
