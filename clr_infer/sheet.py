"""Pictures of results: contact sheets, overlays, residuals."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .geometry import crop_mask
from .preprocess import to_pixels

__all__ = ["HEAT_LEVELS", "contact_sheet", "heat", "magnified_residual", "overlay"]

_CAPTION_PX = 26
_GAP_PX = 8
_FOUND = (255, 70, 70)
_TRUE = (60, 230, 110)

HEAT_LEVELS = 64
"""What :func:`heat` shows in the brightest colour: an error of so many levels."""

_HEAT = np.array([(8, 10, 44), (76, 29, 128), (190, 55, 92), (246, 135, 40), (252, 247, 160)])
"""From no error to the largest, in equal steps, ever lighter."""


def magnified_residual(original: np.ndarray, protected: np.ndarray, gain: float = 10) -> np.ndarray:
    """The difference of two images, HxWx3 uint8, amplified around middle gray."""
    difference = np.subtract(protected, original, dtype=np.float32)
    difference *= gain
    difference += 128.0
    return np.clip(np.rint(difference, out=difference), 0, 255, out=difference).astype(np.uint8)


def heat(levels: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw an error, or what is expected of it, in colours around the received pixels in gray.

    Args:
        levels: HxW, 0 to 255; :data:`HEAT_LEVELS` and more are the brightest.
        image: HxWx3 uint8, for what was received.
        mask: HxW, above 0 where that is.

    Returns:
        HxWx3 uint8.
    """
    known = np.linspace(0, HEAT_LEVELS, len(_HEAT))
    colours = np.stack([np.interp(np.arange(256), known, one) for one in _HEAT.T], axis=-1)
    if levels.dtype != np.uint8:
        levels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    drawn = Image.fromarray(levels)
    drawn.putpalette(np.rint(colours).astype(np.uint8).tobytes())
    gray = Image.fromarray(image).convert("L").point(lambda gray: 60 + 0.6 * gray)
    drawn = drawn.convert("RGB")
    drawn.paste(gray, mask=Image.fromarray(mask > 0))
    return to_pixels(drawn)


def overlay(
    image: np.ndarray,
    found_px: tuple[int, int, int, int] | None,
    true_px: tuple[int, int, int, int] | None = None,
    altered_px: Iterable[tuple[int, int, int, int]] = (),
) -> np.ndarray:
    """Draw the found box (red) and, if known, the true one (green) on HxWx3 uint8.

    What lies outside the found box, or was altered, is reconstructed, and is dimmed a little to say
    so.
    """
    picture = Image.fromarray(image)
    if found_px is not None:
        received = crop_mask(found_px, *picture.size, altered_px)
        dimmed = picture.point(3 * [int(0.72 * level + 24.0) for level in range(256)])
        dimmed.paste(picture, mask=Image.fromarray(received))
        picture = dimmed
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 250))
    if true_px is not None:
        _frame(draw, true_px, _TRUE, width + 2)
    if found_px is not None:
        _frame(draw, found_px, _FOUND, width)
    return to_pixels(picture)


def _frame(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour, width: int) -> None:  # noqa: ANN001
    x0, y0, x1, y1 = box
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=width)


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]], tile_px: int = 420
) -> np.ndarray:
    """Lay images out in rows under captions.

    Args:
        rows: of (caption, image HxWx3 uint8).
        tile_px: width that every image is resized to.

    Returns:
        The sheet, HxWx3 uint8, on white.
    """
    font = ImageFont.load_default(15)
    laid: list[list[tuple[str, Image.Image]]] = []
    for row in rows:
        tiles: list[tuple[str, Image.Image]] = []
        for caption, image in row:
            height = max(1, round(image.shape[0] * tile_px / image.shape[1]))
            tile = Image.fromarray(image).resize((tile_px, height), Image.Resampling.LANCZOS)
            tiles.append((caption, tile))
        laid.append(tiles)
    heights = [max(tile.height for _, tile in tiles) + _CAPTION_PX + _GAP_PX for tiles in laid]
    columns = max(len(tiles) for tiles in laid)
    size = (columns * (tile_px + _GAP_PX) + _GAP_PX, sum(heights) + _GAP_PX)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP_PX
    for tiles, height in zip(laid, heights, strict=True):
        for column, (caption, tile) in enumerate(tiles):
            left = _GAP_PX + column * (tile_px + _GAP_PX)
            draw.text((left, top + 4), caption, fill="black", font=font)
            sheet.paste(tile, (left, top + _CAPTION_PX))
        top += height
    return to_pixels(sheet)
