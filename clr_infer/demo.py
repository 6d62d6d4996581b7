"""The main job on one photograph, from end to end, with a contact sheet to look at."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .attacks.real import apply
from .attacks.steps import Chain, parse_chain
from .errors import OutputError, UsageError
from .evaluate.baselines import fill_baselines
from .evaluate.metrics import psnr_outside, squared_error
from .geometry import FULL_FRAME, Box, box_iou, box_to_pixels, crop_mask
from .image_io import encode_image, write_bytes
from .preprocess import resize_pixels
from .session import Session
from .sheet import HEAT_LEVELS, contact_sheet, heat, magnified_residual, overlay
from .turns import upright

__all__ = ["DEMO_STEPS", "Demo", "run_demo"]

DEMO_STEPS = "crop=0.04,0.16,0.76,0.95 jpeg=80"
_NUMBERS = "numbers.json"
_MOVES = {"crop", "mirror", "rotate", "border"}
"""Steps after which a crop would be in a frame that is not the original's."""


@dataclass(frozen=True)
class Demo:
    """What came out.

    Attributes:
        numbers: the figures, as plain values.
        images: by name, HxWx3 uint8.
        received: the received file as its real codec wrote it.
    """

    numbers: dict[str, Any]
    images: dict[str, np.ndarray]


def _true_box(chain: Chain, width: int, height: int) -> Box:
    """The crop box of a chain in whole pixels of the frame; the whole frame without a crop."""
    box = FULL_FRAME
    for step in chain:
        if step.name == "crop":
            x0, y0, x1, y1 = box_to_pixels(Box(*step.values), width, height)
            box = Box(x0 / width, y0 / height, x1 / width, y1 / height)
    return box


def run_demo(
    session: Session, original: np.ndarray, steps: str = DEMO_STEPS, turned: bool = False
) -> Demo:
    """Protect, attack with real codecs, locate and recover one image, and measure all of it.

    Args:
        session: the networks.
        original: HxWx3 uint8.
        steps: the attack; a crop before anything that moves the picture, and only one.
        turned: look for fragments that do not lie upright, see :meth:`.Session.locate`.

    Raises:
        ImageError: the image cannot be used.
        InputError: ``steps`` cannot be read.
        UsageError: a crop comes after a step that moves the picture.
    """
    chain = parse_chain(steps)
    names = [step.name for step in chain]
    if any(name == "crop" and _MOVES & set(names[:at]) for at, name in enumerate(names)):
        raise UsageError("a demo takes one crop, before the picture is mirrored, turned or framed")
    session.recover(session.protect(original).image)  # warm-up: the timings below are warm
    protected = session.protect(original)
    received = apply(protected.image, chain, np.random.default_rng(0))
    result = session.recover(received, turned=turned)
    located = result.located
    height, width = original.shape[:2]
    true_box = _true_box(chain, width, height)
    true_px = box_to_pixels(true_box, width, height)
    numbers: dict[str, Any] = {
        "image_px": [width, height],
        "steps": steps,
        "protected_psnr_db": round(protected.psnr_db, 2),
        "true_box": [round(v, 4) for v in true_box],
        **result.as_dict(),
        "timings_ms": {
            "protect": round(sum(protected.timings_ms.values()), 1),
            "recover": round(sum(result.timings_ms.values()), 1),
        },
    }
    images = {"original": original, "protected": protected.image, "received": received}
    images["residual_x10"] = magnified_residual(original, protected.image)
    if result.image is None or located.crop_box is None or located.box_px is None:
        return Demo(numbers, images)
    numbers["iou"] = round(box_iou(located.crop_box, true_box), 4)
    assert located.canvas_px is not None and located.picture_px is not None
    left, top, right, bottom = located.picture_px
    fragment = upright(received[top:bottom, left:right], located.turn)
    seen = crop_mask(true_px, width, height) > 0
    if not seen.all():
        fills = fill_baselines(fragment, true_px, width, height)
        fills["recovered"] = resize_pixels(result.image, width, height)
        numbers["cropped_out_psnr_db"] = {
            name: round(psnr_outside(original, fill, seen), 2) for name, fill in fills.items()
        }
    images["recovered"] = result.image
    assert result.uncertainty is not None and located.mask is not None
    images["uncertainty"] = heat(result.uncertainty, result.image, located.mask)
    there = resize_pixels(original, *result.image.shape[1::-1])
    error = np.sqrt(squared_error(there, result.image) / 3.0)
    images["error"] = heat(error, result.image, located.mask)
    placed = np.full((located.canvas_px[1], located.canvas_px[0], 3), 255, np.uint8)
    x0, y0, x1, y1 = located.box_px
    placed[y0:y1, x0:x1] = fragment
    images["located"] = overlay(placed, located.box_px, box_to_pixels(true_box, *located.canvas_px))
    return Demo(numbers, images)


def sheet(demo: Demo) -> np.ndarray:
    """The contact sheet of a demo, HxWx3 uint8."""
    numbers, images = demo.numbers, demo.images
    size = "{}x{}".format(*numbers["image_px"])
    captions = {
        "original": f"original, {size}",
        "protected": f"protected, {numbers['protected_psnr_db']} dB",
        "residual_x10": "10x residual",
        "received": f"received: {numbers['steps']}",
        "located": f"located (red), truth (green): IoU {numbers.get('iou')}",
        "recovered": "recovered from the fragment alone",
        "uncertainty": f"how far off it expects to be: 0 to {HEAT_LEVELS} levels",
        "error": "how far off it is",
    }
    tiles = [(caption, images[name]) for name, caption in captions.items() if name in images]
    return contact_sheet([row for row in (tiles[:4], tiles[4:]) if row])


def write_demo(demo: Demo, folder: Path) -> list[str]:
    """Write every image, ``sheet.png`` and ``numbers.json``; returns the names.

    Raises:
        OutputError: the folder cannot be written, or holds one of these that is not of a demo.
    """
    files = {
        f"{name}.png": encode_image(image, format="PNG") for name, image in demo.images.items()
    }
    files["sheet.png"] = encode_image(sheet(demo), format="PNG")
    there = [name for name in files if (folder / name).exists()]
    if there and not (folder / _NUMBERS).exists():
        raise OutputError(f"{folder} holds {', '.join(there)}, and no demo: take another folder")
    # First, so that a folder that was left half-written is known as a demo's.
    files = {_NUMBERS: (json.dumps(demo.numbers, indent=1) + "\n").encode(), **files}
    for name, content in files.items():
        write_bytes(folder / name, content, force=True)
    return list(files)


def describe(demo: Demo) -> str:
    """The figures of a demo in a few lines."""
    n = demo.numbers
    lines = [
        f"protected PSNR   {n['protected_psnr_db']} dB",
        f"attack           {n['steps']}",
        f"verdict          {'protected' if n['protected'] else 'not protected'}, "
        f"confidence {n['confidence']:.3f}",
        f"true box         {n['true_box']}",
    ]
    if n["crop_box"] is not None:
        found = [round(v, 4) for v in n["crop_box"]]
        lines.append(f"found box        {found}, IoU {n['iou']}")
    for name, value in n.get("cropped_out_psnr_db", {}).items():
        lines.append(f"cropped-out PSNR {value:6.2f} dB  {name.replace('_', ' ')}")
    if n["expected_psnr_db"] is not None:
        lines.append(f"expected of it   {n['expected_psnr_db']:6.2f} dB")
    times = n["timings_ms"]
    lines.append(f"time             protect {times['protect']} ms, recover {times['recover']} ms")
    return "\n".join(lines)
