"""The fragile copy: the original itself, coded small, in the lowest bits of its protected image.

What the networks write outlives JPEG and is read as a blurred picture. A copy is read as it was
coded, sharp, and places its fragment to the pixel; but the first step that changes pixels, any
codec with losses or any resizing, ends it. So it comes on top of the protection, where it is asked
for, and serves the fragments that stay lossless.

The original is coded as AVIF, to fit into 12 of 100 of the image's tiles, or as many as any crop
holds that keeps half of each side. RaptorQ (RFC 6330) makes a packet of that for each tile, see
:mod:`.lowest_bits`, and any so many give it back, whichever they are. A tile that lies within the
fragment and is not whole was altered: the copy shows what it was.
"""

import functools
import hashlib
import io
import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, features

from .border import inside_border
from .errors import ImageError, RuntimeUnavailable
from .geometry import Box, Px, common_px, crop_mask, enclosing_px
from .image_checks import check_canvas
from .lowest_bits import ROOM_BYTES, TILE_PX, Tile, find_grid, grid_size, read_tiles, write_tiles
from .preprocess import reduce_pixels, resize_pixels, to_pixels
from .residual import mean_squared_error
from .results import Located
from .settings import Settings
from .turns import SIDES, as_received, on_side, upright

__all__ = ["CodedCopy", "FragileCopy", "code_copy", "read_copy", "with_copy"]

_SHARE = 0.12
_PIXELS_MAX = 2**20
_SIDE_MAX = 2**16 - 1
_HALVINGS_MAX = 2
_SPEED, _QUALITY_MAX = 10, 90
_GROWTH, _SPARE_MAX = 0.035, 0.06
"""By so much the logarithm of a coding's size grows with its quality, and so much may be left of
the room's."""

_NAME_BYTES = 8
_FACTS = struct.Struct(f">HHI{_NAME_BYTES}s")
"""Width and height of the original, length and error of the copy, and a digest of it."""

_SYMBOL_BYTES = (ROOM_BYTES - _FACTS.size) // 8 * 8  # as RaptorQ takes them
_PACKET_ID = struct.Struct(">I")
"""As RaptorQ has it: the block, of which there is one, and the number of the symbol."""

_ERROR_STEPS = 4.0
"""The copy's error is noted in quarters of a level, in one byte."""

_BELIEVED_SHARE = 0.25
"""So much of the tiles that a received image holds at least must be there: a small part of it says
nothing of the whole."""

_ORIGINAL_MOST = 64
"""So many times the size of what was received an original may have: else a single forged tile would
make a huge picture of a tiny one."""

_ALIKE_LEVELS = 8.0
"""A border that is the picture's own lies on average at most so far from the copy."""

_CELLS = 64


@dataclass(frozen=True)
class FragileCopy:
    """What the tiles of a received image say.

    Attributes:
        located: its place, exact to the pixel.
        picture: what of it shows the original, upright, HxWx3 uint8.
        image: the copy, at its own size, HxWx3 uint8; ``None`` if too few tiles are left.
        cell_uncertainty: the standard deviation of the copy's error, as it was measured when the
            copy was made: rows x columns float32, in levels of 255.
    """

    located: Located
    picture: np.ndarray
    image: np.ndarray | None
    cell_uncertainty: np.ndarray


@dataclass(frozen=True)
class CodedCopy:
    """A copy that is ready to be written.

    Attributes:
        records: what each tile is to carry, rows x columns x bytes uint8.
        error: the standard deviation of the copy's error, in levels of 255.
    """

    records: np.ndarray
    error: float


def code_copy(original: np.ndarray) -> CodedCopy:
    """Code an image, HxWx3 uint8, as well as its tiles can hold it.

    Raises:
        ImageError: it is too small to hold a copy of itself, or a side is too long.
        RuntimeUnavailable: raptorq is missing, or Pillow comes without AVIF.
    """
    raptorq = _raptorq()
    height, width = original.shape[:2]
    if max(width, height) > _SIDE_MAX:
        raise ImageError(
            f"the image is {width}x{height} pixels; with a copy a side may have {_SIDE_MAX}"
        )
    columns, rows = grid_size(width, height)
    content = None
    if (room_bytes := _symbols(width, height) * _SYMBOL_BYTES) > 0:
        content = _encoded(reduce_pixels(original, _PIXELS_MAX), room_bytes)
    if content is None:
        raise ImageError(
            f"the image is {width}x{height} pixels, too small to hold a copy of itself, which most "
            "of 256x256 pixels are not (leave the copy out, or enlarge the image)"
        )
    shown = resize_pixels(_decoded(content), width, height)
    error = mean_squared_error(shown, original) ** 0.5
    noted = min(round(_ERROR_STEPS * error), 255)
    facts = _FACTS.pack(width, height, len(content) << 8 | noted, _name(content))
    needed = -(-len(content) // _SYMBOL_BYTES)
    encoder = raptorq.Encoder.with_defaults(content, _SYMBOL_BYTES)
    packets = encoder.get_encoded_packets(columns * rows - needed)
    records = b"".join(
        (facts + packet[_PACKET_ID.size :]).ljust(ROOM_BYTES, b"\0") for packet in packets
    )
    shape = (rows, columns, ROOM_BYTES)
    return CodedCopy(np.frombuffer(records, np.uint8).reshape(shape), error)


def _raptorq() -> Any:
    """The library, once it is known that what it carries can be written and read here."""
    if not features.check("avif"):
        raise RuntimeUnavailable(
            "copies need a Pillow with AVIF, as its wheels have it: pip install --upgrade pillow"
        )
    try:
        import raptorq  # taken when needed: nothing else misses it on a bare machine
    except ImportError as error:
        raise RuntimeUnavailable("copies need raptorq: pip install raptorq") from error
    return raptorq


def _symbols(width: int, height: int) -> int:
    """Packets that give a copy back: one less than any crop of half of each side holds."""
    columns, rows = grid_size(width, height)
    return min(int(_SHARE * columns * rows), _least_tiles(width // 2, height // 2) - 1)


def _least_tiles(width: int, height: int) -> int:
    """Whole tiles that a crop of this size holds, wherever it is taken from."""
    columns, rows = grid_size(max(width - TILE_PX + 1, 0), max(height - TILE_PX + 1, 0))
    return columns * rows


def with_copy(protected: np.ndarray, copy: CodedCopy, settings: Settings) -> np.ndarray:
    """A protected image, HxWx3 uint8, with the copy of its original written into it."""
    marked = protected.copy()
    write_tiles(marked, copy.records, settings.copy_key)
    return marked


def _encoded(image: np.ndarray, room_bytes: int) -> bytes | None:
    """An image as AVIF, as good as fits; of a half or a quarter of its pixels if it has to be."""
    for _ in range(_HALVINGS_MAX + 1):
        content = _fitting(functools.partial(_avif, image), room_bytes)
        if content is not None:
            return content
        image = reduce_pixels(image, image.shape[0] * image.shape[1] / 2)
    return None


def _fitting(coded: Callable[[int], bytes], room_bytes: int) -> bytes | None:
    """The best coding that fits, of some qualities, found by how fast sizes grow with them."""
    best, fits, fails = None, 0, _QUALITY_MAX + 1
    quality = 50
    while fails - fits > 1:
        content = coded(quality)
        spare = math.log(room_bytes / len(content))
        if spare >= 0.0:
            best, fits = content, quality
            if spare < _SPARE_MAX:
                break
        else:
            fails = quality
        step = math.floor(spare / _GROWTH) or 1
        quality = min(max(quality + step, fits + 1), fails - 1)
    return best


def _name(content: bytes) -> bytes:
    """What the tiles of one copy have in common, and those of no other."""
    return hashlib.blake2b(content, digest_size=_NAME_BYTES).digest()


def _avif(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "AVIF", quality=quality, speed=_SPEED)
    return buffer.getvalue()


def _decoded(content: bytes) -> np.ndarray:
    """The pixels of a copy, HxWx3 uint8.

    Raises:
        OSError: it is none.
    """
    with Image.open(io.BytesIO(content), formats=["AVIF"]) as picture:
        if picture.width * picture.height > 2 * _PIXELS_MAX:
            raise OSError("larger than any copy")
        return to_pixels(picture.convert("RGB"))


def read_copy(received: np.ndarray, settings: Settings, turned: bool = False) -> FragileCopy | None:
    """Read what is left of a copy.

    Args:
        received: HxWx3 uint8.
        settings: limits, and the key.
        turned: look for it mirrored and on its sides as well.

    Returns:
        ``None`` where no tile is left, none of this key at any rate, or too few for the size of
        what was received.

    Raises:
        ImageError: the original is larger than the limit.
        RuntimeUnavailable: there is a copy, and nothing here to read it with.
    """
    copy = _read(received, settings)
    for turn in SIDES if turned and copy is None else ():
        if find_grid(on_side(received, turn), settings.copy_key) is None:
            continue  # as nearly always: no pixels were moved for that
        view = upright(received, turn)
        copy = _read(view, settings)
        if copy is not None:
            picture_px = copy.located.picture_px
            assert picture_px is not None
            picture_px = as_received(picture_px, view.shape[1], view.shape[0], turn)
            return replace(copy, located=replace(copy.located, picture_px=picture_px, turn=turn))
    return copy


def _read(received: np.ndarray, settings: Settings) -> FragileCopy | None:
    """:func:`read_copy` of an image that lies upright."""
    tiles = read_tiles(received, settings.copy_key)
    if not tiles:
        return None

    def origin(tile: Tile) -> tuple[int, int, bytes]:
        left, top = tile.left - TILE_PX * tile.column, tile.top - TILE_PX * tile.row
        return left, top, tile.record[: _FACTS.size]

    (left, top, facts), _ = Counter(map(origin, tiles)).most_common(1)[0]
    own = [tile for tile in tiles if origin(tile) == (left, top, facts)]
    if len(own) < _BELIEVED_SHARE * _least_tiles(received.shape[1], received.shape[0]):
        return None
    width, height, rest, name = _FACTS.unpack(facts)
    length, error = rest >> 8, (rest & 255) / _ERROR_STEPS
    columns, rows = grid_size(width, height)
    if not length or any(tile.column >= columns or tile.row >= rows for tile in own):
        return None  # not written here
    if width * height > _ORIGINAL_MOST * received.shape[0] * received.shape[1]:
        return None
    check_canvas(width, height, settings)
    image = _assembled(own, columns, length, name)
    frame = (left, top, left + width, top + height)
    x0, y0, x1, y1 = _shown_px(received, own, frame, image, settings)
    box_px = (x0 - left, y0 - top, x1 - left, y1 - top)
    altered_px = _altered_px(own, box_px)
    located = Located(
        protected=True,
        confidence=1.0,
        crop_box=Box(*(at / side for at, side in zip(box_px, 2 * (width, height), strict=True))),
        box_px=box_px,
        canvas_px=(width, height),
        mask=crop_mask(box_px, width, height, altered_px),
        picture_px=(x0, y0, x1, y1),
        by_copy=True,
        altered_px=altered_px,
    )
    cells = np.full((_CELLS, _CELLS), max(error, 1.0 / _ERROR_STEPS), np.float32)
    return FragileCopy(located, np.ascontiguousarray(received[y0:y1, x0:x1]), image, cells)


def _shown_px(
    received: np.ndarray,
    tiles: Sequence[Tile],
    frame: Px,
    image: np.ndarray | None,
    settings: Settings,
) -> Px:
    """The part of a received image that shows the original.

    That is where tiles are whole, and what lies between them and an edge where less than a tile
    would fit: that of the received image, or of a plain border which the copy does not have as
    well. Where the received image and the original end together, it reaches there in any case.

    Args:
        received: HxWx3 uint8.
        tiles: those of the original.
        frame: where the original would lie.
        image: the copy, if it can be read.
        settings: limits.
    """
    whole = (
        min(tile.left for tile in tiles),
        min(tile.top for tile in tiles),
        max(tile.left for tile in tiles) + TILE_PX,
        max(tile.top for tile in tiles) + TILE_PX,
    )
    edges = (0, 0, received.shape[1], received.shape[0])
    inner = inside_border(received, settings) if image is not None else None
    inner = common_px(enclosing_px(inner or edges, whole), frame)
    found = []
    for side, edge in enumerate(common_px(edges, frame)):
        strip = [*inner]
        strip[side], strip[(side + 2) % 4] = edge, inner[side]  # between the two, on this side
        if edge == edges[side] == frame[side]:
            found.append(edge)
        elif abs(edge - whole[side]) < TILE_PX and (
            inner[side] == edge or _is_shown(received, strip, frame, image)
        ):
            found.append(edge)
        else:
            near = abs(inner[side] - whole[side]) < TILE_PX
            found.append(inner[side] if near else whole[side])
    x0, y0, x1, y1 = found
    return x0, y0, x1, y1


def _is_shown(
    received: np.ndarray, strip: Sequence[int], frame: Px, image: np.ndarray | None
) -> bool:
    """Whether the copy has what lies in a part of a received image, x0, y0, x1, y1."""
    assert image is not None
    x0, y0, x1, y1 = strip
    size = np.array(image.shape[1::-1])
    scale = size / (frame[2] - frame[0], frame[3] - frame[1])
    box = np.subtract(strip, 2 * frame[:2]) * np.tile(scale, 2)
    box = np.clip(box, 0.0, np.tile(size, 2))  # of what rounding adds
    there = Image.fromarray(image).resize((x1 - x0, y1 - y0), Image.Resampling.BOX, box=tuple(box))
    difference = np.subtract(received[y0:y1, x0:x1], np.asarray(there), dtype=np.float32)
    return float(np.abs(difference).mean()) <= _ALIKE_LEVELS


def _altered_px(tiles: Sequence[Tile], box_px: Px) -> tuple[Px, ...]:
    """Tiles that lie in what was received and are not whole, as runs along rows, in canvas pixels.

    Args:
        tiles: those that are whole.
        box_px: where the received image lies in the canvas.
    """
    whole = {(tile.column, tile.row) for tile in tiles}
    x0, y0 = (-(-at // TILE_PX) for at in box_px[:2])
    x1, y1 = (at // TILE_PX for at in box_px[2:])
    found = []
    for row in range(y0, y1):
        start = x0
        for column in range(x0, x1 + 1):
            if column == x1 or (column, row) in whole:
                if start < column:
                    found.append((start, row, column, row + 1))
                start = column + 1
    return tuple((a * TILE_PX, b * TILE_PX, c * TILE_PX, d * TILE_PX) for a, b, c, d in found)


def _assembled(tiles: Sequence[Tile], columns: int, length: int, name: bytes) -> np.ndarray | None:
    """The copy that tiles hold, HxWx3 uint8; nothing if they are too few for it, or hold none."""
    decoder = _raptorq().Decoder.with_defaults(length, _SYMBOL_BYTES)
    for tile in tiles:
        number = _PACKET_ID.pack(tile.row * columns + tile.column)
        symbol = tile.record[_FACTS.size : _FACTS.size + _SYMBOL_BYTES]
        content = decoder.decode(number + symbol)
        if content is None:
            continue
        try:
            return _decoded(content) if _name(content) == name else None
        except Exception:  # Pillow's decoders raise nearly anything for what is no image
            return None
    return None
