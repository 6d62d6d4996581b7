"""The published crops and conditions: data and its deterministic drawing, nothing else.

The same image and kept side get the same box in every condition, whatever else is in a run, so
that conditions are compared on the same crops.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..attacks.steps import Chain, Step, parse_chain
from ..errors import InputError, UsageError
from ..geometry import FULL_FRAME, Box

__all__ = [
    "CONDITIONS",
    "COPIES",
    "FULL",
    "KEPT",
    "LIMITS",
    "MAIN_KEPT",
    "QUICK",
    "SETS",
    "TARGETS",
    "Condition",
    "Crop",
    "EvaluationSet",
    "case_rng",
    "check_kept",
    "draw_crop",
    "kept_of_case",
    "kept_range",
    "paired_kept",
    "pick_condition",
    "pick_set",
    "plan_image",
]

#: Kept sides: the uncropped control, those of the method's authors' range, and one below it.
KEPT = (1.0, 0.95, 0.89, 0.84, 0.77, 0.71, 0.63, 0.55)
_MAIN_MIN = 0.6
_GAP_MAX = 0.2


def kept_range(kept: float) -> str:
    """``"control"`` for an uncropped image, ``"main"`` from 0.6 of a side, else ``"below"``."""
    if kept == 1.0:
        return "control"
    return "main" if kept >= _MAIN_MIN else "below"


MAIN_KEPT = tuple(kept for kept in KEPT if kept_range(kept) == "main")


@dataclass(frozen=True)
class Condition:
    """What happens to a protected image.

    Attributes:
        name: its key, everywhere.
        label: its name for people.
        after: the steps after the crop.
        before: the steps before the crop, on the whole image.
        swept: measured at every kept side; others at one kept side an image, to bound the time.
        kept: kept sides of its own, whatever those of the set; empty for none.
        turned: the method is told to look for fragments that do not lie upright.
    """

    name: str
    label: str
    after: Chain
    before: Chain = ()
    swept: bool = False
    kept: tuple[float, ...] = ()
    turned: bool = False

    def chain(self, box: Box) -> Chain:
        """The whole chain around a crop."""
        return (*self.before, Step("crop", tuple(box)), *self.after)


def _full_conditions() -> Iterable[Condition]:
    yield Condition("clean", "crop only", (), swept=True)
    for subsampling in ("4:2:0", "4:4:4"):
        for qf in (95, 90, 80, 70, 60, 50):
            main = subsampling == "4:2:0"
            yield Condition(
                f"jpeg{qf}" if main else f"jpeg{qf}-444",
                f"JPEG {qf}" if main else f"JPEG {qf}, {subsampling}",
                parse_chain(f"jpeg={qf}@{subsampling}"),
                swept=main and qf in (80, 60),
            )
    for kind, title, values in (
        ("resize", "resize x", ("0.5", "0.75", "1.5")),
        ("gaussian", "Gaussian blur ", ("3", "5")),
        ("median", "median ", ("3", "5")),
        ("noise", "noise, sigma ", ("0.02", "0.04")),
    ):
        for value in values:
            yield Condition(f"{kind}{value}", f"{title}{value}", parse_chain(f"{kind}={value}"))
    resized = parse_chain("resize=0.5 jpeg=80")
    yield Condition("resize0.5-jpeg80", "resize x0.5, JPEG 80", resized)
    before, after = parse_chain("jpeg=90"), parse_chain("jpeg=80")
    yield Condition("jpeg90-crop-jpeg80", "JPEG 90, then crop, JPEG 80", after, before)
    yield Condition("jpeg85-jpeg85", "JPEG 85 twice", parse_chain("jpeg=85 jpeg=85"))
    tone = parse_chain("tone=0.05,1.1")
    yield Condition("tone", "brightness +0.05, contrast x1.1", tone)


def _limit_conditions() -> Iterable[Condition]:
    """What lies at the edge of what the method does, or beyond it."""
    yield Condition("jpeg50-half", "JPEG 50, kept 0.5", parse_chain("jpeg=50"), kept=(0.5,))
    yield Condition("clean-half", "crop only, kept 0.5", (), kept=(0.5,))
    yield Condition("clean-third", "crop only, kept 0.35", (), kept=(0.35,))
    for title, words in (
        ("JPEG 70, then crop, JPEG 70", "jpeg=70 | jpeg=70"),
        ("JPEG 30", "jpeg=30"),
        ("JPEG 20", "jpeg=20"),
        ("resize x0.5, JPEG 60", "resize=0.5 jpeg=60"),
        ("resize x0.35, JPEG 80", "resize=0.35 jpeg=80"),
        ("WebP 80", "webp=80"),
        ("WebP 50", "webp=50"),
        ("AVIF 60", "avif=60"),
        ("AVIF 40", "avif=40"),
        ("a tenth occluded", "occlude=0.1"),
        ("a third occluded", "occlude=0.33"),
        ("Gaussian blur 5, three times", "gaussian=5 gaussian=5 gaussian=5"),
        ("median 5, JPEG 80", "median=5 jpeg=80"),
        ("noise, sigma 0.08", "noise=0.08"),
        ("washed: x0.5, x2, blur 3, JPEG 50", "resize=0.5 resize=2 gaussian=3 jpeg=50"),
        ("rotated by 0.5 degrees", "rotate=0.5"),
        ("rotated by 1 degree", "rotate=1"),
        ("rotated by 2 degrees", "rotate=2"),
        ("rotated by 5 degrees", "rotate=5"),
        ("rotated by 1 degree, JPEG 80", "rotate=1 jpeg=80"),
        ("mirrored", "mirror"),
        ("mirrored, JPEG 80", "mirror jpeg=80"),
        ("white border of 2 %", "border=0.02"),
        ("white border of 10 %", "border=0.1"),
        ("screenshot: border, x0.75, JPEG 80", "border=0.05 resize=0.75 jpeg=80"),
    ):
        before, _, after = words.rpartition(" | ")
        name = words.replace(" | ", " crop ")
        yield Condition(name, title, parse_chain(after), parse_chain(before))
    for title, words in (
        ("rotated by 2 degrees", "rotate=2"),
        ("rotated by 5 degrees", "rotate=5"),
        ("rotated by 10 degrees", "rotate=10"),
        ("rotated by 2 degrees, JPEG 80", "rotate=2 jpeg=80"),
        ("rotated by 5 degrees, JPEG 80", "rotate=5 jpeg=80"),
        ("mirrored", "mirror"),
        ("mirrored, JPEG 80", "mirror jpeg=80"),
        ("mirrored, rotated by 2 degrees", "mirror rotate=2"),
    ):
        chain = parse_chain(words)
        yield Condition(f"{words} --turned", f"{title}, sought", chain, turned=True)


_FULL = {one.name: one for one in _full_conditions()}
_LIMITS = {one.name: one for one in _limit_conditions()}
CONDITIONS = _FULL | _LIMITS


@dataclass(frozen=True)
class EvaluationSet:
    """A named choice of conditions and kept sides.

    Attributes:
        name: its key.
        conditions: what happens to the protected images.
        kept: sides of the crops.
        copy: images are protected with a fragile copy.
    """

    name: str
    conditions: tuple[Condition, ...]
    kept: tuple[float, ...]
    copy: bool = False


QUICK = EvaluationSet(
    "quick", tuple(CONDITIONS[name] for name in ("clean", "jpeg80", "jpeg60")), MAIN_KEPT
)
FULL = EvaluationSet("full", tuple(_FULL.values()), KEPT)
LIMITS = EvaluationSet("limits", tuple(_LIMITS.values()), MAIN_KEPT)
_AIMED_AT = (CONDITIONS["jpeg50-half"], CONDITIONS["clean-third"])
TARGETS = EvaluationSet("targets", (*FULL.conditions, *_AIMED_AT), KEPT)
_COPIED = "clean clean-half clean-third occlude=0.1 occlude=0.33 border=0.1 jpeg95 jpeg80".split()
COPIES = EvaluationSet("copies", tuple(CONDITIONS[name] for name in _COPIED), KEPT, copy=True)
SETS = {chosen.name: chosen for chosen in (QUICK, FULL, LIMITS, TARGETS, COPIES)}


def pick_set(chosen: EvaluationSet | str) -> EvaluationSet:
    """A set as it is, or by its name.

    Raises:
        UsageError: there is no set of this name.
    """
    if isinstance(chosen, EvaluationSet):
        return chosen
    if chosen not in SETS:
        raise UsageError(f"there is no evaluation set {chosen!r}; choose one of {', '.join(SETS)}")
    return SETS[chosen]


def pick_condition(text: str) -> Condition:
    """A condition by its name, or a new one from the words of a chain after the crop.

    Raises:
        UsageError: neither a name nor a chain; the message lists the names.
    """
    if text in CONDITIONS:
        return CONDITIONS[text]
    try:
        after = parse_chain(text)
    except InputError as error:
        raise UsageError(
            f"{text!r} is neither a condition ({', '.join(CONDITIONS)}) nor a chain: {error}"
        ) from error
    if not after or any(step.name == "crop" for step in after):
        raise UsageError(f"{text!r}: a condition holds at least one step, and the crop is its own")
    return Condition(text, text, after)


def check_kept(kept: Sequence[float]) -> tuple[float, ...]:
    """Kept sides in falling order, each once.

    Raises:
        InputError: there is none, or one is not between 0.1 and 1.
    """
    if not kept or not all(0.1 <= side <= 1.0 for side in kept):
        raise InputError(f"kept sides lie between 0.1 and 1, not {list(kept)}")
    return tuple(sorted({float(side) for side in kept}, reverse=True))


def paired_kept(index: int, kept: Sequence[float]) -> float:
    """The kept side at which every condition is measured on image ``index``.

    It rotates through the main range (through all, where there is none) from image to image.
    """
    choice = [side for side in kept if kept_range(side) == "main"] or list(kept)
    return choice[index % len(choice)]


def kept_of_case(condition: Condition, index: int, kept: Sequence[float]) -> tuple[float, ...]:
    """The kept sides at which a condition is measured on image ``index``."""
    if condition.kept:
        return condition.kept
    return tuple(kept) if condition.swept else (paired_kept(index, kept),)


@dataclass(frozen=True)
class Crop:
    """A crop of one image.

    Attributes:
        kept: its level; the mean of the kept shares of both sides, before snapping to pixels.
        kind: ``"control"``, ``"isotropic"`` or ``"anisotropic"``.
        box_px: in whole pixels of the image.
        box: the same in fractions.
    """

    kept: float
    kind: str
    box_px: tuple[int, int, int, int]
    box: Box


def _is_isotropic(index: int, kept: float) -> bool:
    """Half of the crops of each image, of each kept side, and of each rotation through both."""
    level = KEPT.index(kept) if kept in KEPT else 0
    return (index // 2 + level) % 2 == 0


def draw_crop(seed: int, index: int, kept: float, width: int, height: int) -> Crop:
    """Draw the crop of an image at a kept side, anywhere in the frame.

    An anisotropic crop keeps more of one side and less of the other, with a gap of at most 0.2
    that leaves both in the same range: 0.6 to 1, or up to 0.6.

    Args:
        seed: of the whole run.
        index: of the image.
        kept: share of a side that is kept, 0.1 to 1.
        width: of the image in pixels.
        height: of the image in pixels.
    """
    if kept == 1.0:
        return Crop(kept, "control", (0, 0, width, height), FULL_FRAME)
    rng = np.random.default_rng([seed, index, round(1000 * kept)])
    gap, flip, place_x, place_y = rng.uniform(size=4)
    shares = (kept, kept)
    isotropic = _is_isotropic(index, kept)
    if not isotropic:
        low, high = (_MAIN_MIN, 1.0) if kept >= _MAIN_MIN else (0.0, _MAIN_MIN)
        half = 0.5 * gap * min(_GAP_MAX, 2 * (high - kept), 2 * (kept - low))
        half = half if flip < 0.5 else -half
        shares = (kept + half, kept - half)
    side_x = max(1, round(shares[0] * width))
    side_y = max(1, round(shares[1] * height))
    x0, y0 = round(place_x * (width - side_x)), round(place_y * (height - side_y))
    box_px = (x0, y0, x0 + side_x, y0 + side_y)
    box = Box(x0 / width, y0 / height, box_px[2] / width, box_px[3] / height)
    return Crop(kept, "isotropic" if isotropic else "anisotropic", box_px, box)


def plan_image(
    conditions: Sequence[Condition],
    kept: Sequence[float],
    seed: int,
    index: int,
    size: tuple[int, int],
) -> list[tuple[Condition, Crop]]:
    """All cases of one image; see :func:`draw_crop` for the arguments."""
    return [
        (condition, draw_crop(seed, index, side, *size))
        for condition in conditions
        for side in kept_of_case(condition, index, kept)
    ]


def case_rng(seed: int, index: int, kept: float, condition: Condition) -> np.random.Generator:
    """The randomness of one case: the same for the protected image and its unprotected twin."""
    words = [seed, index, round(1000 * kept), zlib.crc32(condition.name.encode())]
    return np.random.default_rng(words)
