"""The run: protect, crop and post-process for real, recover, compare with the clean original.

What counts against the method, by design:

- A protected fragment that is judged "not protected", or refused, has IoU 0, F1 0 and no corner
  error, and its recovered image is a frame of the fragment's mean colour.
- An error on an unprotected image counts as a false alarm of full confidence.
- Everything is compared with the original from before the protection, at the original's size; the
  cropped-out area is that of the true box, wherever the method believed it to be. A recovered
  canvas of another size is stretched first, which resamples its received pixels as well.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ..attacks import real
from ..composite import composite
from ..errors import ImageError, InputError
from ..geometry import FULL_FRAME, Box, box_iou, box_to_pixels, crop_mask
from ..preprocess import check_pixels, resize_pixels, to_frame
from . import metrics, protocol
from .baselines import fill_baselines, mean_colour
from .extras import require_extras
from .protocol import QUICK, Condition, Crop, EvaluationSet
from .report import Report, gather_facts

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["evaluate"]


@dataclass(frozen=True)
class _Answer:
    """What the method says of one received image."""

    protected: bool
    confidence: float
    crop_box: Box | None = None
    image: np.ndarray | None = None
    recover_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Truth:
    """What it is held against."""

    original: np.ndarray
    luma: np.ndarray
    crop: Crop
    seen: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.original.shape[1], self.original.shape[0]


def _elapsed_ms(began: float) -> float:
    return (time.perf_counter() - began) * 1000.0


def _recover(session: "Session", received: np.ndarray) -> _Answer:
    began = time.perf_counter()
    try:
        found = session.recover(received)
    except ImageError as error:
        return _Answer(False, 0.0, error=str(error))
    spent, located = _elapsed_ms(began), found.located
    if not located.protected:
        return _Answer(False, located.confidence)
    return _Answer(True, located.confidence, located.crop_box, found.image, spent)


def _false_alarm(session: "Session", received: np.ndarray) -> _Answer:
    try:
        located = session.locate(received)
    except ImageError as error:
        return _Answer(True, 1.0, error=str(error))
    return _Answer(located.protected, located.confidence, located.crop_box)


def _recover_with_true_box(session: "Session", received: np.ndarray, box: Box) -> np.ndarray:
    """The pipeline's own stages, with the box given instead of located."""
    runtime = session.runtime
    frames = to_frame(received, runtime.size)[None]
    aligned = runtime.run("align", {"received": frames})["aligned"]
    inputs = {"aligned": aligned, "crop_box": np.array([box], np.float32)}
    recovered = runtime.run("recover", inputs)["recovered"][0]
    return composite(received, recovered, box, session.settings.feather_px)


def _compare(truth: _Truth, image: np.ndarray) -> dict[str, float | None]:
    """PSNR and SSIM of the whole frame and, unless there is none, of the cropped-out area."""
    image = resize_pixels(image, *truth.size)
    similarity = metrics.ssim_map(truth.luma, metrics.luma(image))
    measured: dict[str, float | None] = {
        "psnr": metrics.psnr(truth.original, image),
        "ssim": float(metrics.whole_windows(similarity).mean()),
        "psnr_out": None,
        "ssim_out": None,
    }
    if not truth.seen.all():
        measured["psnr_out"] = metrics.psnr_outside(truth.original, image, truth.seen)
        measured["ssim_out"] = float(similarity[~truth.seen].mean())
    return measured


def _place(truth: _Truth, answer: _Answer) -> dict[str, Any]:
    """How well the box was found."""
    width, height = truth.size
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


def _case(
    session: "Session",
    truth: _Truth,
    protected: np.ndarray,
    condition: Condition,
    make_rng: Callable[[], np.random.Generator],
) -> dict[str, Any]:
    """One crop of one image in one condition; the keys are those of ``cases.csv``."""
    crop = truth.crop
    chain = condition.chain(crop.box)
    received = real.apply(protected, chain, make_rng())
    answer = _recover(session, received)
    alarm = _false_alarm(session, real.apply(truth.original, chain, make_rng()))
    predicted = answer.image
    if predicted is None:
        predicted = np.empty_like(truth.original)
        predicted[:] = mean_colour(received)
    candidates = {
        "predicted": predicted,
        "true": _recover_with_true_box(session, received, crop.box),
        **fill_baselines(received, crop.box_px, *truth.size),
    }
    row: dict[str, Any] = {
        "condition": condition.name,
        "kept": crop.kept,
        "kind": crop.kind,
        "box": list(crop.box),
        "received_px": [received.shape[1], received.shape[0]],
        "protected": answer.protected,
        "confidence": answer.confidence,
        "predicted_box": None if answer.crop_box is None else list(answer.crop_box),
        **_place(truth, answer),
    }
    for name, image in candidates.items():
        row |= {f"{name}_{key}": value for key, value in _compare(truth, image).items()}
    return row | {
        "unprotected_verdict": alarm.protected,
        "unprotected_confidence": alarm.confidence,
        "recover_ms": answer.recover_ms,
        "error": answer.error or alarm.error,
    }


def _protect(
    session: "Session", original: np.ndarray, psnr_db: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Protect an image and say how visible that is."""
    began = time.perf_counter()
    protected = session.protect(original, psnr_db=psnr_db).image
    spent = _elapsed_ms(began)
    large = min(original.shape[:2]) >= metrics.MS_SSIM_SIDE_MIN
    return protected, {
        "psnr": metrics.psnr(original, protected),
        "ssim": metrics.ssim(original, protected),
        "ms_ssim": metrics.ms_ssim(original, protected) if large else None,
        "protect_ms": spent,
    }


def _image_facts(index: int, name: str, image: np.ndarray) -> dict[str, Any]:
    return {
        "index": index,
        "name": name,
        "width": image.shape[1],
        "height": image.shape[0],
        "pixels_sha256": hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(),
    }


def _crop_facts(crop: Crop) -> dict[str, Any]:
    return asdict(crop) | {"box": list(crop.box), "box_px": list(crop.box_px)}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Floats as they are published; what is averaged is what can be read."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        return [short(v) for v in value] if isinstance(value, list) else value

    return {key: short(value) for key, value in row.items()}


def _warm_up(session: "Session", image: np.ndarray, psnr_db: float) -> None:
    """Load the networks, so that no timing includes it."""
    try:
        session.recover(session.protect(image, psnr_db=psnr_db).image)
    except ImageError:
        return  # the cases meet the same error, and count it


def evaluate(
    session: "Session",
    images: Sequence[tuple[str, np.ndarray]],
    chosen: EvaluationSet | str = QUICK,
    *,
    conditions: Sequence[Condition] | None = None,
    kept: Sequence[float] | None = None,
    psnr_db: float | None = None,
    progress: bool = True,
    seed: int = 0,
) -> Report:
    """Measure a session by the published protocol.

    Each image is protected once. Each case is one image in one condition at one kept side: the
    real crop and post-processing, then ``session.recover`` on the protected image,
    ``session.locate`` on the unprotected one, and every filling of :mod:`.baselines`.

    Args:
        session: what is measured.
        images: name and pixels, HxWx3 uint8, each side at least 32.
        chosen: conditions and kept sides, ``"quick"`` or ``"full"``.
        conditions: others than those of the set, see :data:`.protocol.CONDITIONS`.
        kept: other kept sides, 0.1 to 1.
        psnr_db: strength of the protection; ``None`` takes that of the weights.
        progress: draw a bar on standard error.
        seed: of the crops and of noise.

    Returns:
        Every case and the facts of the run; :func:`.write_report` writes it.

    Raises:
        UsageError: there is no set of this name.
        InputError: there is nothing to measure, or a kept side or the strength is out of range.
        ImageError: an image cannot be used.
        RuntimeUnavailable: scipy or matplotlib is not installed.
    """
    require_extras()
    chosen = protocol.pick_set(chosen)
    conditions = chosen.conditions if conditions is None else conditions
    levels = protocol.check_kept(chosen.kept if kept is None else kept)
    strength = session.weights.default_psnr_db if psnr_db is None else psnr_db
    if not images or not conditions:
        raise InputError("an evaluation needs at least one image and one condition")
    if len({condition.name for condition in conditions}) < len(conditions):
        raise InputError("a condition is named twice")
    originals = [(name, check_pixels(image, session.settings)) for name, image in images]
    _warm_up(session, originals[0][1], strength)
    facts = gather_facts(session, conditions, levels, strength, seed)
    plans = [
        protocol.plan_image(conditions, levels, seed, index, (image.shape[1], image.shape[0]))
        for index, (_, image) in enumerate(originals)
    ]
    image_rows, crop_rows, cases = [], [], []
    with tqdm(total=sum(map(len, plans)), unit="case", disable=not progress) as bar:
        for index, ((name, original), plan) in enumerate(zip(originals, plans, strict=True)):
            protected, visibility = _protect(session, original, strength)
            image_rows.append(_image_facts(index, name, original) | _rounded(visibility))
            crop_rows += [
                {"image": name, "index": index} | _rounded(_crop_facts(crop))
                for crop in sorted({crop for _, crop in plan}, key=lambda crop: -crop.kept)
            ]
            luma, paired = metrics.luma(original), protocol.paired_kept(index, levels)
            for condition, crop in plan:
                seen = crop_mask(crop.box_px, *original.shape[1::-1]) > 0
                truth = _Truth(original, luma, crop, seen)
                rng = partial(protocol.case_rng, seed, index, crop.kept, condition)
                row = _case(session, truth, protected, condition, rng)
                place = {"image": name, "index": index, "paired": crop.kept == paired}
                cases.append(place | _rounded(row))
                bar.update()
    return Report(facts, image_rows, crop_rows, cases)
