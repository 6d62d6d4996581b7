"""What weights are calibrated and packaged with."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clr_infer.train import finish
from clr_infer.train.finish import calibrate, package


def _networks() -> dict[str, SimpleNamespace]:
    localize = SimpleNamespace(calibration=torch.zeros(2))
    return {"protect": SimpleNamespace(nominal_psnr_db=38.0), "localize": localize}


@pytest.mark.parametrize(("place", "scale"), [(5.0, 2.0), (-3.0, 0.5)])
def test_the_verdict_turns_where_hardly_any_unprotected_score_lies(monkeypatch, place, scale):
    """Half as often as is promised, where their maxima have a Gumbel distribution."""
    asked, networks = [], _networks()
    no = place - scale * np.log(-np.log((np.arange(20_000) + 0.5) / 20_000))
    yes = no + 30.0 * scale

    def scores(networks, photos, quieter_db, seed):
        asked.append(quieter_db)
        return yes, no

    monkeypatch.setattr(finish, "_scores", scores)
    found = calibrate(networks, [], 40.0)
    assert asked == [2.0]  # dB over the strength of training
    assert found["false_positive_rate"] == pytest.approx(5e-4, rel=0.15)
    assert found["true_positive_rate"] == 1.0
    assert 0 < found["slope"] <= 1.0 and found["fragments"] == 20_000
    said = networks["localize"].calibration.tolist()
    assert said == pytest.approx([found["slope"], found["offset"]])


@pytest.mark.parametrize("count", [1, 4, 40])
def test_twins_are_calibrated_on_other_photographs_than_they_are_validated_on(
    monkeypatch, tmp_path, count
):
    """Where there are others; and small ones are enlarged to the frame."""
    written, calibrated = [], []
    monkeypatch.setattr(finish, "write_weights", lambda *given: written.append(given))
    monkeypatch.setattr(finish, "calibrate", lambda _, pixels, psnr_db: calibrated.append(pixels))
    shades = [torch.full((3, 60, 90), 5 * index, dtype=torch.uint8) for index in range(count)]
    manifest = {"size": 128, "default_psnr_db": 38.0}
    finish._calibrate_and_write({}, manifest, SimpleNamespace(images=shades), tmp_path)
    ((_, _, _, frames, int8),) = written
    shown = [[round(255 * float(one.mean())) // 5 for one in batch] for batch in (frames, int8)]
    assert shown[0] == ([0, 0, 0] if count == 1 else [0, 1, 2])
    assert shown[1] == {1: [0], 4: [3], 40: list(range(20, 40))}[count]
    assert {one.shape for one in calibrated[0]} == {(128, 192, 3)}


@pytest.mark.parametrize(
    ("given", "learned", "expected"), [(None, None, 38.0), (None, 39.0, 39.0), (41.0, 39.0, 41.0)]
)
def test_weights_protect_as_it_was_said_last(monkeypatch, given, learned, expected):
    facts = {"psnr_db": 38.0, "default_psnr_db": learned, "data": "photographs"}
    monkeypatch.setattr(finish, "collect", lambda *_: ({}, dict(facts)))
    monkeypatch.setattr(finish, "_calibrate_and_write", lambda networks, manifest, *_: manifest)
    here = Path()
    manifest = package(here, here, 64, None, here, default_psnr_db=given)
    assert manifest["default_psnr_db"] == expected and manifest["data"] == "photographs"
    assert package(here, here, 64, None, here, "others")["data"] == "others"
