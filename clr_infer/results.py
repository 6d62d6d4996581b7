"""What the three calls give back: frozen, with numpy arrays and plain values only.

Results are compared as objects: they hold arrays, which have no one answer to "equal".
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .geometry import UPRIGHT, Box, Turn

__all__ = ["Located", "Protected", "Recovered", "Simulated"]


@dataclass(frozen=True, eq=False)
class Protected:
    """A protected image.

    Attributes:
        image: HxWx3 uint8, the size of the original.
        psnr_db: PSNR of ``image`` to the original, measured on its 8-bit pixels.
        timings_ms: milliseconds of each stage.
        copy_psnr_db: PSNR to the original of the copy that was written into the image; ``None`` if
            there is none.
    """

    image: np.ndarray
    psnr_db: float
    timings_ms: dict[str, float] = field(default_factory=dict)
    copy_psnr_db: float | None = None


@dataclass(frozen=True, eq=False)
class Located:
    """Where a received image lay in its original.

    Attributes:
        protected: the verdict: does the image carry a protection?
        confidence: of the verdict "protected" and of the box, 0 to 1.
        crop_box: fractions of the original frame; ``None`` without protection.
        box_px: the box in whole pixels of the canvas; ``None`` without protection.
        canvas_px: width and height of the original frame at the received image's pixel scale.
        mask: canvas height x width uint8, 255 where the received image shows the original.
        picture_px: x0, y0, x1, y1, the part of the received image that shows the original: all of
            it, or what lies within a plain border, or within anything else that is no part of it,
            as a copy tells; ``None`` without protection.
        turn: what sets that part upright, as it lies in the original, see :func:`.turns.upright`.
        timings_ms: milliseconds of each stage.
        by_copy: the place was read from a fragile copy, exact to the pixel, see
            :mod:`.fragile_copy`.
        altered_px: boxes within ``box_px`` that do not show the original any more, as tiles of a
            copy tell that are not whole. Nothing is known of what belongs to no whole tile, up to
            31 pixels along the edges, and without a copy nothing at all.
    """

    protected: bool
    confidence: float
    crop_box: Box | None
    box_px: tuple[int, int, int, int] | None
    canvas_px: tuple[int, int] | None
    mask: np.ndarray | None
    picture_px: tuple[int, int, int, int] | None = None
    turn: Turn = UPRIGHT
    timings_ms: dict[str, float] = field(default_factory=dict)
    by_copy: bool = False
    altered_px: tuple[tuple[int, int, int, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The plain values, as the command line prints them."""
        box = None if self.crop_box is None else [round(v, 6) for v in self.crop_box]
        return {
            "protected": self.protected,
            "confidence": round(self.confidence, 6),
            "crop_box": box,
            "canvas_px": None if self.canvas_px is None else list(self.canvas_px),
            "picture_px": None if self.picture_px is None else list(self.picture_px),
            "turn": {"mirrored": self.turn.mirrored, "degrees": round(self.turn.degrees, 3)},
            "located_by_copy": self.by_copy,
            "altered_px": [list(box) for box in self.altered_px],
        }


@dataclass(frozen=True, eq=False)
class Recovered:
    """The original as far as it can be recovered.

    Attributes:
        image: canvas height x width x 3 uint8: the received pixels where the mask has any, what
            the network or a copy shows elsewhere; ``None`` without protection. What was altered and
            no copy shows is guessed from what lies around it, see :mod:`.fill`.
        located: verdict, box, canvas and mask; the mask tells the two kinds of pixels apart.
        timings_ms: milliseconds of each stage, localization included.
        cell_uncertainty: rows x columns float32 over the whole frame: the standard deviation, in
            levels of 255, that the network expects of its error in each cell, given that the box
            is right; ``None`` without protection. Of a copy it is the deviation measured when the
            copy was made, the same in each cell.
        from_copy: what was cropped away is shown as a fragile copy has it, not as the networks do.
    """

    image: np.ndarray | None
    located: Located
    timings_ms: dict[str, float] = field(default_factory=dict)
    cell_uncertainty: np.ndarray | None = None
    from_copy: bool = False

    @cached_property
    def uncertainty(self) -> np.ndarray | None:
        """How far off each pixel may be: canvas height x width uint8.

        The standard deviation of a reconstructed pixel's error in levels, 1 to 255; 0 where pixels
        were received. ``None`` without protection.
        """
        place = self.located
        if self.cell_uncertainty is None or place.mask is None:
            return None
        from .uncertainty import spread_cells  # takes Pillow, which a client does without

        return spread_cells(self.cell_uncertainty, place.mask)

    @cached_property
    def expected_psnr_db(self) -> float | None:
        """PSNR in dB to expect of the cropped-out area; ``None`` where nothing was cropped away."""
        place = self.located
        if self.cell_uncertainty is None or place.crop_box is None or place.canvas_px is None:
            return None
        if place.box_px == (0, 0, *place.canvas_px):
            return None
        from .uncertainty import expected_psnr_db

        return expected_psnr_db(self.cell_uncertainty, place.crop_box)

    def as_dict(self) -> dict[str, Any]:
        """The plain values, as the command line prints them."""
        expected = self.expected_psnr_db
        rounded = None if expected is None else round(expected, 2)
        return {
            **self.located.as_dict(),
            "expected_psnr_db": rounded,
            "recovered_from_copy": self.from_copy,
        }


@dataclass(frozen=True, eq=False)
class Simulated:
    """An image as JPEG would leave it.

    Attributes:
        image: HxWx3 uint8, the size of what was given.
        timings_ms: milliseconds of each stage.
    """

    image: np.ndarray
    timings_ms: dict[str, float] = field(default_factory=dict)
