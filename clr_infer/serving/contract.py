"""What the image-level models take and give: shared by repository, models and client.

Bytes travel as UINT8 tensors, without the length prefix of Triton server's BYTES type: they fit
shared memory as they are.
"""

from dataclasses import dataclass
from typing import Any

from ..geometry import Box, Turn, crop_mask
from ..results import Located

__all__ = [
    "IMAGE_MODELS",
    "QUEUE_FULL",
    "RECOVERED_TIMES",
    "REFINE_MODEL",
    "ImageModelSpec",
    "Port",
    "located_from_json",
    "located_to_json",
]


QUEUE_FULL = "the queue is full"
"""What an image-level model says when it turns a request away."""


RECOVERED_TIMES = 4
"""So many times the pixels of a fragment its original is given room for, as where half of each side
was kept. What needs more still gets it."""


@dataclass(frozen=True)
class Port:
    """One tensor of an image-level model.

    Attributes:
        name: its name.
        dtype: as Triton server's protocol calls it.
        dims: its axes, -1 where free.
        meaning: unit and range, for people.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    meaning: str


@dataclass(frozen=True)
class ImageModelSpec:
    """An image-level model.

    Attributes:
        name: what it is served as.
        call: the method of :class:`clr_infer.Session` that it answers with.
        networks: the network-level models that it calls; none where it has its own.
        outputs: what it gives; only what a request asks for is made.
        parameters: names of the request parameters that it reads, with their meaning.
    """

    name: str
    call: str
    networks: tuple[str, ...]
    outputs: tuple[Port, ...]
    parameters: dict[str, str]

    inputs: tuple[Port, ...] = (
        Port(
            "image", "UINT8", (-1,), "a JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or PPM file's bytes"
        ),
        Port("pixels", "UINT8", (-1, -1, 3), "or the RGB pixels themselves, HxWx3"),
    )


_RESULT = Port("result", "UINT8", (-1,), "JSON, UTF-8: everything that is not pixels")
_IMAGE = Port("image", "UINT8", (-1,), "an encoded image file; one zero byte if there is none")
_PIXELS = Port("pixels", "UINT8", (-1, -1, 3), "RGB, HxWx3; 1x1x3 if there is none")
_CONFIDENCE = Port("confidence", "FP32", (1,), "that the image is protected, 0 to 1")
_BOX = Port("crop_box", "FP32", (4,), "x0, y0, x1, y1 in fractions of the original; 0 if none")

_UNCERTAINTY = Port(
    "uncertainty",
    "FP32",
    (-1, -1),
    "standard deviation of the error of each cell of the frame, in levels of 255; 1x1 if none",
)

_READING = {"frame": "which picture of an animation, from 0 (default: animations are refused)"}
_TURNED = {"turned": "true takes the time to look for mirrored, turned and very crooked pictures"}
_COPY = {"copy": "true also writes a copy of the original, for fragments that stay lossless"}
_WRITING = {
    "format": "of output image: png (default), jpeg, webp, tiff or bmp",
    "quality": "1 to 100, of jpeg and webp",
    "strip": "true drops EXIF and the colour profile",
}

_PROTECTING = {"strength": "PSNR in dB, 30 to 50, as a string", **_COPY, **_WRITING, **_READING}

IMAGE_MODELS = {
    spec.call: spec
    for spec in (
        ImageModelSpec(
            "clr_protect",
            "protect",
            ("protect",),
            (_IMAGE, _PIXELS, _RESULT),
            _PROTECTING,
        ),
        ImageModelSpec(
            "clr_locate",
            "locate",
            ("localize", "align", "recover"),
            (_CONFIDENCE, _BOX, _RESULT),
            {**_TURNED, **_READING},
        ),
        ImageModelSpec(
            "clr_recover",
            "recover",
            ("localize", "align", "recover"),
            (_IMAGE, _PIXELS, _UNCERTAINTY, _CONFIDENCE, _BOX, _RESULT),
            {**_TURNED, **_WRITING, **_READING},
        ),
        ImageModelSpec(
            "fg_jpeg",
            "fg_jpeg",
            ("fg_jpeg",),
            (_IMAGE, _PIXELS, _RESULT),
            {"qf": "quality factor, 1 to 100, as a string", **_WRITING, **_READING},
        ),
    )
}
"""The models of every repository, by the session's method that they answer with."""

REFINE_MODEL = ImageModelSpec(
    "clr_refine",
    "protect",
    (),
    (_IMAGE, _PIXELS, _RESULT),
    {"refine": "steps to improve the payload by, 1 to 1000", **_PROTECTING},
)
"""Protects one image at a time, in seconds to minutes; served where it is asked for."""


def located_to_json(located: Located) -> dict[str, Any]:
    """The plain values of a result, nothing rounded; the mask follows from them."""
    return {
        "protected": located.protected,
        "confidence": located.confidence,
        "crop_box": located.crop_box,
        "box_px": located.box_px,
        "canvas_px": located.canvas_px,
        "picture_px": located.picture_px,
        "turn": located.turn,
        "timings_ms": located.timings_ms,
        "by_copy": located.by_copy,
        "altered_px": located.altered_px,
    }


def located_from_json(values: dict[str, Any]) -> Located:
    """The result again, see :func:`located_to_json`."""
    timings = values["timings_ms"]
    if not values["protected"]:
        return Located(False, values["confidence"], None, None, None, None, timings_ms=timings)
    x0, y0, x1, y1 = values["box_px"]
    width, height = values["canvas_px"]
    left, top, right, bottom = values["picture_px"]
    # Servers from before it say nothing of copies.
    altered = tuple((x, y, to_x, to_y) for x, y, to_x, to_y in values.get("altered_px", ()))
    return Located(
        True,
        values["confidence"],
        Box(*values["crop_box"]),
        (x0, y0, x1, y1),
        (width, height),
        crop_mask((x0, y0, x1, y1), width, height, altered),
        (left, top, right, bottom),
        Turn(*values["turn"]),
        timings,
        values.get("by_copy", False),
        altered,
    )
