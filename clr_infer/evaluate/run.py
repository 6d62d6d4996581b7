"""The run: every case of every image, in one process or in several."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError, InputError
from ..preprocess import check_pixels
from . import metrics, protocol
from .case import Original, Truth, elapsed_ms, measure_case
from .extras import require_extras
from .protocol import QUICK, Condition, Crop, EvaluationSet
from .report import Report, gather_facts
from .workers import Opener, run_jobs

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["check_images", "evaluate", "measure_visibility", "pixels_sha256", "rounded"]


def measure_visibility(original: np.ndarray, protected: np.ndarray) -> dict[str, float | None]:
    """How visible a protection is, both HxWx3 uint8; no MS-SSIM of small images."""
    large = min(original.shape[:2]) >= metrics.MS_SSIM_SIDE_MIN
    return {
        "psnr": metrics.psnr(original, protected),
        "ssim": metrics.ssim(original, protected),
        "ms_ssim": metrics.ms_ssim(original, protected) if large else None,
    }


def pixels_sha256(image: np.ndarray) -> str:
    """The sha256 of an image's pixels, whatever its file."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _image_facts(index: int, name: str, image: np.ndarray) -> dict[str, Any]:
    return {
        "index": index,
        "name": name,
        "width": image.shape[1],
        "height": image.shape[0],
        "pixels_sha256": pixels_sha256(image),
    }


def _crop_facts(crop: Crop) -> dict[str, Any]:
    return asdict(crop) | {"box": list(crop.box), "box_px": list(crop.box_px)}


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with floats as they are published; what is averaged is what can be read."""

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


def check_images(
    session: "Session", images: Sequence[tuple[str, np.ndarray]]
) -> list[tuple[str, np.ndarray]]:
    """Hold images against the settings, before any work.

    Raises:
        InputError: there is none.
        ImageError: an image cannot be used.
    """
    if not images:
        raise InputError("an evaluation needs at least one image")
    return [(name, check_pixels(image, session.settings)) for name, image in images]


def _check_copies(
    session: "Session", images: Sequence[tuple[str, np.ndarray]], psnr_db: float
) -> None:
    """Find out before any work which image is too small for a copy: its content says, too."""
    for name, pixels in images:
        try:
            session.protect(pixels, psnr_db=psnr_db, copy=True)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error


@dataclass(frozen=True)
class _Job:
    """All cases of one image."""

    index: int
    name: str
    pixels: np.ndarray
    plan: list[tuple[Condition, Crop]]
    paired: float
    psnr_db: float
    copy: bool
    refine: int
    seed: int

    def __len__(self) -> int:
        return len(self.plan)


@dataclass(frozen=True)
class _Measured:
    """The rows of one image."""

    image: dict[str, Any]
    crops: list[dict[str, Any]]
    cases: list[dict[str, Any]]


def _measure(session: "Session", job: _Job, tick: Callable[[], object]) -> _Measured:
    """Protect an image once and run its cases."""
    place = {"image": job.name, "index": job.index}
    began = time.perf_counter()
    protected = session.protect(
        job.pixels, psnr_db=job.psnr_db, refine=job.refine, copy=job.copy
    ).image
    spent = elapsed_ms(began)
    visibility = measure_visibility(job.pixels, protected) | {"protect_ms": spent}
    original, cases = Original(job.pixels), []
    for condition, crop in job.plan:
        rng = partial(protocol.case_rng, job.seed, job.index, crop.kept, condition)
        row = measure_case(session, Truth(original, crop), protected, condition, rng)
        cases.append(place | {"paired": crop.kept == job.paired} | rounded(row))
        tick()
    crops = sorted({crop for _, crop in job.plan}, key=lambda crop: -crop.kept)
    return _Measured(
        _image_facts(job.index, job.name, job.pixels) | rounded(visibility),
        [place | rounded(_crop_facts(crop)) for crop in crops],
        cases,
    )


def evaluate(
    session: "Session",
    images: Sequence[tuple[str, np.ndarray]],
    chosen: EvaluationSet | str = QUICK,
    *,
    conditions: Sequence[Condition] | None = None,
    kept: Sequence[float] | None = None,
    psnr_db: float | None = None,
    refine: int = 0,
    progress: bool = True,
    seed: int = 0,
    workers: int = 1,
    opener: Opener | None = None,
) -> Report:
    """Measure a session by the published protocol.

    Each image is protected once. Each case is one image in one condition at one kept side: the
    real crop and post-processing, then ``session.recover`` on the protected image,
    ``session.locate`` on the unprotected one, and every filling of :mod:`.baselines`.

    Args:
        session: what is measured.
        images: name and pixels, HxWx3 uint8, each side at least 32.
        chosen: conditions and kept sides, or a name of :data:`.protocol.SETS`.
        conditions: others than those of the set, see :data:`.protocol.CONDITIONS`.
        kept: other kept sides, 0.1 to 1.
        psnr_db: strength of the protection; ``None`` takes that of the weights.
        refine: steps to refine each payload by, see :meth:`Session.protect`.
        progress: draw a bar on standard error.
        seed: of the crops and of noise.
        workers: processes that share the images out; the report is the same for any number, but
            for its timings, if each has the threads of this one where PyTorch computes.
        opener: how the session was opened; opens it again in each of several processes.

    Returns:
        Every case and the facts of the run; :func:`.write_report` writes it.

    Raises:
        UsageError: there is no set of this name.
        InputError: there is nothing to measure, or a kept side or the strength is out of range.
        ImageError: an image cannot be used, or holds no copy where the set wants one.
        ModelError: a process ended before its work was done.
        RuntimeUnavailable: scipy or matplotlib is not installed.
    """
    require_extras()
    chosen = protocol.pick_set(chosen)
    conditions = chosen.conditions if conditions is None else conditions
    levels = protocol.check_kept(chosen.kept if kept is None else kept)
    strength = session.weights.default_psnr_db if psnr_db is None else psnr_db
    if not conditions:
        raise InputError("an evaluation needs at least one condition")
    if len({condition.name for condition in conditions}) < len(conditions):
        raise InputError("a condition is named twice")
    originals = check_images(session, images)
    if workers == 1:
        _warm_up(session, originals[0][1], strength)
    if chosen.copy:
        _check_copies(session, originals, strength)
    facts = gather_facts(session, conditions, levels, strength, seed, workers, opener)
    facts |= {"copy": chosen.copy, "refine": refine}
    jobs = [
        _Job(
            index,
            name,
            pixels,
            protocol.plan_image(conditions, levels, seed, index, pixels.shape[1::-1]),
            protocol.paired_kept(index, levels),
            strength,
            chosen.copy,
            refine,
            seed,
        )
        for index, (name, pixels) in enumerate(originals)
    ]
    measured = run_jobs(_measure, jobs, session, workers, opener, progress)
    return Report(
        facts,
        [one.image for one in measured],
        [row for one in measured for row in one.crops],
        [row for one in measured for row in one.cases],
    )
