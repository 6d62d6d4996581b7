import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from clr_infer.errors import ImageError
from clr_infer.image_io import encode_image, read_image
from clr_infer.preprocess import check_pixels
from clr_infer.settings import DEFAULT_SETTINGS

HEIGHT, WIDTH = 47, 63
COARSE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
PICTURE = Image.fromarray(COARSE).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
DEEP = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
DEEP[0, :6] = [0, 128, 129, 32767, 65406, 65535]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    if file_format == "WEBP":
        options = {"lossless": True} | options
    if file_format == "JPEG":
        options = {"quality": 100, "subsampling": 0} | options
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(depth, colour, samples):
    """A PNG of big-endian samples, HEIGHT x WIDTH x channels."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(bits, photometric, samples, *, sample_format=1, order="<"):
    """An uncompressed TIFF of one strip; the tags must be single values."""
    data = samples.tobytes()
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    values = {
        256: (4, WIDTH),
        257: (4, HEIGHT),
        258: (3, bits),
        259: (3, 1),
        262: (3, photometric),
        273: (4, 8),
        277: (3, channels),
        278: (4, HEIGHT),
        279: (4, len(data)),
        339: (3, sample_format),
    }
    pad = {3: "H2x", 4: "I"}
    entries = [
        struct.pack(order + "HHI" + pad[kind], tag, kind, 1, v) for tag, (kind, v) in values.items()
    ]
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    count = struct.pack(order + "H", len(entries))
    return head + data + count + b"".join(entries) + bytes(4)


@pytest.mark.parametrize(
    ("mode", "file_format", "tolerance"),
    [
        ("L", "PNG", 0),
        ("L", "JPEG", 1),
        ("1", "PNG", 0),
        ("1", "TIFF", 0),
        ("1", "PPM", 0),
        ("P", "PNG", 0),
        ("P", "GIF", 0),
        ("P", "BMP", 0),
        ("CMYK", "TIFF", 0),
        ("CMYK", "JPEG", 3),
        ("YCbCr", "TIFF", 0),
    ],
)
def test_other_modes_become_rgb(mode, file_format, tolerance):
    stored = PICTURE.convert(mode)
    content = encoded(stored, file_format)
    loaded = read_image(content)
    expected = np.asarray(stored.convert("RGB")).astype(int)
    assert np.abs(loaded.pixels - expected).max() <= tolerance
    assert loaded.pixels.shape == (HEIGHT, WIDTH, 3)
    assert loaded.alpha is None


@pytest.mark.parametrize(("lab", "rgb"), [((136, 0, 0), (127, 127, 127)), ((136, 70, 60), None)])
def test_lab_becomes_rgb(lab, rgb):
    stored = np.tile(np.uint8(lab), (HEIGHT, WIDTH, 1))
    pixel = read_image(tiff(8, 8, stored)).pixels[20, 20].astype(int)
    if rgb is None:  # a and b above 0: a strong red
        assert pixel[0] > 200 and pixel[1:].max() < 60
    else:
        assert np.abs(pixel - rgb).max() <= 1


def test_alpha_is_kept_apart_from_the_colours_below():
    alpha = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    alpha[:9] = 0
    for mode in ("RGBA", "LA"):
        stored = PICTURE.convert(mode)
        stored.putalpha(Image.fromarray(alpha))
        for file_format in ("PNG", "TIFF"):
            loaded = read_image(encoded(stored, file_format))
            np.testing.assert_array_equal(loaded.alpha, alpha)
            opaque = np.asarray(PICTURE.convert(mode[:-1]).convert("RGB"))
            np.testing.assert_array_equal(loaded.pixels, opaque)


def test_transparent_palettes_and_colours_become_alpha():
    palette = PICTURE.quantize(16)
    indices = np.asarray(palette)
    steps = bytes(range(0, 160, 10))
    gray, bilevel = PICTURE.convert("L"), PICTURE.convert("1")
    corner = PICTURE.getpixel((0, 0))
    cases = [
        (palette, "PNG", 3, np.where(indices == 3, 0, 255)),
        (palette, "GIF", 3, np.where(indices == 3, 0, 255)),
        (palette, "PNG", steps, indices * 10),
        (gray, "PNG", 100, np.where(np.asarray(gray) == 100, 0, 255)),
        (bilevel, "PNG", 0, np.where(np.asarray(bilevel), 255, 0)),
        (PICTURE, "PNG", corner, np.where((np.asarray(PICTURE) == corner).all(2), 0, 255)),
        (Image.fromarray(DEEP), "PNG", int(DEEP[5, 5]), np.where(DEEP == DEEP[5, 5], 0, 255)),
    ]
    for stored, file_format, transparency, expected in cases:
        loaded = read_image(encoded(stored, file_format, transparency=transparency))
        np.testing.assert_array_equal(loaded.alpha, expected)
        if stored.mode != "I;16":
            np.testing.assert_array_equal(loaded.pixels, np.asarray(stored.convert("RGB")))


@pytest.mark.parametrize(
    "content",
    [
        png(16, 0, DEEP.astype(">u2")),
        tiff(16, 1, DEEP),
        tiff(16, 1, DEEP.astype(">u2"), order=">"),
        encoded(Image.fromarray(DEEP), "TIFF", compression="tiff_deflate"),
        b"P5 63 47 65535\n" + DEEP.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "tiff big-endian", "tiff deflate", "pgm"],
)
def test_16_bit_gray_is_scaled_and_not_saturated(content):
    pixels = read_image(content).pixels
    expected = np.rint(DEEP / 257.0).astype(np.uint8)
    assert list(expected[0, :6]) == [0, 0, 1, 127, 254, 255]
    np.testing.assert_array_equal(pixels, np.dstack([expected] * 3))


DEEP_RGB = np.dstack([DEEP] * 3)
REFUSED = {
    "png rgb": (png(16, 2, DEEP_RGB.astype(">u2")), "16 bits per channel"),
    "png rgba": (png(16, 6, np.dstack([DEEP] * 4).astype(">u2")), "16 bits per channel"),
    "png gray alpha": (png(16, 4, np.dstack([DEEP] * 2).astype(">u2")), "16 bits per channel"),
    "tiff rgb": (tiff(16, 2, DEEP_RGB), "16 bits per channel"),
    "tiff negative": (tiff(16, 0, DEEP), "16 bits per channel as a negative"),
    "ppm": (b"P6 63 47 65535\n" + DEEP_RGB.astype(">u2").tobytes(), "16 bits per channel"),
    "ppm of 9 bits": (b"P6 63 47 256\n" + DEEP_RGB.astype(">u2").tobytes(), "16 bits per channel"),
    "tiff 32 bits": (tiff(32, 1, DEEP.astype("<u4")), "32 bits per channel"),
    "tiff 12 bits": (tiff(12, 1, DEEP[:, : WIDTH * 3 // 4]), "12 bits per channel"),
    "tiff signed": (tiff(16, 1, DEEP, sample_format=2), "signed"),
    "tiff float": (tiff(32, 1, DEEP.astype("<f4"), sample_format=3), "floating-point"),
    "pfm": (encoded(Image.fromarray(DEEP.astype(np.float32)), "PPM"), "floating-point"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_samples_that_would_silently_lose_bits_are_refused(kind):
    content, reason = REFUSED[kind]
    Image.open(io.BytesIO(content)).load()  # Pillow has no objection
    with pytest.raises(ImageError, match=f"{reason}.*convert it to 8 bits per channel"):
        read_image(content)


def test_numbers_of_32_bits_are_no_picture():
    for values in (DEEP.astype(np.int32), -DEEP.astype(np.int32)):
        with pytest.raises(ImageError, match="32 bits per channel"):
            check_pixels(Image.fromarray(values), DEFAULT_SETTINGS)


TO_STORED = {  # what turns an upright picture into the one stored with each orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def camera_exif(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2020:02:03 04:05:06",
        ExifTags.Base.MakerNote: b"private\0\1\2",
        ExifTags.Base.ExifImageWidth: 4000,
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 51.0, 29.5)}
    return exif.tobytes()


def parsed(block):
    exif = Image.Exif()
    exif.load(block)
    return exif


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TO_STORED)
def test_images_are_always_upright(orientation, file_format):
    method = TO_STORED[orientation]
    stored = PICTURE if method is None else PICTURE.transpose(method)
    content = encoded(stored, file_format, exif=camera_exif(orientation))
    loaded = read_image(content)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(loaded.pixels, np.asarray(expected.convert("RGB")))
    if file_format == "JPEG":
        assert np.abs(loaded.pixels.astype(int) - np.asarray(PICTURE)).max() <= 6
    else:
        np.testing.assert_array_equal(loaded.pixels, np.asarray(PICTURE))
    assert ExifTags.Base.Orientation not in parsed(loaded.exif)
    assert loaded.warnings == ()


def test_alpha_and_deep_gray_are_upright_too():
    alpha = np.asarray(PICTURE.convert("L"))
    stored = PICTURE.copy()
    stored.putalpha(Image.fromarray(alpha))
    loaded = read_image(encoded(stored, "PNG", exif=camera_exif(6)))
    np.testing.assert_array_equal(loaded.alpha, np.rot90(alpha, -1))
    loaded = read_image(encoded(Image.fromarray(DEEP), "PNG", exif=camera_exif(6)))
    expected = np.rint(np.rot90(DEEP, -1) / 257.0).astype(np.uint8)
    np.testing.assert_array_equal(loaded.pixels[:, :, 0], expected)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_senseless_orientations_are_ignored(orientation):
    loaded = read_image(encoded(PICTURE, "PNG", exif=camera_exif(orientation)))
    np.testing.assert_array_equal(loaded.pixels, np.asarray(PICTURE))


@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_and_icc_travel_from_format_to_format(source, target):
    content = encoded(PICTURE, source, exif=camera_exif(6), icc_profile=SRGB)
    first = read_image(content)
    written = encode_image(
        first.pixels, format=target, exif=first.exif, icc_profile=first.icc_profile
    )
    second = read_image(written)
    assert second.pixels.shape == first.pixels.shape == (WIDTH, HEIGHT, 3)
    assert second.icc_profile == SRGB
    exif = parsed(second.exif)
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif.get_ifd(ExifTags.IFD.Exif) == {
        ExifTags.Base.DateTimeOriginal: "2020:02:03 04:05:06",
        ExifTags.Base.MakerNote: b"private\0\1\2",
    }
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N", 2: (48.0, 51.0, 29.5)}


@pytest.mark.parametrize("order", "<>")
def test_exif_data_stays_in_its_byte_order(order):
    """Maker notes, which nobody can read, are in it as well."""
    exif = parsed(camera_exif(1))
    exif.endian = order
    loaded = read_image(encoded(PICTURE, "PNG", exif=exif.tobytes()))
    assert parsed(loaded.exif).endian == order


def test_sizes_in_the_exif_data_do_not_spoil_a_tiff():
    exif = Image.Exif()
    exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.ImageLength] = 999, 5
    exif[ExifTags.Base.Make] = "Maker"
    first = read_image(encoded(PICTURE, "JPEG", exif=exif))
    written = encode_image(first.pixels, format="TIFF", exif=first.exif)
    np.testing.assert_array_equal(read_image(written).pixels, first.pixels)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("damage", ["garbage", "address", "cut"])
@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:Truncated")
def test_damaged_exif_is_left_out_with_a_warning(file_format, damage):
    block = {
        "garbage": b"Exif\0\0 not a directory at all",
        "address": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "cut": camera_exif(1)[:60],
    }[damage]
    loaded = read_image(encoded(PICTURE, file_format, exif=block))
    assert loaded.pixels.shape == (HEIGHT, WIDTH, 3)
    (warning,) = loaded.warnings
    assert "EXIF data is damaged and is left out" in warning
    if damage != "cut":
        assert loaded.exif is None


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_part_of_the_exif_data_is_left_out_with_a_warning(file_format):
    block = bytearray(camera_exif(6))
    entry = block.index(struct.pack(">HHI", ExifTags.IFD.GPSInfo, 4, 1))
    block[entry + 8 : entry + 12] = struct.pack(">I", 0xFFFFFF)  # an address far outside
    loaded = read_image(encoded(PICTURE, file_format, exif=bytes(block)))
    assert loaded.warnings == ("part of the EXIF data is damaged and is left out",)
    assert loaded.pixels.shape == (WIDTH, HEIGHT, 3)  # the orientation is read all the same
    exif = parsed(loaded.exif)
    assert exif[ExifTags.Base.Make] == "Maker"
    assert ExifTags.Base.DateTimeOriginal in exif.get_ifd(ExifTags.IFD.Exif)
    assert ExifTags.IFD.GPSInfo not in exif


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("profile", [SRGB[:200], SRGB[:-100], b"x" * 500, b"abc"], ids=len)
def test_damaged_profiles_are_left_out_with_a_warning(file_format, profile):
    loaded = read_image(encoded(PICTURE, file_format, icc_profile=profile))
    assert loaded.icc_profile is None
    assert loaded.warnings == ("the ICC profile is damaged and is left out",)


@pytest.mark.parametrize(
    ("mode", "file_format", "space"),
    [
        ("CMYK", "JPEG", b"CMYK"),
        ("CMYK", "TIFF", b"CMYK"),
        ("CMYK", "TIFF", b"RGB "),
        ("L", "PNG", b"GRAY"),
    ],
)
def test_profiles_of_other_colour_spaces_are_left_out_with_a_warning(mode, file_format, space):
    profile = SRGB[:16] + space + SRGB[20:]
    loaded = read_image(encoded(PICTURE.convert(mode), file_format, icc_profile=profile))
    assert loaded.icc_profile is None
    (warning,) = loaded.warnings
    assert f"ICC profile ({space.decode().strip()}) does not fit" in warning
    assert f"converted from {mode} to RGB" in warning


def test_gray_masks_get_no_rgb_profile():
    content = encode_image(np.asarray(PICTURE.convert("L")), format="PNG", icc_profile=SRGB)
    assert "icc_profile" not in Image.open(io.BytesIO(content)).info


@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_names_in_the_exif_data_are_not_spelled_anew(source, target):
    owner = 0xA430  # in the Exif directory, of a type that Pillow does not know
    for name in ("\u00a9 J\u00f6rg M\u00fcller".encode(coding) for coding in ("utf-8", "latin-1")):
        # Of as many letters as the name has bytes, which then take their places in the block.
        exif = Image.Exif()
        exif[ExifTags.Base.Copyright] = "x" * len(name)
        exif[ExifTags.IFD.Exif] = {owner: "y" * len(name)}
        block = exif.tobytes().replace(b"x" * len(name), name).replace(b"y" * len(name), name)
        first = read_image(encode_image(np.asarray(PICTURE), format=source, exif=block))
        written = encode_image(first.pixels, format=target, exif=first.exif)
        for kept in (first.exif, read_image(written).exif):
            assert kept.count(name) == 2
            assert parsed(kept).get_ifd(ExifTags.IFD.Exif)[owner] == name.decode("latin-1")
