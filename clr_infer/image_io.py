"""Files and bytes to 8-bit RGB and back, with their metadata; hostile input is expected."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from .errors import ClrError, ImageError, InputError, UsageError
from .image_files import check_file_size, read_bytes, write_bytes
from .image_modes import check_depth, checked_exif, checked_icc, parsed_exif, to_rgb, upright
from .preprocess import check_size
from .settings import DEFAULT_SETTINGS, Settings

__all__ = [
    "ALPHA_FORMATS",
    "READ_SUFFIXES",
    "SUFFIXES",
    "LoadedImage",
    "check_encoding",
    "encode_image",
    "format_for",
    "image_size",
    "is_lossy",
    "read_image",
    "write_bytes",
]

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
READ_SUFFIXES = frozenset({*SUFFIXES, ".avif", ".gif", ".jfif", ".ppm"})
ALPHA_FORMATS = frozenset({"PNG", "WEBP", "TIFF"})

_READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")  # MPO opens as JPEG
_SIDE_MAX = {"JPEG": 65500, "WEBP": 16383}  # of the formats themselves
_JPEG_EXIF_MAX = 65533  # bytes that one marker holds


@dataclass(frozen=True)
class LoadedImage:
    """An image as it was read: upright, 8 bits, RGB.

    Attributes:
        pixels: HxWx3 uint8, RGB.
        alpha: HxW uint8, 0 transparent to 255 opaque; ``None`` for an image without.
        format: what the content is, whatever the name says: "PNG", "JPEG", "WEBP", "AVIF",
            "TIFF", "BMP", "GIF" or "PPM".
        exif: the block to write beside the pixels, without orientation, sizes and thumbnail.
        icc_profile: an RGB profile.
        warnings: what was left out and why, one sentence each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    exif: bytes | None
    icc_profile: bytes | None
    warnings: tuple[str, ...]


def read_image(
    source: Path | bytes | str, settings: Settings = DEFAULT_SETTINGS, *, frame: int | None = None
) -> LoadedImage:
    """Read an image file, or the bytes of one.

    Args:
        source: a path, or encoded image bytes.
        settings: limits on file size, pixels, sides and aspect.
        frame: which picture of an animation or a file of several pages, from 0. Without it such
            files are refused, except a phone's multi-picture JPEG, which counts as its first.

    Raises:
        ImageError: the file or its content cannot be used; the message names both.
    """
    if isinstance(source, bytes):
        name = "image bytes"
    elif isinstance(source, str | os.PathLike):
        name = repr(os.fspath(source))  # escaped: a name may hold newlines or stray bytes
    else:
        kind = type(source).__name__
        raise ImageError(f"an image is read from a path or from bytes, not from {kind}")
    try:
        if isinstance(source, bytes):
            check_file_size(len(source), settings)
            return _decode(source, settings, frame)
        return _decode(read_bytes(source, settings), settings, frame)
    except ClrError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged content
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: damaged or cut off, it cannot be decoded: {reason}") from error


def _decode(content: bytes, settings: Settings, frame: int | None) -> LoadedImage:
    if not content:
        raise ImageError("the file is empty (0 bytes)")
    try:
        picture = Image.open(io.BytesIO(content), formats=_READ_FORMATS)
    except UnidentifiedImageError:
        known = ", ".join(_READ_FORMATS)
        raise ImageError(
            f"not an image of a kind that is read ({known}), or its header is damaged or cut off"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            "far too many pixels to be decoded safely (Pillow's own limit, MAX_IMAGE_PIXELS): "
            f"{error}"
        ) from error
    with picture:
        file_format = "JPEG" if picture.format == "MPO" else str(picture.format)
        _select_frame(picture, settings, frame)
        check_size(*picture.size, settings)
        check_depth(picture)
        picture.load()
        orientation, exif, exif_warning = checked_exif(picture)
        icc_profile, icc_warning = checked_icc(picture)
        pixels, alpha = to_rgb(upright(picture, orientation))
        found = (_truncation_warning(), exif_warning, icc_warning)
        warnings = tuple(warning for warning in found if warning)
    return LoadedImage(pixels, alpha, file_format, exif, icc_profile, warnings)


def _truncation_warning() -> str | None:
    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        return None
    return (
        "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process, which makes a truncated "
        "image look like a whole one"
    )


def _select_frame(picture: ImageFile.ImageFile, settings: Settings, frame: int | None) -> None:
    if frame is None:
        if getattr(picture, "is_animated", False) and picture.format != "MPO":
            raise ImageError(
                "it holds several frames or pages; choose one with frame (0 is the first)"
            )
        return
    if not isinstance(frame, int) or frame < 0:
        raise ImageError(f"frame counts from 0, so it cannot be {frame!r}")
    if picture.format != "TIFF":
        # Seeking decodes the frames before on one canvas. TIFF pages have a size each, and are
        # stepped over.
        check_size(*picture.size, settings)
    try:
        picture.seek(frame)
    except EOFError as error:
        raise ImageError(f"it holds no frame {frame} (0 is the first)") from error


def image_size(content: bytes, frame: int | None = None) -> tuple[int, int]:
    """Width and height as a file's header says them; 0, 0 if it is no image that is read.

    Args:
        content: the file, or its beginning.
        frame: that is read, see :func:`read_image`: the pages of a TIFF have a size each.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_READ_FORMATS) as picture:
            if frame and picture.format == "TIFF":
                picture.seek(frame)
            return picture.size
    except Exception:  # what is wrong with it, reading says
        return 0, 0


def format_for(path: Path) -> str:
    """The Pillow format that a file's suffix asks for.

    Raises:
        UsageError: no suffix or one that is not written; the message lists those that are.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in SUFFIXES:
        allowed = ", ".join(SUFFIXES)
        raise UsageError(f"{str(path)!r}: the output's suffix must be one of {allowed}")
    return SUFFIXES[suffix.lower()]


def encode_image(
    pixels: np.ndarray,
    *,
    format: str,
    quality: int | None = None,
    alpha: np.ndarray | None = None,
    exif: bytes | None = None,
    icc_profile: bytes | None = None,
) -> bytes:
    """Encode an image; everything but JPEG is lossless unless ``quality`` is given.

    Args:
        pixels: HxWx3 uint8 RGB, or HxW uint8 gray such as a mask.
        format: a value of ``SUFFIXES``.
        quality: 1 to 100, of JPEG (default 95; never with chroma subsampling) and WEBP.
        alpha: HxW uint8; written by ``ALPHA_FORMATS`` and left out by the others.
        exif: as in ``LoadedImage``; BMP leaves it out.
        icc_profile: an RGB profile; BMP leaves it out.

    Raises:
        InputError: an argument is out of range or does not fit the format.
    """
    picture = _picture(pixels, alpha if format in ALPHA_FORMATS else None)
    options = _options(picture, format, quality, exif)
    if icc_profile and picture.mode in ("RGB", "RGBA"):
        options["icc_profile"] = icc_profile
    buffer = io.BytesIO()
    try:
        if format == "TIFF" and exif:  # its directory is made of the block's entries
            options["exif"] = parsed_exif(exif)
        picture.save(buffer, format, **options)
    except Exception as error:  # as many kinds as Pillow has encoders
        reason = str(error) or type(error).__name__
        raise InputError(f"the image cannot be encoded as {format}: {reason}") from error
    return buffer.getvalue()


def check_encoding(format: str, quality: int | None) -> None:
    """Refuse a format that is not written, or a quality that does not go with it.

    Raises:
        InputError: the message names what would do.
    """
    if format not in SUFFIXES.values():
        allowed = ", ".join(dict.fromkeys(SUFFIXES.values()))
        raise InputError(f"format must be one of {allowed}, not {format!r}")
    if quality is not None:
        if format not in ("JPEG", "WEBP"):
            raise InputError(f"quality applies to JPEG and WEBP; {format} is lossless")
        if type(quality) is not int or not 1 <= quality <= 100:
            raise InputError(f"quality must be a whole number from 1 to 100, not {quality!r}")


def is_lossy(format: str, quality: int | None) -> bool:
    """Whether :func:`encode_image` would lose anything."""
    return format == "JPEG" or (format == "WEBP" and quality is not None)


def _picture(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise InputError(
            f"pixels to encode must be HxWx3 or HxW uint8, not {pixels.shape} {pixels.dtype}"
        )
    if pixels.size == 0:
        raise InputError(f"there are no pixels to encode: {pixels.shape}")
    picture = Image.fromarray(pixels)
    if alpha is not None:
        if alpha.dtype != np.uint8 or alpha.shape != pixels.shape[:2]:
            raise InputError(
                f"alpha must be {pixels.shape[:2]} uint8 as the pixels, "
                f"not {alpha.shape} {alpha.dtype}"
            )
        picture.putalpha(Image.fromarray(alpha))
    return picture


def _options(
    picture: Image.Image, format: str, quality: int | None, exif: bytes | None
) -> dict[str, object]:
    check_encoding(format, quality)
    side_max = _SIDE_MAX.get(format)
    if side_max and max(picture.size) > side_max:
        raise InputError(
            f"the image is {picture.width}x{picture.height} pixels; {format} holds at most "
            f"{side_max} a side (choose PNG)"
        )
    if format == "JPEG" and exif and len(exif) > _JPEG_EXIF_MAX:
        raise InputError(
            f"the EXIF data has {len(exif)} bytes; JPEG holds at most {_JPEG_EXIF_MAX} "
            "(leave it out, or choose PNG)"
        )
    options: dict[str, object] = {"exif": exif} if exif else {}
    if format == "PNG":
        options["compress_level"] = 3
    elif format == "JPEG":
        options.update(quality=95 if quality is None else quality, subsampling=0)
    elif format == "WEBP":
        # exact: the colours below transparent alpha are part of the image
        options.update({"lossless": True} if quality is None else {"quality": quality}, exact=True)
    elif format == "TIFF":
        options["compression"] = "raw"  # libtiff's encoders cannot write the EXIF directories
    return options
