"""What a session takes on one device: networks from tensors to tensors, pictures end to end.

The device is waited for after every call, as somebody would who needs the answer; nothing else is
taken off. Networks run on tensors that are on the device already and stay there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..geometry import Box, box_to_pixels
from ..session import Session, load
from .kernels.photographs import photograph
from .kernels.timing import host_times
from .load import FEWEST, batch_summary

__all__ = ["REHEARSED", "LatencyPlan", "measure_latency"]

_KEPT = Box(0.1, 0.15, 0.85, 0.9)


@dataclass(frozen=True)
class LatencyPlan:
    """What is measured.

    Attributes:
        runtimes: names, with options.
        batches: of the networks, and of the pictures.
        pictures_px: width and height of the pictures.
        measure_ms: for each call.
        runs: of each call, at least.
    """

    runtimes: tuple[str, ...] = (
        "torch",
        "torch+graphs",
        "torch+channels-last+graphs",
        "torch+channels-last+bf16+graphs",
    )
    batches: tuple[int, ...] = (1, 8, 32)
    pictures_px: tuple[tuple[int, int], ...] = ((512, 512), (1920, 1080))
    measure_ms: float = 700.0
    runs: int = FEWEST


REHEARSED = LatencyPlan(("torch", "torch+graphs"), (1, 2), ((320, 240),), 1.0, runs=1)
"""The plan where a CPU stands in for the GPU."""


def measure_latency(
    plan: LatencyPlan, say: Callable[[str], None], until: float = float("inf")
) -> dict[str, Any]:
    """Measure every runtime of a plan.

    Args:
        plan: what, and how long.
        say: takes a line about progress.
        until: no runtime is begun after this moment of :func:`time.monotonic`.

    Returns:
        ``networks`` and ``pictures``, rows with percentiles in ms and images a second, and
        ``unavailable``: by runtime, why it was not measured.
    """
    networks, pictures, unavailable = [], [], {}
    for name in plan.runtimes:
        if time.monotonic() > until:
            unavailable[name] = "no time was left"
            continue
        try:
            with load(name) as session:
                for row in _network_rows(session, plan):
                    networks.append({"runtime": name, **row})
                    say(_line(networks[-1]))
                for row in _picture_rows(session, plan):
                    pictures.append({"runtime": name, **row})
                    say(_line(pictures[-1]))
        except ModelError as error:
            unavailable[name] = str(error)
            say(f"{name}: {error}")
    return {"networks": networks, "pictures": pictures, "unavailable": unavailable}


def _line(row: dict[str, Any]) -> str:
    size = f" of {row['width']}x{row['height']}" if "width" in row else ""
    return (
        f"{row['runtime']}, {row['call']}{size}, batch {row['batch']}: "
        f"{row['p50_ms']} ms, {row['images_per_s']} images/s"
    )


def _timed(call: Callable[[], Any], batch: int, plan: LatencyPlan) -> dict[str, Any]:
    def waited() -> None:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    waited()  # graphs are recorded, kernels compiled
    return batch_summary(host_times(waited, plan.measure_ms, plan.runs), batch)


def _network_rows(session: Session, plan: LatencyPlan) -> Iterator[dict[str, Any]]:
    run, pixels, size = session.runtime.run, session.runtime.pixels, session.runtime.size
    frame = torch.from_numpy(photograph((size, size)).copy()).permute(2, 0, 1) / 255.0

    def protect(frames: torch.Tensor) -> Any:
        return run("protect", {"image": frames})

    def locate_and_recover(frames: torch.Tensor) -> Any:
        box = run("localize", {"received": frames})["crop_box"]
        aligned = run("align", {"received": frames})["aligned"]
        return run("recover", {"aligned": aligned, "crop_box": box})

    for batch in plan.batches:
        # torch tensors on every device, or the runtime would bring its results to numpy
        uploaded = torch.as_tensor(pixels.upload(frame.repeat(batch, 1, 1, 1).numpy()))
        for name, call in (("protect", protect), ("locate+recover", locate_and_recover)):
            yield {"call": name, **_timed(partial(call, uploaded), batch, plan)}


def _picture_rows(session: Session, plan: LatencyPlan) -> Iterator[dict[str, Any]]:
    """From pixels in main memory to pixels in main memory, through the whole pipeline."""
    for width, height in plan.pictures_px:
        picture = photograph((width, height))
        x0, y0, x1, y1 = box_to_pixels(_KEPT, width, height)
        fragment = np.ascontiguousarray(session.protect(picture).image[y0:y1, x0:x1])
        for batch in plan.batches:
            for call, image in (("protect", picture), ("recover", fragment)):
                work = partial(getattr(session, f"{call}_batch"), [image] * batch)
                found = _timed(work, batch, plan)
                yield {"call": call, "width": width, "height": height, **found}
