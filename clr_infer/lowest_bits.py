"""Records in the lowest bits of an image, one in each tile of 32x32 pixels.

A tile holds 384 bytes, channel by channel, row by row and the highest bit first: a mark of 32 bits,
which is its first row of red pixels, the place of the tile in the image, what it carries, and a
digest of all that. So each tile can be read without the others, wherever it has come to lie, and a
reader knows of each whether it is whole.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["ROOM_BYTES", "TILE_PX", "Tile", "grid_size", "read_tiles", "write_tiles"]

TILE_PX = 32
_TILE_BYTES = 3 * TILE_PX * TILE_PX // 8
_MARK_BYTES, _PLACE_BYTES, _DIGEST_BYTES = 4, 4, 8
ROOM_BYTES = _TILE_BYTES - _MARK_BYTES - _PLACE_BYTES - _DIGEST_BYTES
"""What a tile carries, in bytes."""

_NOISE = np.frombuffer(hashlib.shake_128(b"clr_infer: lowest bits").digest(_TILE_BYTES), np.uint8)
"""The mark, and what the rest is mixed with, so that no record shows as a pattern."""

_SEARCHED_MAX = 2**20
"""So many pixels are searched for marks, in bands that are spread over larger images."""


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


def _digest(head: bytes) -> bytes:
    return hashlib.blake2b(head, digest_size=_DIGEST_BYTES).digest()


def write_tiles(pixels: np.ndarray, records: np.ndarray) -> None:
    """Write a record into each tile of an image, in place.

    Args:
        pixels: HxWx3 uint8.
        records: rows x columns x :data:`ROOM_BYTES` uint8, for all of :func:`grid_size`.
    """
    rows, columns, _ = records.shape
    tiles = np.zeros((rows, columns, _TILE_BYTES), np.uint8)
    for row in range(rows):
        for column in range(columns):
            place = np.array([row, column], ">u2").tobytes()
            head = place + records[row, column].tobytes()
            tiles[row, column, _MARK_BYTES:] = np.frombuffer(head + _digest(head), np.uint8)
    bits = np.unpackbits(tiles ^ _NOISE, axis=2).reshape(rows, columns, 3, TILE_PX, TILE_PX)
    lowest = bits.transpose(0, 3, 1, 4, 2).reshape(rows * TILE_PX, columns * TILE_PX, 3)
    written = pixels[: lowest.shape[0], : lowest.shape[1]]
    written &= 0xFE
    written |= lowest


def read_tiles(pixels: np.ndarray) -> list[Tile]:
    """Find the whole tiles of an image, HxWx3 uint8, or of any part of one.

    All lie on one grid: that of the first one found.
    """
    height, width = pixels.shape[:2]
    for x, y in _marks(pixels[..., 0]):
        if _read(pixels[y : y + TILE_PX, x : x + TILE_PX]) is None:
            continue
        found = []
        for top in range(y % TILE_PX, height - TILE_PX + 1, TILE_PX):
            for left in range(x % TILE_PX, width - TILE_PX + 1, TILE_PX):
                tile = _read(pixels[top : top + TILE_PX, left : left + TILE_PX])
                if tile is not None:
                    found.append(Tile(left, top, *tile))
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


def _read(tile: np.ndarray) -> tuple[int, int, bytes] | None:
    """Column, row and record of a tile, 32x32x3 uint8; nothing if it is not a whole one."""
    content = (np.packbits(tile.transpose(2, 0, 1) & 1) ^ _NOISE).tobytes()
    head, digest = content[_MARK_BYTES:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if content[:_MARK_BYTES].strip(b"\0") or _digest(head) != digest:
        return None
    row, column = np.frombuffer(head[:_PLACE_BYTES], ">u2").tolist()
    return column, row, head[_PLACE_BYTES:]
