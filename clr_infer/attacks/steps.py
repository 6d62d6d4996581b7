"""Post-processing as data: a chain of named steps with their parameters.

One chain drives the real operations (:mod:`.real`), the simulated ones (:mod:`.simulate`), the
``clr-infer attack`` command and the evaluation protocol.
"""

import math
from dataclasses import dataclass

from ..errors import UsageError

__all__ = ["DEFAULT_SUBSAMPLING", "Chain", "Step", "describe", "parse_chain"]

DEFAULT_SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        name: ``crop`` (box in fractions of the image), ``resize`` (factor), ``gaussian`` (kernel
            3 or 5), ``median`` (kernel 3 or 5), ``noise`` (sigma in [0, 1] units), ``tone``
            (brightness offset in [0, 1] units, contrast factor), ``jpeg`` (quality factor); and,
            for measuring limits only, ``rotate`` (degrees, counter-clockwise, corners black),
            ``border`` (white, its width as a share of the shorter side), ``mirror`` (no parameter),
            ``occlude`` (a black rectangle in the middle, its share of the area), ``webp`` and
            ``avif`` (quality).
        values: the parameters, in that order.
        subsampling: chroma subsampling, for ``jpeg``.
    """

    name: str
    values: tuple[float, ...]
    subsampling: str = DEFAULT_SUBSAMPLING


Chain = tuple[Step, ...]

_ARITY = {"crop": 4, "resize": 1, "gaussian": 1, "median": 1, "noise": 1, "tone": 2, "jpeg": 1}
_ARITY |= {"rotate": 1, "border": 1, "mirror": 0, "occlude": 1, "webp": 1, "avif": 1}
_WHOLE = ("jpeg", "webp", "avif")
_LIMITS = {
    "rotate": (-180.0, 180.0),
    "border": (0.0, 1.0),
    "resize": (0.05, 8.0),
    "noise": (0.0, 1.0),
    "occlude": (0.0, 1.0),
    "jpeg": (1.0, 100.0),
    "webp": (1.0, 100.0),
    "avif": (0.0, 100.0),
}


def _fail(text: str, why: str) -> UsageError:
    example = "crop=0.1,0.2,0.9,0.95 resize=0.5 jpeg=80 jpeg=80@4:4:4 gaussian=5 noise=0.02"
    return UsageError(f"attack step {text!r}: {why}; steps look like: {example}")


def _parse_step(text: str) -> Step:
    name, _, argument = text.partition("=")
    if name not in _ARITY:
        raise _fail(text, f"unknown operation, one of {', '.join(_ARITY)}")
    argument, _, subsampling = argument.partition("@")
    try:
        values = tuple(float(v) for v in argument.split(",")) if argument else ()
    except ValueError:
        raise _fail(text, "parameters must be numbers") from None
    if not all(map(math.isfinite, values)):
        raise _fail(text, "parameters must be finite")
    if len(values) != _ARITY[name]:
        raise _fail(text, f"{name} takes {_ARITY[name]} parameter(s)")
    low, high = _LIMITS.get(name, (-float("inf"), float("inf")))
    if not all(low <= v <= high for v in values):
        raise _fail(text, f"must lie between {low:g} and {high:g}")
    if name in _WHOLE and values[0] % 1:
        raise _fail(text, "a whole number is wanted")
    if name in ("gaussian", "median") and values[0] not in (3, 5):
        raise _fail(text, "the kernel is 3 or 5")
    if name == "crop" and not (0 <= values[0] < values[2] <= 1 and 0 <= values[1] < values[3] <= 1):
        raise _fail(text, "a box is x0,y0,x1,y1 in fractions, x0 < x1 and y0 < y1")
    if subsampling and (name != "jpeg" or subsampling not in ("4:4:4", "4:2:2", "4:2:0")):
        raise _fail(text, "subsampling is @4:4:4, @4:2:2 or @4:2:0, for jpeg")
    return Step(name, values, subsampling or DEFAULT_SUBSAMPLING)


def parse_chain(text: str) -> Chain:
    """Read a chain from words, ``"crop=0.1,0.2,0.9,0.95 resize=0.5 jpeg=80@4:4:4"``.

    Raises:
        UsageError: a word is not a step; the message shows what one looks like.
    """
    return tuple(_parse_step(word) for word in text.split())


def describe(chain: Chain) -> str:
    """The words of a chain: the inverse of :func:`parse_chain`."""
    words = []
    for step in chain:
        word = f"{step.name}={','.join(f'{v:g}' for v in step.values)}".removesuffix("=")
        if step.name == "jpeg" and step.subsampling != DEFAULT_SUBSAMPLING:
            word += f"@{step.subsampling}"
        words.append(word)
    return " ".join(words)
