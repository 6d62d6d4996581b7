"""What a precision costs end to end: the same pictures and crops through both sets of networks.

Few cases and few measures, so that an export can afford to wait for them; the published numbers
are those of :func:`.run.evaluate`. Needs no SciPy.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..attacks.real import apply, libjpeg
from ..attacks.steps import Chain, Step, parse_chain
from ..errors import InputError
from ..preprocess import check_pixels, to_frame
from ..processor import multiplies_int8
from ..runtimes import why_not
from ..session import Session, load
from ..weights import Weights
from .case import Original, Truth, place, recover, shown
from .metrics import psnr, psnr_outside
from .protocol import draw_crop

__all__ = ["CHAINS", "MEASURES", "PrecisionCheck", "measure_quality", "quality_lost"]

MEASURES = ("protected_psnr_db", "box_iou", "cropped_out_psnr_db", "fg_jpeg_psnr_db")
"""Means over all cases: PSNR of the protected image, IoU of the box (0 where an image was not
found to be protected), PSNR of what was cropped away, PSNR of FG-JPEG to the real codec."""

CHAINS = ("", "jpeg=80")
"""What happens after the crop."""

_KEPT = (0.84, 0.63)
_QUALITIES = (50, 90)


def _crops(
    session: Session, index: int, original: np.ndarray, protected: np.ndarray, chains: list[Chain]
) -> list[tuple[float, float]]:
    whole = Original(original)
    measured = []
    for kept in _KEPT:
        truth = Truth(whole, draw_crop(0, index, kept, *whole.size))
        for chain in chains:
            steps = (Step("crop", tuple(truth.crop.box)), *chain)
            received = apply(protected, steps, np.random.default_rng(index))
            answer = recover(session, received)
            image = shown(answer, received, whole.size)
            iou = place(truth, answer)["iou"]
            measured.append((iou, psnr_outside(original, image, truth.seen)))
    return measured


def _simulation(session: Session, original: np.ndarray) -> list[float]:
    frame = to_frame(original, session.runtime.size)
    pixels = np.rint(frame * 255.0).astype(np.uint8).transpose(1, 2, 0)
    measured = []
    for qf in _QUALITIES:
        inputs = {"image": frame[None], "qf": np.array([qf], np.float32)}
        simulated = session.runtime.run("fg_jpeg", inputs)["simulated"][0]
        levels = np.rint(simulated * 255.0).astype(np.uint8).transpose(1, 2, 0)
        measured.append(psnr(levels, libjpeg(np.ascontiguousarray(pixels), qf, "4:2:0")))
    return measured


def measure_quality(
    session: Session, images: Sequence[np.ndarray], label: str = "quality"
) -> dict[str, float]:
    """Protect, crop, compress, locate and recover pictures; simulate JPEG on them.

    Args:
        session: what is measured.
        images: HxWx3 uint8 each.
        label: of the progress bar.

    Returns:
        The means, by the names of :data:`MEASURES`.

    Raises:
        InputError: there are no images.
        ImageError: an image cannot be used.
    """
    if not images:
        raise InputError("measuring quality needs at least one image")
    chains = [parse_chain(text) for text in CHAINS]
    visible, found, simulated = [], [], []
    for index, image in enumerate(tqdm(images, desc=label, unit="image", disable=None)):
        original = check_pixels(image, session.settings)
        protected = session.protect(original).image
        visible.append(psnr(original, protected))
        found += _crops(session, index, original, protected, chains)
        simulated += _simulation(session, original)
    iou, recovered = np.array(found).mean(0)
    means = (np.mean(visible), iou, recovered, np.mean(simulated))
    return {name: round(float(value), 4) for name, value in zip(MEASURES, means, strict=True)}


class PrecisionCheck:
    """Measures folders of weights against the eager networks they come from.

    Args:
        weights: with safetensors; measured with PyTorch when first needed.
        images: HxWx3 uint8 each.
    """

    def __init__(self, weights: Weights, images: Sequence[np.ndarray]) -> None:
        self._weights, self._images = weights, images

    @cached_property
    def reference(self) -> dict[str, float]:
        """The measures of the eager float32 networks."""
        return measure_quality(load("torch", weights=self._weights.folder), self._images, "eager")

    def __call__(self, folder: Path, precision: str) -> dict[str, Any]:
        """Measure a folder with ONNX Runtime, int8 with OpenVINO too, where that is for it.

        OpenVINO adds products in 16 bits, which overflow, where the processor has no VNNI: what it
        loses there says nothing of the graphs.

        Args:
            folder: of weights with ONNX files.
            precision: what they are.

        Returns:
            ``"measured"``, ``"reference"`` and ``"lost"``, each by the names of
            :data:`MEASURES`; ``"lost_in_openvino"``, ``None`` where it was not measured; and the
            number of ``"images"``.
        """
        reference = self.reference
        measured = measure_quality(load("onnxruntime", weights=folder), self._images, precision)
        in_openvino = None
        # It moves roundings about, so that what ONNX Runtime loses says nothing of it.
        in_int8 = precision == "int8" and multiplies_int8()
        if in_int8 and why_not("openvino", Weights(folder)) is None:
            label = f"{precision}, OpenVINO"
            found = measure_quality(load("openvino", weights=folder), self._images, label)
            in_openvino = quality_lost(found, reference)
        return {
            "images": len(self._images),
            "measured": measured,
            "reference": reference,
            "lost": quality_lost(measured, reference),
            "lost_in_openvino": in_openvino,
        }


def quality_lost(measured: dict[str, float], reference: dict[str, float]) -> dict[str, float]:
    """How far each measure lies under the reference; negative where it lies over it."""
    return {name: round(reference[name] - measured[name], 4) for name in MEASURES}
