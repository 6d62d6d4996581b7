"""Where the localize network is right: the pieces by what they promise, the whole on hard cases."""

import numpy as np
import pytest
import torch
from PIL import Image

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.geometry import Box, box_iou, box_to_pixels
from clr_infer.networks.localize import LocalizeNetwork
from clr_infer.networks.profiles import Profiles
from clr_infer.networks.search import SpanSearch, _windows
from clr_infer.networks.template import codes, template
from clr_infer.preprocess import to_frame
from clr_infer.turns import crookedness

SIZE = 256


def _code(size: int = SIZE) -> torch.Tensor:
    return torch.stack(codes(size))[[0, 2, 1, 3], :].view(2, 2, size)


def _seen(code: torch.Tensor, x: tuple[int, int], y: tuple[int, int]) -> torch.Tensor:
    """The profiles, 1x2x2xS, of a crop that keeps these spans."""
    lines = [
        torch.nn.functional.interpolate(axis[None, :, first:last], size=code.shape[-1])
        for axis, (first, last) in zip(code, (x, y), strict=True)
    ]
    return 0.05 * torch.cat(lines)[None]


def test_windows_are_the_code_from_every_offset_on():
    code = torch.arange(1.0, 13.0).view(2, 6)
    windows = _windows(code)
    for offset in range(6):
        assert torch.equal(windows[:, : 6 - offset, offset], code[:, offset:])
        assert not windows[:, 6 - offset :, offset].any()


@torch.no_grad()
@pytest.mark.parametrize("dead", [None, 0, 1])
@pytest.mark.parametrize("span", [(0, 512), (0, 134), (378, 512), (80, 278), (6, 400)])
def test_every_scale_is_searched_with_either_code(dead, span):
    code = _code(512)
    profiles = _seen(code, span, span)
    if dead is not None:
        noise = torch.randn(2, 512, generator=torch.Generator().manual_seed(2))
        profiles[0, :, dead] = 0.05 * noise
    found, _ = SpanSearch(code)(profiles)
    assert float((found[0] - torch.tensor(span)).abs().max()) <= 1


@torch.no_grad()
@pytest.mark.parametrize(("sure", "expected"), [((20, 220), (30, 230)), ((0, 80), (100, 180))])
def test_a_sure_axis_decides_for_the_other(sure, expected):
    code = _code()
    profiles = _seen(code, sure, (30, 230))
    profiles[0, 1] += 2.1 * _seen(code, sure, (100, 180))[0, 1]  # as likely as the other span
    found, _ = SpanSearch(code)(profiles)
    assert float((found[0] - torch.tensor([sure, expected])).abs().max()) <= 1


@torch.no_grad()
@pytest.mark.parametrize("unsure", [0, 1])
def test_a_box_is_no_surer_than_its_less_sure_axis(unsure):
    code = _code()
    search, profiles = SpanSearch(code), _seen(code, (20, 220), (30, 230))
    noise = 0.05 * torch.randn(2, 2, SIZE, generator=torch.Generator().manual_seed(3))
    _, both = search(profiles)
    profiles[0, unsure] = noise[unsure]
    _, one = search(profiles)
    assert float(one) < 0.3 * float(both)  # their sum would be over half of it


@torch.no_grad()
def test_a_loud_place_does_not_drown_the_template():
    columns, rows = template(SIZE)
    quiet = 0.5 + columns + rows
    loud = quiet.clone()
    noise = torch.rand(3, 64, SIZE, generator=torch.Generator().manual_seed(0))
    loud[..., :64, :] = noise  # a quarter of the lines is noise of full contrast
    profiles = Profiles(1)
    for code in range(2):
        pair = torch.stack([profiles(x)[0, 0, code, 0] for x in (quiet, loud)])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.95


def test_the_odds_of_a_box_need_no_search_and_have_a_gradient():
    columns, rows = template(SIZE)
    protected = 0.5 + columns + rows
    y0, y1, x0, x1 = 32, 224, 16, 240
    received = torch.nn.functional.interpolate(
        protected[..., y0:y1, x0:x1], size=(SIZE, SIZE), mode="bilinear"
    ).requires_grad_()
    localize = LocalizeNetwork(SIZE)
    box = torch.tensor([[x0, y0, x1, y1]]) / SIZE
    right, shifted = localize.odds_of(received, box), localize.odds_of(received, box + 0.02)
    whole = localize.odds_of(received, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert right.shape == (1, 2)
    assert bool((right > 3.0 * shifted).all() and (right > 3.0 * whole).all())
    (gradient,) = torch.autograd.grad(right.log().sum(), received)
    with torch.no_grad():  # a step along it makes the box surer
        surer = localize.odds_of(received + 1e-3 * gradient / gradient.abs().max(), box)
    assert bool((surer > right).all())


@torch.no_grad()
def test_an_image_without_content_is_no_evidence():
    for value in (0.0, 0.4, 1.0):
        _, _, score, _ = LocalizeNetwork(SIZE)(torch.full((1, 3, SIZE, SIZE), value))
        assert float(score) < 5


@pytest.fixture(scope="module")
def full_size():
    return LocalizeNetwork(512)


@torch.no_grad()
@pytest.mark.parametrize("degrees", [-2.2, -0.7, 0.0, 0.1, 1.6])
@pytest.mark.parametrize("sides", [(600, 400), (320, 500)])
def test_a_rotated_template_says_by_how_much(full_size, degrees, sides):
    """In light noise, rotated about the centre: the angle to a few hundredths of a degree."""
    columns, rows = template(512)
    noise = 0.004 * torch.randn(3, 512, 512, generator=torch.Generator().manual_seed(1))
    frame = (255 * (0.5 + columns + rows + noise)[0]).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(frame).resize(sides, Image.Resampling.BICUBIC)
    straight = picture.rotate(degrees, Image.Resampling.BICUBIC)
    width, height = sides
    margin = round(0.06 * max(sides))  # more than the corners that a rotation leaves black
    part = straight.crop((margin, margin, width - margin, height - margin))
    received = torch.from_numpy(to_frame(np.asarray(part), 512)[None])
    box, _, _, skew = full_size(received)
    assert abs(crookedness(skew[0].tolist(), *part.size) + degrees) < 0.06
    expected = Box(margin / width, margin / height, 1 - margin / width, 1 - margin / height)
    assert box_iou(Box(*box[0].tolist()), expected) > (0.99 if abs(degrees) < 0.2 else 0.9)


CASES = [
    ("resize=0.5 jpeg=80", 0.65, 0.0),
    ("resize=0.5 jpeg=80", 0.65, 0.4),
    ("resize=0.5 jpeg=70", 0.8, 0.4),
    ("resize=0.5 jpeg=70", 0.8, 1.0),
    ("resize=0.5 jpeg=70", 0.65, 0.0),
    ("jpeg=50", 0.5, 0.4),
    ("", 0.35, 0.4),
]
"""Post-processing, kept side and place of crops that weights by local variance put elsewhere."""


def test_hard_cases_are_found(session, rocket):
    """A small photograph, mostly dark sky, through a small JPEG."""
    image = session.protect(rocket).image
    height, width = image.shape[:2]
    overlaps = []
    for steps, kept, place in CASES:
        x, y = place * (1 - kept), (1 - place) * (1 - kept)
        pixels = box_to_pixels(Box(x, y, x + kept, y + kept), width, height)
        x0, y0, x1, y1 = pixels
        received = apply(image[y0:y1, x0:x1], parse_chain(steps), np.random.default_rng(0))
        frame = to_frame(received, session.runtime.size)[None]
        box = Box(*session.runtime.run("localize", {"received": frame})["crop_box"][0].tolist())
        truth = Box(x0 / width, y0 / height, x1 / width, y1 / height)
        overlaps.append(box_iou(box, truth))
    assert np.mean(overlaps) > 0.98, dict(zip(CASES, overlaps, strict=True))


def test_hard_cases_are_recognised_and_unprotected_ones_are_not(session, rocket):
    height, width = rocket.shape[:2]
    x0, y0, x1, y1 = box_to_pixels(Box(0.1, 0.1, 0.75, 0.75), width, height)
    for image, expected in ((session.protect(rocket).image, True), (rocket, False)):
        crop = image[y0:y1, x0:x1]
        received = apply(crop, parse_chain("resize=0.5 jpeg=80"), np.random.default_rng(0))
        assert session.locate(received).protected is expected
