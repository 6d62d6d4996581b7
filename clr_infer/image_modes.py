"""What an opened picture holds, as 8-bit RGB: samples, alpha, orientation, EXIF and ICC."""

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from .errors import ImageError
from .preprocess import to_pixels

__all__ = [
    "check_depth",
    "checked_exif",
    "checked_icc",
    "parsed_exif",
    "to_rgb",
    "upright",
    "upright_rgb",
]

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The main EXIF directory doubles as that of a TIFF file: tags of sizes, strips and colours would
# contradict the file they are copied into, so only the descriptive ones go along.
_KEPT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Sizes that no longer hold, and an address within the old block.
_STALE_TAGS = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
)


def check_depth(picture: Image.Image) -> None:
    """Refuse samples that do not come down to 8 bits without a decision of the user.

    Accepted are 8 bits and less per channel, and 16-bit gray. Pillow itself would cut 16-bit
    colour to 8 bits without a word.

    Args:
        picture: opened, not necessarily decoded.

    Raises:
        ImageError: floating-point, signed, 12-bit or 32-bit samples, 16-bit colour, 16-bit gray
            with alpha, or 16-bit gray stored as a negative.
    """
    tags = getattr(picture, "tag_v2", {})
    sample_format = max(tags.get(ExifTags.Base.SampleFormat, (1,)))
    if picture.mode == "F" or sample_format == 3:
        raise ImageError("its pixels are floating-point numbers; convert it to 8 bits per channel")
    if sample_format == 2:
        raise ImageError("its pixels are signed numbers; convert it to 8 bits per channel")
    bits = _sample_bits(picture)
    if bits <= 8:
        return
    negative = tags.get(ExifTags.Base.PhotometricInterpretation, 1) == 0
    if bits == 16 and picture.mode.startswith("I") and not negative:
        return
    kind = " as a negative" if picture.mode.startswith("I") and negative else ""
    raise ImageError(
        f"it has {bits} bits per channel{kind}, where only 16-bit gray is read beyond 8 bits; "
        "convert it to 8 bits per channel"
    )


def _sample_bits(picture: Image.Image) -> int:
    tags = getattr(picture, "tag_v2", None)
    if tags is not None:
        return max(tags.get(ExifTags.Base.BitsPerSample, (1,)))
    if picture.mode == "I" and picture.format is None:
        return 32  # made of numbers; in files this mode holds 16 bits
    if picture.mode.startswith("I"):
        return 16
    tiles = getattr(picture, "tile", None)
    arguments = tiles[0].args if tiles else None
    if picture.format == "PNG":  # such as "RGB;16B"
        return 16 if isinstance(arguments, str) and ";16" in arguments else 8
    if picture.format == "PPM" and isinstance(arguments, tuple):  # raw mode and largest value
        return 16 if arguments[1] > 255 else 8
    return 8


def to_rgb(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Bring a decoded picture of any mode to HxWx3 uint8 and its alpha, HxW uint8, if any.

    16-bit gray is scaled, ``value / 257`` rounded. Alpha is kept apart: the colours below it stay
    as they are.
    """
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.uint32)
        key = picture.info.get("transparency")
        alpha = None if key is None else np.where(values == key, 0, 255).astype(np.uint8)
        values += 128
        values //= 257
        return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2), alpha
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return to_pixels(rgba.convert("RGB")), to_pixels(rgba.getchannel("A"))
    return to_pixels(picture if picture.mode == "RGB" else picture.convert("RGB")), None


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Transpose a decoded picture as its EXIF orientation, 1 to 8, asks for."""
    return picture.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else picture


def upright_rgb(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels and the alpha of a picture that somebody else has opened, see :func:`to_rgb`.

    Raises:
        ImageError: it cannot be decoded, or not without a decision, see :func:`check_depth`.
    """
    try:
        check_depth(picture)
        picture.load()
        return to_rgb(upright(picture, checked_exif(picture)[0]))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged content
        reason = str(error) or type(error).__name__
        raise ImageError(f"the PIL image cannot be decoded: {reason}") from error


def checked_exif(picture: Image.Image) -> tuple[int, bytes | None, str | None]:
    """Read the orientation and keep the EXIF data that is not about the file it stands in.

    Left out are orientation, sizes, storage layout and the thumbnail: the pixels will be upright,
    and may be of another size and in another format.

    Args:
        picture: decoded, as some formats have their metadata at the end.

    Returns:
        The orientation, 1 to 8 and 1 for upright; the block to write; the warning that says what
        is left out because it is damaged.
    """
    orientation, block = 1, picture.info.get("exif")
    try:
        if block:
            parsed = Image.Exif()
            parsed.load(block)  # again, as opening a JPEG swallows what this raises
            if not len(parsed):
                raise ValueError("no tags")
        exif = picture.getexif()
        if exif.get(ExifTags.Base.Orientation) in _TRANSPOSE:
            orientation = exif[ExifTags.Base.Orientation]
        return orientation, *_kept_exif(exif)
    except Exception:  # Pillow raises many kinds for damaged values
        return orientation, None, "the EXIF data is damaged and is left out"


class _Text(str):
    """A text of EXIF data: Pillow reads its bytes as Latin-1, but writes question marks."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes as they were read, whatever is asked for."""
        return super().encode("latin-1", errors)


def _as_read(value: Any) -> Any:
    return _Text(value) if isinstance(value, str) else value


def parsed_exif(block: bytes) -> Image.Exif:
    """Parse an EXIF block so that its texts are written as they were read."""
    exif = Image.Exif()
    exif.load(block)
    for entries in (exif, *map(exif.get_ifd, _DIRECTORIES)):
        for tag, value in entries.items():
            entries[tag] = _as_read(value)
    return exif


def _kept_exif(exif: Image.Exif) -> tuple[bytes | None, str | None]:
    kept = Image.Exif()
    kept.endian = exif.endian  # maker notes are opaque bytes in the byte order of their block
    warning = None
    for tag in _KEPT_TAGS:
        if tag in exif:
            kept[tag] = _as_read(exif[tag])
    for directory in _DIRECTORIES:
        entries = exif.get_ifd(directory)
        if directory in exif and not entries:
            warning = "part of the EXIF data is damaged and is left out"
        current = {tag: _as_read(v) for tag, v in entries.items() if tag not in _STALE_TAGS}
        if current:
            kept[directory] = current
    return kept.tobytes() if len(kept) else None, warning


def checked_icc(picture: Image.Image) -> tuple[bytes | None, str | None]:
    """Keep an ICC profile only where it is sound and describes the RGB pixels.

    Args:
        picture: as read, before any conversion of its mode.

    Returns:
        The profile; the warning that says why there is none although the file has one.
    """
    if "icc_profile" not in picture.info:
        return None, None
    profile = picture.info["icc_profile"]
    try:
        if not isinstance(profile, bytes):  # Pillow could not put the parts together
            raise ValueError("not a block of bytes")
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "RGB":  # opening reads little more than the header; a transform needs all
            ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except Exception:  # Pillow's colour module raises several kinds for a damaged profile
        return None, "the ICC profile is damaged and is left out"
    if space != "RGB" or picture.mode in ("CMYK", "LAB"):
        return None, (
            f"the ICC profile ({space}) does not fit pixels converted from {picture.mode} to RGB "
            "and is left out"
        )
    return profile, None
