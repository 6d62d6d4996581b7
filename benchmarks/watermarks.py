"""Open watermarking libraries on the same crops: what they can do after a crop, and what not.

    python -m venv .venv-watermarks
    .venv-watermarks/bin/pip install -c constraints.txt . invisible-watermark blind-watermark torch
    .venv-watermarks/bin/python benchmarks/watermarks.py PHOTOS -o \
        benchmarks/results/watermarks_kodak.json

These libraries carry a message, 32 bits here; they neither say where a fragment lay nor show what
was cut away. ``blind_watermark`` finds the place by template matching if the ORIGINAL is at hand;
with it, its message is read from a canvas that the fragment was laid back into, as its own
documentation does. Each library at its default strength, messages drawn once an image.

With new weights, ``--only-ours`` measures our own row anew and keeps the libraries' rows, which do
not depend on them.
"""

import argparse
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from blind_watermark import WaterMark, bw_notes
from blind_watermark.recover import estimate_crop_parameters, recover_crop
from imwatermark import WatermarkDecoder, WatermarkEncoder
from PIL import Image
from tqdm import tqdm

import clr_infer
from clr_infer.attacks import real
from clr_infer.bench.facts import commit
from clr_infer.evaluate import metrics, protocol
from clr_infer.evaluate.case import Original, Truth, recover, shown
from clr_infer.geometry import FULL_FRAME, Box, box_iou

BITS = 32
CONDITIONS = {
    "uncropped-jpeg80": "not cropped, JPEG 80",
    "clean": "crop only",
    "jpeg80": "crop, JPEG 80",
    "jpeg60": "crop, JPEG 60",
    "resize0.5-jpeg80": "crop, x0.5, JPEG 80",
}
NAMES = {
    "dwtDct": "invisible-watermark, dwtDct",
    "dwtDctSvd": "invisible-watermark, dwtDctSvd",
    "rivaGan": "invisible-watermark, rivaGan",
    "blind_watermark": "blind-watermark",
    "blind_watermark+original": "blind-watermark, original at hand",
}

Bits = np.ndarray


def _bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def _invisible(method: str) -> tuple[Callable, Callable]:
    """Embed and read of a method of invisible-watermark; images HxWx3 uint8 RGB."""

    def embed(image: np.ndarray, bits: Bits) -> np.ndarray:
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", bits.tolist())
        return _bgr(encoder.encode(_bgr(image), method))

    def read(received: np.ndarray) -> Bits:
        return np.array(WatermarkDecoder("bits", BITS).decode(_bgr(received), method))

    return embed, read


def _blind_embed(image: np.ndarray, bits: Bits) -> np.ndarray:
    mark = WaterMark()
    mark.read_img(img=_bgr(image))
    mark.read_wm(bits.astype(bool), mode="bit")
    return _bgr(np.clip(np.rint(mark.embed()), 0, 255).astype(np.uint8))


def _blind_read(received: np.ndarray) -> Bits:
    return np.array(WaterMark().extract(embed_img=_bgr(received), wm_shape=BITS, mode="bit"))


def _laid_back(received: np.ndarray, marked: np.ndarray, scaled: bool) -> tuple[np.ndarray, Box]:
    """The fragment in a canvas of the original's size, where template matching finds it."""
    gray = [cv2.cvtColor(_bgr(one), cv2.COLOR_BGR2GRAY) for one in (marked, received)]
    scale = (0.5, 2.0) if scaled else (1, 1)
    place, shape, _, _ = estimate_crop_parameters(ori_img=gray[0], tem_img=gray[1], scale=scale)
    canvas = recover_crop(tem_img=_bgr(received), loc=place, image_o_shape=shape)
    height, width = shape[:2]
    box = Box(place[0] / width, place[1] / height, place[2] / width, place[3] / height)
    return _bgr(np.clip(np.rint(canvas), 0, 255).astype(np.uint8)), box


def _received(image: np.ndarray, name: str, index: int, box: Box) -> np.ndarray:
    if name == "uncropped-jpeg80":
        condition, box = protocol.CONDITIONS["jpeg80"], FULL_FRAME
    else:
        condition = protocol.CONDITIONS[name]
    return real.apply(image, condition.chain(box), np.random.default_rng(index))


def _case(bits: Bits, read: Bits | None, iou: float | None) -> dict:
    """What came back; a library that refused the fragment has no bits and no whole message."""
    right = None if read is None else float((read.astype(int) == bits).mean())
    return {"bits_right": right, "whole_message": right == 1.0, "iou": iou, "psnr_out": None}


def _safely(read: Callable, received: np.ndarray) -> Bits | None:
    """``None`` where a library refuses a fragment: too small, most often."""
    try:
        return read(received)
    except (RuntimeError, AssertionError, ValueError, IndexError, cv2.error):
        return None


def _crop(index: int, image: np.ndarray) -> protocol.Crop:
    kept = protocol.paired_kept(index, protocol.MAIN_KEPT)
    return protocol.draw_crop(0, index, kept, image.shape[1], image.shape[0])


def measure_libraries(index: int, image: np.ndarray) -> dict:
    """The libraries on one image: PSNR of the marked image and, by condition, what came back."""
    bits = np.random.default_rng([7, index]).integers(0, 2, BITS)
    crop = _crop(index, image)
    methods = {name: _invisible(name) for name in ("dwtDct", "dwtDctSvd", "rivaGan")}
    methods["blind_watermark"] = (_blind_embed, _blind_read)
    found: dict = {}
    for name, (embed, read) in methods.items():
        marked = embed(image, bits)
        rows, with_original = {}, {}
        for condition in CONDITIONS:
            received = _received(marked, condition, index, crop.box)
            rows[condition] = _case(bits, _safely(read, received), None)
            if name == "blind_watermark":
                truth = FULL_FRAME if condition.startswith("uncropped") else crop.box
                canvas, box = _laid_back(received, image, "resize" in condition)
                with_original[condition] = _case(bits, _safely(read, canvas), box_iou(box, truth))
        found[name] = {"psnr": metrics.psnr(image, marked), "cases": rows}
        if with_original:
            found[f"{name}+original"] = found[name] | {"cases": with_original}
    return found


def measure_ours(session: clr_infer.Session, index: int, image: np.ndarray) -> dict:
    """The same of our own method; a fragment that is not found counts as its mean colour."""
    truth = Truth(Original(image), _crop(index, image))
    protected = session.protect(image).image
    rows = {}
    for condition in CONDITIONS:
        received = _received(protected, condition, index, truth.crop.box)
        answer, out = recover(session, received), None
        box = FULL_FRAME if condition.startswith("uncropped") else truth.crop.box
        if box is not FULL_FRAME:
            whole = shown(answer, received, truth.original.size)
            out = metrics.psnr_outside(image, whole, truth.seen)
        iou = box_iou(answer.crop_box, box) if answer.crop_box else 0.0
        rows[condition] = {"bits_right": None, "whole_message": None, "iou": iou, "psnr_out": out}
    return {"clr_infer": {"psnr": metrics.psnr(image, protected), "cases": rows}}


def _mean(values: list) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 6) if known else None


def summarise(measured: list[dict]) -> list[dict]:
    """One row a method: means, and the share of whole messages, by condition."""
    rows = []
    for name in measured[0]:
        own = [one[name] for one in measured]
        by_condition = {}
        for condition in CONDITIONS:
            cases = [one["cases"][condition] for one in own]
            keys = ("bits_right", "whole_message", "iou", "psnr_out")
            by_condition[condition] = {key: _mean([case[key] for case in cases]) for key in keys}
            by_condition[condition]["refused"] = sum(
                case["bits_right"] is None and case["whole_message"] is False for case in cases
            )
        label = NAMES.get(name, name)
        psnr = _mean([one["psnr"] for one in own])
        rows.append({"name": name, "label": label, "psnr": psnr, "by_condition": by_condition})
    return rows


def main() -> None:
    """Measure all photographs of a folder and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only-ours", action="store_true", help="keep the libraries' rows of FILE")
    args = parser.parse_args()
    before = json.loads(args.output.read_text("utf-8")) if args.only_ours else None
    bw_notes.close()
    WatermarkEncoder.loadModel()
    WatermarkDecoder.loadModel()
    files = [p for p in sorted(args.photos.iterdir()) if p.suffix in (".png", ".jpg")]
    session = clr_infer.load("onnxruntime")
    measured = []
    for index, file in enumerate(tqdm(files[: args.limit], unit="image")):
        image = np.asarray(Image.open(file).convert("RGB"))
        theirs = {} if before else measure_libraries(index, image)
        measured.append(theirs | measure_ours(session, index, image))
    libraries = ("invisible-watermark", "blind-watermark", "opencv-python", "numpy", "torch")
    methods = summarise(measured)
    if before:
        if before["images"] != len(measured) or before["conditions"] != CONDITIONS:
            raise SystemExit(f"{args.output} is of other images or conditions: measure everything")
        methods = [row for row in before["methods"] if row["name"] != "clr_infer"] + methods
    result = {
        "kind": "watermarks",
        "commit": commit(),
        "weights": session.weights.manifest["files"],
        "versions": before["versions"] if before else {name: version(name) for name in libraries},
        "bits": BITS,
        "images": len(measured),
        "conditions": CONDITIONS,
        "methods": methods,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
