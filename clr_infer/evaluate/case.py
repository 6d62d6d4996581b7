"""One case: a fragment is attacked for real, recovered, and held against the clean original.

What counts against the method, by design:

- A protected fragment that is judged "not protected", or refused, has IoU 0, F1 0 and no corner
  error, and its recovered image is a frame of the fragment's mean colour.
- An error on an unprotected image counts as a false alarm of full confidence.
- Everything is compared with the original from before the protection, at the original's size; the
  cropped-out area is that of the true box, wherever the method believed it to be. A recovered
  canvas of another size is stretched first, which resamples its received pixels as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attacks import real
from ..composite import composite
from ..errors import ImageError
from ..geometry import FULL_FRAME, Box, box_iou, box_to_pixels, crop_mask
from ..preprocess import resize_pixels, to_frame
from . import metrics
from .baselines import fill_baselines, mean_colour
from .protocol import Condition, Crop
from .uncertainty import count_pixels

if TYPE_CHECKING:
    from ..session import Session

__all__ = [
    "Answer",
    "Original",
    "Truth",
    "elapsed_ms",
    "measure_case",
    "place",
    "recover",
    "recover_with_true_box",
    "shown",
    "verdict",
]


@dataclass(frozen=True)
class Answer:
    """What the method says of one received image."""

    protected: bool
    confidence: float
    crop_box: Box | None = None
    image: np.ndarray | None = None
    recover_ms: float | None = None
    error: str | None = None
    uncertainty: np.ndarray | None = None
    expected_psnr_out: float | None = None
    from_copy: bool = False


@dataclass(frozen=True)
class Original:
    """An image from before its protection, and what every comparison with it needs once."""

    pixels: np.ndarray

    @cached_property
    def luma(self) -> np.ndarray:
        """HxW float64."""
        return metrics.luma(self.pixels)

    @cached_property
    def luma_mean(self) -> np.ndarray:
        """The luma's local mean, HxW float64."""
        return metrics.local_mean(self.luma)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Truth:
    """What an answer is held against."""

    original: Original
    crop: Crop

    @cached_property
    def seen(self) -> np.ndarray:
        """HxW bool, false where content was cropped away."""
        return crop_mask(self.crop.box_px, *self.original.size) > 0


def elapsed_ms(began: float) -> float:
    """Milliseconds since a reading of ``time.perf_counter()``."""
    return (time.perf_counter() - began) * 1000.0


def recover(session: "Session", received: np.ndarray, turned: bool = False) -> Answer:
    """Ask the method for the whole original; a refusal is an answer."""
    began = time.perf_counter()
    try:
        found = session.recover(received, turned=turned)
    except ImageError as error:
        return Answer(False, 0.0, error=str(error))
    spent, located = elapsed_ms(began), found.located
    if not located.protected:
        return Answer(False, located.confidence)
    return Answer(
        True,
        located.confidence,
        located.crop_box,
        found.image,
        spent,
        uncertainty=found.uncertainty,
        expected_psnr_out=found.expected_psnr_db,
        from_copy=found.from_copy,
    )


def verdict(
    session: "Session", received: np.ndarray, protected: bool, turned: bool = False
) -> Answer:
    """Ask for the verdict on an image; a refusal is the wrong one.

    Args:
        session: is asked.
        received: HxWx3 uint8.
        protected: is it?
        turned: look on its sides and at angles, too.
    """
    try:
        located = session.locate(received, turned=turned)
    except ImageError as error:
        return Answer(not protected, 0.0 if protected else 1.0, error=str(error))
    return Answer(located.protected, located.confidence, located.crop_box)


def shown(answer: Answer, received: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What a user would be shown, HxWx3 uint8 of ``size``: the mean colour if nothing was found."""
    if answer.image is not None:
        return resize_pixels(answer.image, *size)
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = mean_colour(received)
    return image


def recover_with_true_box(
    session: "Session", received: np.ndarray, box: Box, size: tuple[int, int]
) -> np.ndarray:
    """The pipeline's own stages, with the box given instead of located; of ``size``."""
    runtime = session.runtime
    frames = to_frame(received, runtime.size)[None]
    aligned = runtime.run("align", {"received": frames})["aligned"]
    inputs = {"aligned": aligned, "crop_box": np.array([box], np.float32)}
    recovered = runtime.run("recover", inputs)["recovered"][0]
    whole = composite(received, recovered, box, session.settings.feather_px)
    return resize_pixels(whole, *size)


def _compare(truth: Truth, image: np.ndarray) -> dict[str, float | None]:
    """PSNR and SSIM of the whole frame and, unless there is none, of the cropped-out area."""
    original = truth.original
    errors = metrics.squared_error(original.pixels, image)
    luma = metrics.luma(image)
    similarity = metrics.ssim_map(original.luma, luma, original.luma_mean)
    measured: dict[str, float | None] = {
        "psnr": metrics.psnr_of_errors(errors),
        "ssim": float(metrics.whole_windows(similarity).mean()),
        "psnr_out": None,
        "ssim_out": None,
    }
    if not truth.seen.all():
        measured["psnr_out"] = metrics.psnr_of_errors(errors[~truth.seen])
        measured["ssim_out"] = metrics.ssim_outside(similarity, truth.seen)
    return measured


def _unsure(truth: Truth, answer: Answer, image: np.ndarray) -> list[list[float]] | None:
    """What is expected of reconstructed pixels, see :func:`.uncertainty.count_pixels`.

    Pixels into which stretching the canvas mixes received ones are left out.
    """
    if answer.uncertainty is None or truth.seen.all():
        return None
    size = truth.original.size
    expected = resize_pixels(answer.uncertainty, *size)
    unmixed = resize_pixels(np.where(answer.uncertainty > 0, 255, 0).astype(np.uint8), *size) == 255
    errors = metrics.squared_error(truth.original.pixels, image) / 3.0
    reconstructed = ~truth.seen & unmixed
    return count_pixels(expected[reconstructed], errors[reconstructed])


def place(truth: Truth, answer: Answer) -> dict[str, Any]:
    """How well the box was found: ``iou``, ``corner_px`` and ``f1`` of the cropped-out area."""
    width, height = truth.original.size
    f1: float | None = None
    if not truth.seen.all():  # else one row of pixels decides between 0 and 1
        said = answer.crop_box or FULL_FRAME
        mask = crop_mask(box_to_pixels(said, width, height), width, height)
        f1 = metrics.cropped_out_f1(mask > 0, truth.seen)
    if answer.crop_box is None:
        return {"iou": 0.0, "corner_px": None, "f1": f1}
    return {
        "iou": box_iou(answer.crop_box, truth.crop.box),
        "corner_px": metrics.corner_error_px(answer.crop_box, truth.crop.box, width, height),
        "f1": f1,
    }


def measure_case(
    session: "Session",
    truth: Truth,
    protected: np.ndarray,
    condition: Condition,
    make_rng: Callable[[], np.random.Generator],
) -> dict[str, Any]:
    """One crop of one image in one condition; the keys are those of ``cases.csv``."""
    crop = truth.crop
    chain = condition.chain(crop.box)
    received = real.apply(protected, chain, make_rng())
    answer = recover(session, received, condition.turned)
    unprotected = real.apply(truth.original.pixels, chain, make_rng())
    alarm = verdict(session, unprotected, False, condition.turned)
    size = truth.original.size
    candidates = {
        "predicted": shown(answer, received, size),
        "true": recover_with_true_box(session, received, crop.box, size),
        **fill_baselines(received, crop.box_px, *size),
    }
    row: dict[str, Any] = {
        "condition": condition.name,
        "kept": crop.kept,
        "kind": crop.kind,
        "box": list(crop.box),
        "received_px": [received.shape[1], received.shape[0]],
        "protected": answer.protected,
        "from_copy": answer.from_copy,
        "confidence": answer.confidence,
        "predicted_box": None if answer.crop_box is None else list(answer.crop_box),
        **place(truth, answer),
    }
    for name, image in candidates.items():
        row |= {f"{name}_{key}": value for key, value in _compare(truth, image).items()}
    return row | {
        "expected_psnr_out": answer.expected_psnr_out,
        "uncertainty": _unsure(truth, answer, candidates["predicted"]),
        "unprotected_verdict": alarm.protected,
        "unprotected_confidence": alarm.confidence,
        "recover_ms": answer.recover_ms,
        "error": answer.error or alarm.error,
    }
