"""Records in the lowest bits of an image, one in each tile of 32x32 pixels.

A tile holds 384 bytes, channel by channel, row by row and the highest bit first: a mark of 32 bits,
which is its first row of red pixels, the place of the tile in the image, what it carries, and a
digest of these and of the pixels' other bits. So each tile can be read without the others, wherever
it has come to lie, and a reader knows of each whether it is whole: any bit that changes ends it.
With a key, only who has it can write what others who have it read.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterator
from hmac import compare_digest
from typing import NamedTuple

import numpy as np

__all__ = ["ROOM_BYTES", "TILE_PX", "Tile", "find_grid", "grid_size", "read_tiles", "write_tiles"]

TILE_PX = 32
_TILE_BYTES = 3 * TILE_PX * TILE_PX // 8
_MARK_BYTES, _DIGEST_BYTES = 4, 8
_PLACE = struct.Struct(">HH")
"""The row and the column."""

ROOM_BYTES = _TILE_BYTES - _MARK_BYTES - _PLACE.size - _DIGEST_BYTES
"""What a tile carries, in bytes."""

_NOISE = np.frombuffer(hashlib.shake_128(b"clr_infer: lowest bits").digest(_TILE_BYTES), np.uint8)
"""The mark, and what the rest is mixed with, so that no record shows as a pattern."""

_SEARCHED_MAX, _BANDS_MIN = 2**19, 8
"""So many pixels are searched for marks, in bands that are spread over larger images; at least so
many bands, which meet every part that is a quarter of the height."""

_TRIES_MAX = 1000
"""So many marks are held against their digests before an image is taken to hold no tile."""


class Tile(NamedTuple):
    """A tile that was read.

    Attributes:
        left: its left edge in the received image, in pixels.
        top: its top edge.
        column: its place in the image that was written to, in tiles.
        row: the same, downwards.
        record: what it carries, of :data:`ROOM_BYTES`.
    """

    left: int
    top: int
    column: int
    row: int
    record: bytes


def grid_size(width: int, height: int) -> tuple[int, int]:
    """How many whole tiles lie in a row of an image and in a column, from its top left corner."""
    return width // TILE_PX, height // TILE_PX


def _digest(head: bytes, upper: np.ndarray, key: bytes) -> bytes:
    """The digest of a place with its record, and of all but the lowest bits of a tile."""
    secret = hashlib.blake2b(key).digest() if key else b""  # of any length
    digest = hashlib.blake2b(head, digest_size=_DIGEST_BYTES, key=secret)
    digest.update(upper.data)
    return digest.digest()


def _squares(pixels: np.ndarray, left: int, top: int) -> np.ndarray:
    """The squares of an image on the grid from a corner: rows x columns x 32x32x3, a view."""
    columns, rows = grid_size(pixels.shape[1] - left, pixels.shape[0] - top)
    part = pixels[top : top + rows * TILE_PX, left : left + columns * TILE_PX]
    return part.reshape(rows, TILE_PX, columns, TILE_PX, 3).swapaxes(1, 2)


def write_tiles(pixels: np.ndarray, records: np.ndarray, key: bytes = b"") -> None:
    """Write a record into each tile of an image, in place.

    Args:
        pixels: HxWx3 uint8, contiguous.
        records: rows x columns x :data:`ROOM_BYTES` uint8, for all of :func:`grid_size`.
        key: of the digests; none if empty.
    """
    for row, squares in enumerate(_squares(pixels, 0, 0)):
        uppers = np.ascontiguousarray(squares >> 1)
        contents = bytearray()
        for column, upper in enumerate(uppers):
            head = _PLACE.pack(row, column) + records[row, column].tobytes()
            contents += bytes(_MARK_BYTES) + head + _digest(head, upper, key)
        tiles = np.frombuffer(contents, np.uint8).reshape(-1, _TILE_BYTES) ^ _NOISE
        lowest = np.unpackbits(tiles, axis=1).reshape(-1, 3, TILE_PX, TILE_PX)
        squares[:] = uppers << 1 | lowest.transpose(0, 2, 3, 1)


def find_grid(pixels: np.ndarray, key: bytes = b"") -> tuple[int, int] | None:
    """The first corner, left and top, of the grid that whole tiles of an image lie on, if any do.

    Looks at a small part of the pixels, HxWx3 uint8, of any layout. Tiles of other keys are not
    seen, nor may be a part of a large image that is less than a quarter of its height.
    """
    for x0, y0 in itertools.islice(_marks(pixels[..., 0]), _TRIES_MAX):
        if any(_read_row(pixels[y0 : y0 + TILE_PX, x0 : x0 + TILE_PX][None], key)):
            return x0 % TILE_PX, y0 % TILE_PX
    return None


def read_tiles(pixels: np.ndarray, key: bytes = b"") -> list[Tile]:
    """Find the whole tiles of an image, HxWx3 uint8, or of any part of one.

    All lie on one grid: that of the first one found, see :func:`find_grid`.
    """
    corner = find_grid(pixels, key)
    if corner is None:
        return []
    left, top = corner
    return [
        Tile(left + x * TILE_PX, top + y * TILE_PX, column, row, record)
        for y, squares in enumerate(_squares(pixels, left, top))
        for x, column, row, record in _read_row(squares, key)
    ]


def _read_row(squares: np.ndarray, key: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole tiles among squares Nx32x32x3: index, column, row and record of each."""
    lowest = (squares & 1).transpose(0, 3, 1, 2).reshape(len(squares), -1)
    contents = np.packbits(lowest, axis=1) ^ _NOISE
    uppers = np.ascontiguousarray(squares >> 1)
    for index in np.flatnonzero(~contents[:, :_MARK_BYTES].any(1)).tolist():
        content = contents[index, _MARK_BYTES:].tobytes()
        head, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if compare_digest(_digest(head, uppers[index], key), digest):
            row, column = _PLACE.unpack_from(head)
            yield index, column, row, head[_PLACE.size :]


def _marks(red: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where the mark of a tile lies, as x and y: in bands, of which each holds one row of marks."""
    height, width = red.shape
    if min(height, width) < TILE_PX:
        return
    last = max(0, height - 2 * TILE_PX + 1)
    bands = max(_BANDS_MIN, 1 + _SEARCHED_MAX // (TILE_PX * width))
    bands = min(1 + -(-last // TILE_PX), bands)
    places = width - TILE_PX + 1
    for start in np.linspace(0, last, bands).astype(int):
        words = red[start : min(start + TILE_PX, height - TILE_PX + 1)] & 1
        for length in (1, 2, 4):  # the word at x comes to hold the bits from x on
            words = (words[:, :-length] << length) | words[:, length:]
        y, x = np.divmod(np.flatnonzero(words == _NOISE[0]), words.shape[1])
        y, x = y[x < places], x[x < places]
        for index, byte in enumerate(_NOISE[1:_MARK_BYTES], 1):
            marked = words[y, x + 8 * index] == byte
            y, x = y[marked], x[marked]
        yield from zip(x.tolist(), (start + y).tolist(), strict=True)
