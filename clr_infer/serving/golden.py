"""Golden inference: does a server do its job, whatever its ready flags say?"""

import time

import numpy as np

from ..client import Client
from ..errors import ServerError
from ..geometry import Box, box_iou
from ..samples import SAMPLE

__all__ = ["STEPS", "check"]

STEPS = ("protect", "locate", "recover", "fg_jpeg")
"""The calls of a golden inference, in order."""

_KEPT = Box(0.1, 0.1, 0.9, 0.95)
_QF = 75.0


def check(client: Client, timings_ms: dict[str, float] | None = None) -> dict[str, float]:
    """Protect a sample picture, crop it, recover it, and simulate JPEG on a corner of it.

    Every network and every image-level model takes part.

    Args:
        client: of the server.
        timings_ms: filled by each step that did what it should, so that whoever passes it sees how
            far it went.

    Returns:
        Milliseconds of each step.

    Raises:
        ServerError: a step failed, or gave something else than it should.
    """
    timings_ms = {} if timings_ms is None else timings_ms

    def timed(name: str, began: float) -> None:
        timings_ms[name] = round((time.perf_counter() - began) * 1000.0, 1)

    began = time.perf_counter()
    protected = client.protect(SAMPLE.read_bytes())
    timed("protect", began)
    height, width = protected.image.shape[:2]
    rows = slice(round(_KEPT.y0 * height), round(_KEPT.y1 * height))
    columns = slice(round(_KEPT.x0 * width), round(_KEPT.x1 * width))
    fragment = np.ascontiguousarray(protected.image[rows, columns])

    began = time.perf_counter()
    located = client.locate(fragment)
    _expect(located.protected, "a fragment of a protected picture was not recognised")
    assert located.crop_box is not None
    overlap = box_iou(located.crop_box, _KEPT)
    _expect(overlap > 0.95, f"a known crop was found with an overlap of {overlap:.3f} only")
    timed("locate", began)

    began = time.perf_counter()
    recovered = client.recover(fragment)
    _expect(recovered.image is not None, "a fragment was located but not recovered")
    timed("recover", began)

    corner = np.ascontiguousarray(protected.image[:64, :64])
    began = time.perf_counter()
    simulated = client.fg_jpeg(corner, _QF).image
    change = float(np.abs(simulated.astype(np.int16) - corner).mean())
    _expect(0.0 < change < 8.0, f"simulated JPEG changed a picture by {change:.2f} levels")
    timed("fg_jpeg", began)
    return timings_ms


def _expect(holds: bool, text: str) -> None:
    if not holds:
        raise ServerError(f"golden inference: {text}")
