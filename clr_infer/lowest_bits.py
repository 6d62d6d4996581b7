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

__all__ = ["ROOM_BYTES", "TILE_PX", "Tile", "grid_size", "read_tiles", "write_tiles"]

TILE_PX = 32
_TILE_BYTES = 3 * TILE_PX * TILE_PX // 8
_MARK_BYTES, _DIGEST_BYTES = 4, 8
_PLACE = struct.Struct(">HH")
"""The row and the column."""

ROOM_BYTES = _TILE_BYTES - _MARK_BYTES - _PLACE.size - _DIGEST_BYTES
"""What a tile carries, in bytes."""

_NOISE = np.frombuffer(hashlib.shake_128(b"clr_infer: lowest bits").digest(_TILE_BYTES), np.uint8)
"""The mark, and what the rest is mixed with, so that no record shows as a pattern."""

_SEARCHED_MAX = 2**22
"""So many pixels are searched for marks, in bands that are spread over larger images."""

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


def _digest(head: bytes, tile: np.ndarray, key: bytes) -> bytes:
    """The digest of a place with its record, and of all but the lowest bits of a tile, 32x32x3."""
    content = head + (tile >> 1).tobytes()
    secret = hashlib.blake2b(key).digest() if key else b""  # of any length
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, key=secret).digest()


def _squares(pixels: np.ndarray, left: int, top: int) -> np.ndarray:
    """The squares of an image on the grid from a corner: rows x columns x 32x32x3, a view."""
    columns, rows = grid_size(pixels.shape[1] - left, pixels.shape[0] - top)
    part = pixels[top : top + rows * TILE_PX, left : left + columns * TILE_PX]
    return part.reshape(rows, TILE_PX, columns, TILE_PX, 3).swapaxes(1, 2)


def write_tiles(pixels: np.ndarray, records: np.ndarray, key: bytes = b"") -> None:
    """Write a record into each tile of an image, in place.

    Args:
        pixels: HxWx3 uint8.
        records: rows x columns x :data:`ROOM_BYTES` uint8, for all of :func:`grid_size`.
        key: of the digests; none if empty.
    """
    rows, columns, _ = records.shape
    squares = _squares(pixels, 0, 0)
    tiles = np.zeros((rows, columns, _TILE_BYTES), np.uint8)
    for row, column in np.ndindex(rows, columns):
        head = _PLACE.pack(row, column) + records[row, column].tobytes()
        content = head + _digest(head, squares[row, column], key)
        tiles[row, column, _MARK_BYTES:] = np.frombuffer(content, np.uint8)
    bits = np.unpackbits(tiles ^ _NOISE, axis=2).reshape(rows, columns, 3, TILE_PX, TILE_PX)
    lowest = bits.transpose(0, 3, 1, 4, 2).reshape(rows * TILE_PX, columns * TILE_PX, 3)
    written = pixels[: lowest.shape[0], : lowest.shape[1]]
    written &= 0xFE
    written |= lowest


def read_tiles(pixels: np.ndarray, key: bytes = b"") -> list[Tile]:
    """Find the whole tiles of an image, HxWx3 uint8, or of any part of one.

    All lie on one grid: that of the first one found. Those of other keys are not seen, nor may be
    a part of an image of many megapixels that is less than a hundred pixels high.
    """
    for x, y in itertools.islice(_marks(pixels[..., 0]), _TRIES_MAX):
        if _read(pixels[y : y + TILE_PX, x : x + TILE_PX], key) is None:
            continue
        left, top = x % TILE_PX, y % TILE_PX
        squares, found = _squares(pixels, left, top), []
        for row, column in np.ndindex(squares.shape[:2]):
            tile = _read(squares[row, column], key)
            if tile is not None:
                found.append(Tile(left + column * TILE_PX, top + row * TILE_PX, *tile))
        return found
    return []


def _marks(red: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where the mark of a tile lies, as x and y: in bands, of which each holds one row of marks."""
    height, width = red.shape
    if min(height, width) < TILE_PX:
        return
    last = max(0, height - 2 * TILE_PX + 1)
    bands = min(1 + -(-last // TILE_PX), 1 + _SEARCHED_MAX // (TILE_PX * width))
    for start in np.linspace(0, last, bands).astype(int):
        words = red[start : min(start + TILE_PX, height - TILE_PX + 1)] & 1
        for length in (1, 2, 4):  # the word at x comes to hold the bits from x on
            words = (words[:, :-length] << length) | words[:, length:]
        places = width - TILE_PX + 1
        marked = np.ones((len(words), places), bool)
        for index, byte in enumerate(_NOISE[:_MARK_BYTES]):
            marked &= words[:, 8 * index : 8 * index + places] == byte
        for y, x in np.argwhere(marked):
            yield int(x), int(start + y)


def _read(tile: np.ndarray, key: bytes) -> tuple[int, int, bytes] | None:
    """Column, row and record of a tile, 32x32x3 uint8; nothing if it is not a whole one."""
    content = (np.packbits(tile.transpose(2, 0, 1) & 1) ^ _NOISE).tobytes()
    head, digest = content[_MARK_BYTES:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if content[:_MARK_BYTES].strip(b"\0") or not compare_digest(_digest(head, tile, key), digest):
        return None
    row, column = _PLACE.unpack_from(head)
    return column, row, head[_PLACE.size :]
