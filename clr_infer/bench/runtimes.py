"""The runtimes suite: every runtime and precision that works here, side by side in one run."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..engine_files import plan_name
from ..errors import ModelError, UsageError
from ..processor import multiplies_int8
from ..runtimes import RUNTIMES, why_not
from ..weights import MANIFEST, Weights
from .facts import facts
from .load import batch_summary
from .runtime_worker import Candidate, Worker, working

__all__ = ["PEER", "Plan", "candidates", "exported_folders", "run_suite"]

PEER = Candidate("torch", "fp32")
"""What the others are held against: PyTorch, eagerly."""

_EMBEDDED = Candidate("onnxruntime", "fp32")
_OPENVINO = Candidate("openvino", "int8")
"""What ``auto`` takes where it is installed."""

_GRAPHS = ("onnxruntime", "openvino")
"""The runtimes of ONNX files begin so."""

_TORCH_OPTIONS = (
    "+channels-last",
    "+bf16",
    "+compile",
    "+graphs",
    "+channels-last+bf16+graphs",
)
_RECEIVING = ("localize", "align", "recover")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        networks: which.
        batches: sizes, ascending.
        rounds: at batch 1, fewer for larger ones but at least three; in a round every candidate
            runs once, one after the other.
        call_s_max: sizes at which a call of some candidate would take longer are left out.
        width: of the picture that goes end to end, in pixels.
        height: of the picture.
        picture_rounds: of the end-to-end calls, one candidate after the other; 0 leaves them out.
    """

    networks: tuple[str, ...] = ("protect", *_RECEIVING)
    batches: tuple[int, ...] = (1, 4, 8, 16, 32)
    rounds: int = 15
    call_s_max: float = 3.0
    width: int = 4000
    height: int = 3000
    picture_rounds: int = 3


def candidates(
    models: Path | None = None, only: Sequence[str] = ()
) -> tuple[list[Candidate], dict[str, str]]:
    """Find what works here.

    Args:
        models: a folder of exported folders of weights, one for each precision.
        only: names of runtimes; empty takes all.

    Returns:
        The candidates, the peer first, and of each that does not work the reason.

    Raises:
        UsageError: ``models`` holds no weights.
    """
    folders = [] if models is None else exported_folders(models)
    wanted = [PEER, Candidate("onnxruntime", "fp32")]
    for options in _TORCH_OPTIONS:
        wanted.append(Candidate(f"torch{options}", "bf16" if "bf16" in options else "fp32"))
    graphs = [name for name in RUNTIMES if name.startswith(_GRAPHS)]
    int8 = Weights().has_int8 and multiplies_int8()
    for name in graphs:
        if name != _EMBEDDED.runtime:
            wanted.append(Candidate(name, "int8" if name == "openvino" and int8 else "fp32"))
    for folder in folders:
        wanted += _of_folder(folder)
    found, reasons = [], {}
    # A folder's graphs go before those in the package: it knows what they lost.
    for one in {one.label: one for one in wanted}.values():
        if only and one.runtime not in only and one != PEER:
            continue
        reason = why_not(one.runtime, Weights(one.folder))
        if reason is None:
            found.append(one)
        else:
            reasons[one.label] = reason
    return found, reasons


def exported_folders(models: Path) -> list[Path]:
    """The folders of weights in a folder of them, by name.

    Raises:
        UsageError: there are none.
    """
    try:
        found = [one for one in sorted(models.iterdir()) if (one / MANIFEST).is_file()]
    except OSError as error:
        raise UsageError(f"{models} is no folder that can be read: {error}") from error
    if not any(_of_folder(one) for one in found):
        raise UsageError(f"{models} holds no folders of weights: clr-infer export onnx -o {models}")
    return found


def _of_folder(folder: Path) -> list[Candidate]:
    weights = Weights(folder)
    precision = str(weights.manifest.get("precision", "fp32"))
    if plan_name("protect") in weights.manifest["files"]:
        names = ["tensorrt", "tensorrt-rtx"]
    else:
        names = [name for name in RUNTIMES if name.startswith(_GRAPHS)]
    # Graphs in float32 are those in the package.
    kept = names if precision != "fp32" or "tensorrt" in names else []
    return [Candidate(name, precision, str(folder)) for name in kept]


def run_suite(
    plan: Plan, found: Sequence[Candidate], reasons: dict[str, str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the candidates against the peer; returns what goes into the result file.

    Raises:
        ModelError: the peer cannot be measured.
    """
    with contextlib.ExitStack() as stack:
        workers, opened = {}, {}
        for one in found:
            say(f"opening {one.label}")
            worker = stack.enter_context(working(one))
            try:
                opened[one] = worker.open()
                workers[one] = worker
            except ModelError as error:
                reasons = {**reasons, one.label: str(error)}
        if PEER not in workers:
            raise ModelError(f"the peer does not run: {reasons.get(PEER.label, 'not asked for')}")
        rows, left_out = _network_rows(plan, workers, say)
        memory = {one: worker.peak_mb() for one, worker in workers.items()}
        pictures = _picture_rows(plan, workers, say) if plan.picture_rounds else []
    opened_rows = [
        {**_name(one), "load_ms": round(opened[one], 1), "peak_mb": memory[one], "lost": _lost(one)}
        for one in workers
    ]
    return {
        **facts("runtimes"),
        "plan": asdict(plan),
        "runtimes": opened_rows,
        "unavailable": reasons,
        "left_out": left_out,
        "rows": rows,
        "end_to_end": pictures,
        "goals": _goals(rows, pictures),
    }


def _name(one: Candidate) -> dict[str, str]:
    return {"runtime": one.runtime, "precision": one.precision}


def _lost(one: Candidate) -> dict[str, float] | None:
    """The quality that an exported folder says it lost; ``None`` where nothing says so."""
    quality = Weights(one.folder).manifest.get("quality") if one.folder else None
    key = "lost_in_openvino" if one.label == _OPENVINO.label else "lost"
    return quality.get(key) if quality else None


def _rounds(count: int, workers: Sequence[Worker], ask: Callable[[Worker], float]) -> Iterator:
    """Each worker in turn, beginning with another one each round."""
    for index in range(count):
        shift = index % len(workers)
        for worker in (*workers[shift:], *workers[:shift]):
            yield worker, ask(worker)


def _network_rows(
    plan: Plan, workers: dict[Candidate, Worker], say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    rows, left_out = [], []
    for network in plan.networks:
        image_ms = 0.0
        for batch in plan.batches:
            if image_ms * batch > plan.call_s_max * 1000.0:
                left_out.append(f"{network}, batch {batch}: a call takes over {plan.call_s_max} s")
                continue
            say(f"{network}, batch {batch}")
            times: dict[Worker, list[float]] = {worker: [] for worker in workers.values()}

            def ask(worker: Worker, network: str = network, batch: int = batch) -> float:
                return worker.run(network, batch)

            for worker, milliseconds in _rounds(max(3, plan.rounds // batch), list(times), ask):
                times[worker].append(milliseconds)
            for one, worker in workers.items():
                rows.append(_row(one, network, batch, times[worker]))
            image_ms = max(row["p50_ms"] / batch for row in rows[-len(workers) :])
    return rows, left_out


def _row(one: Candidate, network: str, batch: int, times_ms: list[float]) -> dict[str, Any]:
    least_ms = round(min(times_ms), 3)
    found = batch_summary(times_ms, batch)
    return {**_name(one), "network": network, "least_ms": least_ms, **found}


def _picture_rows(
    plan: Plan, workers: dict[Candidate, Worker], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Protect and recover from PNG to PNG beside reading and writing the picture alone."""
    rows = []
    wanted = [one.label for one in (PEER, _EMBEDDED, _OPENVINO)]
    for one, worker in workers.items():
        if one.label not in wanted:
            continue
        say(f"{one.label}, end to end")
        times = {"copy": [0.0], "protect": [0.0], "recover": [0.0]}
        for call in times:
            worker.picture(call, plan.width, plan.height)  # warm
            times[call].clear()
        for _ in range(plan.picture_rounds):
            for call, found in times.items():
                found.append(worker.picture(call, plan.width, plan.height))
        medians = {call: sorted(found)[len(found) // 2] for call, found in times.items()}
        for call in ("protect", "recover"):
            rows.append(
                {
                    **_name(one),
                    "call": call,
                    "width": plan.width,
                    "height": plan.height,
                    "p50_ms": round(medians[call], 1),
                    "png_ms": round(medians["copy"], 1),
                    "of_png": round(medians[call] / medians["copy"], 3),
                    "runs": plan.picture_rounds,
                }
            )
    return rows


def _goals(rows: list[dict[str, Any]], pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """What was aimed at, and what came of it."""

    def best(one: Candidate, networks: Sequence[str]) -> float | None:
        """Images a second through networks one after the other, each at its best batch."""
        seconds = 0.0
        for network in networks:
            same = {**_name(one), "network": network}
            speeds = [r["images_per_s"] for r in rows if same.items() <= r.items()]
            if not speeds:
                return None
            seconds += 1.0 / max(speeds)
        return 1.0 / seconds

    def gains(one: Candidate) -> dict[str, float]:
        found = {}
        for call, networks in (("protect", ("protect",)), ("recover", _RECEIVING)):
            ours, theirs = best(one, networks), best(PEER, networks)
            if ours and theirs:
                found[call] = round(ours / theirs, 2)
        return found

    def ratios(one: Candidate) -> dict[str, float]:
        own = _name(one).items()
        return {row["call"]: row["of_png"] for row in pictures if own <= row.items()}

    return {
        "embedded_of_eager_throughput": {"goal": ">= 2", "found": gains(_EMBEDDED)},
        "openvino_of_eager_throughput": {"goal": ">= 2", "found": gains(_OPENVINO)},
        "embedded_end_to_end_of_png": {"goal": "< 3", "found": ratios(_EMBEDDED)},
        "openvino_end_to_end_of_png": {"goal": "< 3", "found": ratios(_OPENVINO)},
    }
