"""Arms: the same cases measured with something changed, one arm a change.

The strength dial, steps of refining, and the ablations that need no training. Each image has the
same crop in every arm, so that arms are compared in pairs; baselines and unprotected twins are left
out.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..attacks import real
from ..attacks.steps import Chain
from ..errors import ImageError
from ..runtimes import Runtime, Tensors, open_runtime
from ..session import Session
from ..weights import Weights
from . import metrics, protocol
from .aggregate import mean_of, visibility
from .case import Original, Truth, place, recover, recover_with_true_box, shown
from .protocol import Condition
from .report import gather_facts
from .run import check_images, measure_visibility, rounded
from .workers import Opener, run_jobs

__all__ = ["ABLATIONS", "ARM_SETS", "REFINING", "STRENGTHS", "Arm", "measure_arms"]


@dataclass(frozen=True)
class Arm:
    """One way to run the pipeline.

    Attributes:
        name: its key.
        label: its name for people.
        psnr_db: strength; ``None`` takes that of the weights.
        refine: steps, see :class:`..refine.Refiner`.
        frame_px: side of the networks' frame; ``None`` takes that of the weights. The confidence
            stays calibrated for that one.
        align: run the align network; without it, the image as received is recovered from.
        simulated_jpeg: FG-JPEG in place of the codec.
    """

    name: str
    label: str
    psnr_db: float | None = None
    refine: int = 0
    frame_px: int | None = None
    align: bool = True
    simulated_jpeg: bool = False


STRENGTHS = tuple(Arm(f"{db}dB", f"{db} dB", psnr_db=float(db)) for db in range(37, 45))
REFINING = (
    Arm("plain", "as the network makes it"),
    Arm("20steps", "20 steps", refine=20),
    Arm("80steps", "80 steps", refine=80),
    Arm("320steps", "320 steps", refine=320),
    Arm("80steps43dB", "80 steps at 43 dB", psnr_db=43.0, refine=80),
)
ABLATIONS = (
    Arm("shipped", "as shipped"),
    Arm("no-align", "without the align network", align=False),
    Arm("fg-jpeg", "FG-JPEG in place of the codec", simulated_jpeg=True),
    Arm("frame384", "frame of 384 pixels", frame_px=384),
    Arm("frame608", "frame of 608 pixels", frame_px=608),
    Arm("frame704", "frame of 704 pixels", frame_px=704),
)
ARM_SETS = {"strength": STRENGTHS, "refining": REFINING, "ablations": ABLATIONS}
"""By the name of ``clr-infer evaluate --set``."""

_CONDITIONS = ("clean", "jpeg80", "jpeg60")


class _WithoutAlignment:
    """A runtime whose align network hands on what it gets."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.name = runtime, f"{runtime.name} without align"
        self.size, self.psnr_db, self.pixels = runtime.size, runtime.psnr_db, runtime.pixels

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`..runtimes.base.Runtime`."""
        if network == "align":
            return {"aligned": tensors["received"]}
        return self._runtime.run(network, tensors)

    def close(self) -> None:
        """Free what the runtime holds."""
        self._runtime.close()


@lru_cache(maxsize=2)
def _runtime_at(weights: Weights, frame_px: int, threads: int) -> Runtime:
    """The eager networks at another frame: no weight depends on its size, exported graphs do."""
    other = copy.copy(weights)
    other.size, other.manifest = frame_px, weights.manifest | {"size": frame_px}
    return open_runtime("torch", other, threads)


def _session_of(session: Session, arm: Arm, threads: int) -> Session:
    runtime: Runtime = session.runtime
    if arm.frame_px is not None and arm.frame_px != runtime.size:
        runtime = _runtime_at(session.weights, arm.frame_px, threads)
    if not arm.align:
        runtime = _WithoutAlignment(runtime)
    if runtime is session.runtime:
        return session
    return Session(runtime, session.weights, session.settings)


def _attacked(
    session: Session, image: np.ndarray, chain: Chain, rng: np.random.Generator, arm: Arm
) -> np.ndarray:
    if not arm.simulated_jpeg:
        return real.apply(image, chain, rng)
    for step in chain:
        if step.name == "jpeg":
            try:
                image = session.fg_jpeg(np.ascontiguousarray(image), step.values[0]).image
            except ImageError:  # too small: recovering refuses it as well, and that is counted
                continue
        else:
            image = real.apply_step(image, step, rng)
    return np.ascontiguousarray(image)


@dataclass(frozen=True)
class _Job:
    """All cases of one image in one arm."""

    arm: Arm
    index: int
    name: str
    pixels: np.ndarray
    conditions: tuple[Condition, ...]
    psnr_db: float
    seed: int
    threads: int

    def __len__(self) -> int:
        return len(self.conditions)


def _measure(
    session: Session, job: _Job, tick: Callable[[], object]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How visible the protection of an image is in an arm, and its cases."""
    changed = _session_of(session, job.arm, job.threads)
    base = {"arm": job.arm.name, "image": job.name}
    began = time.perf_counter()
    protected = changed.protect(job.pixels, psnr_db=job.psnr_db, refine=job.arm.refine).image
    protect_s = time.perf_counter() - began
    original, rows = Original(job.pixels), []
    kept = protocol.paired_kept(job.index, protocol.MAIN_KEPT)
    crop = protocol.draw_crop(job.seed, job.index, kept, *original.size)
    truth = Truth(original, crop)
    for condition in job.conditions:
        rng = protocol.case_rng(job.seed, job.index, kept, condition)
        received = _attacked(session, protected, condition.chain(crop.box), rng, job.arm)
        answer = recover(changed, received)
        given = recover_with_true_box(changed, received, crop.box, original.size)
        ours = shown(answer, received, original.size)
        row = {
            "condition": condition.name,
            "kept": kept,
            "protected": answer.protected,
            "confidence": answer.confidence,
            **place(truth, answer),
            "psnr_out": metrics.psnr_outside(original.pixels, ours, truth.seen),
            "true_psnr_out": metrics.psnr_outside(original.pixels, given, truth.seen),
        }
        rows.append(base | rounded(row))
        tick()
    visible = measure_visibility(job.pixels, protected)
    return base | rounded({"protect_s": protect_s, **visible}), rows


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ious = [row["iou"] for row in rows]
    return {
        "cases": len(rows),
        "recognised": mean_of(rows, "protected"),
        "iou_mean": mean_of(rows, "iou"),
        "iou_p10": round(float(np.percentile(ious, 10)), 6),
        "psnr_out": mean_of(rows, "psnr_out"),
        "true_psnr_out": mean_of(rows, "true_psnr_out"),
    }


def measure_arms(
    session: Session,
    images: Sequence[tuple[str, np.ndarray]],
    chosen: str,
    *,
    seed: int = 0,
    workers: int = 1,
    opener: Opener | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure every arm of a set on the same crops: as cropped, JPEG 80 and JPEG 60.

    Args:
        session: what is changed, arm by arm.
        images: name and pixels, HxWx3 uint8.
        chosen: a name of :data:`ARM_SETS`.
        seed: of the crops.
        workers: processes that share the work out; the result is the same for any number.
        opener: how the session was opened; opens it again in each of several processes. Where an
            arm needs PyTorch it has the same threads, or one, as its last bits depend on them;
            refining has those of the session.
        progress: draw a bar on standard error.

    Returns:
        ``kind``, ``facts``, ``arms`` (options, ``protected``, ``protect_s``, the median of an
        image, ``by_condition``) and ``cases``.

    Raises:
        InputError: there are no images.
        ImageError: an image cannot be used.
        ModelError: a process ended before its work was done.
        RuntimeUnavailable: an arm needs PyTorch, which is missing.
    """
    conditions = tuple(protocol.CONDITIONS[name] for name in _CONDITIONS)
    strength = session.weights.default_psnr_db
    facts = gather_facts(session, conditions, protocol.MAIN_KEPT, strength, seed, workers, opener)
    threads = (opener and opener.threads) or 1
    jobs = [
        _Job(arm, index, name, pixels, conditions, arm.psnr_db or strength, seed, threads)
        for arm in ARM_SETS[chosen]
        for index, (name, pixels) in enumerate(check_images(session, images))
    ]
    measured = run_jobs(_measure, jobs, session, workers, opener, progress)
    arms = []
    for arm in ARM_SETS[chosen]:
        own = [one for job, one in zip(jobs, measured, strict=True) if job.arm == arm]
        rows = [row for _, cases in own for row in cases]
        by_condition = {
            name: _summary([row for row in rows if row["condition"] == name])
            for name in _CONDITIONS
        }
        visible = visibility([row for row, _ in own])
        taken_s = round(float(np.median([row["protect_s"] for row, _ in own])), 3)
        found = {"protected": visible, "protect_s": taken_s, "by_condition": by_condition}
        arms.append(asdict(arm) | found)
    return {
        "kind": chosen,
        "facts": facts,
        "arms": arms,
        "images": [name for name, _ in images],
        "cases": [row for _, cases in measured for row in cases],
    }
