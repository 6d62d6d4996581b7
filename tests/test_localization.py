"""Localization where the network goes wrong, or says what it is told; else see what it finds."""

import numpy as np
import pytest

from clr_infer import localization
from clr_infer.errors import ModelError
from clr_infer.localization import localize
from clr_infer.pixels import HostPixels
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.stopwatch import Stopwatch
from clr_infer.turns import confidence_among


@pytest.mark.parametrize("name", ["crop_box", "confidence", "score", "skew"])
def test_numbers_that_are_none_are_no_verdict(session, coffee, name, monkeypatch):
    runtime, run = session.runtime, session.runtime.run

    def overflown(network, tensors):
        outputs = run(network, tensors)
        return {**outputs, name: np.full_like(outputs[name], np.nan)}

    monkeypatch.setattr(runtime, "run", overflown)
    with pytest.raises(ModelError, match="not finite.*fp32"):
        localize(runtime, [coffee], DEFAULT_SETTINGS, Stopwatch(1))


class Told:
    """A runtime whose localize network is as sure of a view as it is told to be.

    Args:
        bordered: score and confidence where the corner is white.
        inside: without that border.
        mirrored: without it, where the brighter half is on the left.
    """

    size, pixels = 32, HostPixels()

    def __init__(self, bordered, inside, mirrored):
        self.bordered, self.inside, self.mirrored, self.looks = bordered, inside, mirrored, 0

    def run(self, network, tensors):
        assert network == "localize"
        frames, said = tensors["received"], []
        for frame in frames:
            left, right = frame[..., 12:16].mean(), frame[..., 16:20].mean()
            fragment = self.mirrored if left > right else self.inside
            said.append(self.bordered if frame[..., 0, 0].min() > 0.99 else fragment)
        self.looks += len(frames)
        score, confidence = np.array(said, np.float32).T
        box = np.tile(np.float32([0.1, 0.1, 0.9, 0.9]), (len(frames), 1))
        skew = np.zeros((len(frames), 2), np.float32)
        return {"crop_box": box, "confidence": confidence, "score": score, "skew": skew}


@pytest.fixture
def screenshot() -> np.ndarray:
    """Darker on the left, within a white border."""
    image = np.full((96, 96, 3), 255, np.uint8)
    image[16:80, 16:80] = np.random.default_rng(0).integers(0, 60, (64, 64, 3))
    image[16:80, 48:80] += 120
    return image


@pytest.mark.parametrize(
    ("bordered", "inside", "added", "cut"),
    [
        ((2.0, 0.2), (4.9, 0.9), True, False),
        ((2.0, 0.2), (5.1, 0.9), False, True),
        ((2.0, 0.2), (5.1, 0.3), False, True),
        ((-3.0, 0.2), (-1.0, 0.9), True, False),
        ((4.0, 0.6), (8.0, 0.9), True, True),
        ((4.0, 0.6), (11.0, 0.9), False, True),
        ((4.0, 0.6), (8.0, 0.9), False, False),
        ((4.0, 0.6), (8.0, 0.4), True, False),
    ],
)
def test_a_border_is_cut_where_the_fragment_is_far_surer_or_sure_and_it_was_added(
    screenshot, monkeypatch, bordered, inside, added, cut
):
    monkeypatch.setattr(localization, "was_added", lambda *_: added)
    runtime = Told(bordered, inside, inside)
    found = localize(runtime, [screenshot], DEFAULT_SETTINGS, Stopwatch(1))
    (located,), frame = found.located, runtime.pixels.preprocess(found.received, runtime.size)
    assert np.array_equal(found.frames, frame)
    assert located.confidence == pytest.approx(inside[1] if cut else bordered[1])
    assert located.protected == (located.confidence > 0.5)
    if located.protected:
        assert (located.picture_px != (0, 0, 96, 96)) == cut


def test_odds_are_shared_among_the_views_with_a_border_and_within_it(screenshot):
    runtime = Told((1.0, 0.2), (2.0, 0.2), (60.0, 0.999))
    found = localize(runtime, [screenshot], DEFAULT_SETTINGS, Stopwatch(1), turned=True)
    (located,) = found.located
    assert located.protected and located.turn.mirrored and located.picture_px != (0, 0, 96, 96)
    beside = runtime.looks - 2  # but for the first, and the best, which is looked at again
    assert located.confidence == pytest.approx(confidence_among(0.999, beside))


def test_a_view_within_a_border_has_to_be_far_surer_too(screenshot):
    sides = (30.0, 0.2), (2.0, 0.2), (70.0, 0.999)
    settings, clock = DEFAULT_SETTINGS, Stopwatch(1)
    (located,) = localize(Told(*sides), [screenshot], settings, clock, turned=True).located
    assert not located.protected and located.confidence == pytest.approx(0.2)
