"""The end-to-end check of a precision: what it measures, and that it sees a loss."""

import numpy as np
import pytest

import clr_infer
from clr_infer.errors import InputError
from clr_infer.evaluate import precision
from clr_infer.evaluate.metrics import psnr
from clr_infer.evaluate.precision import MEASURES, PrecisionCheck, measure_quality, quality_lost
from clr_infer.specs import SPECS
from clr_infer.weights import Weights


@pytest.fixture(scope="module")
def embedded():
    return clr_infer.load()


class _Dulled:
    """The embedded runtime with 4-bit results: a precision that nobody should ship."""

    name = "dulled"

    def __init__(self):
        self.inner = clr_infer.load().runtime
        self.size, self.psnr_db = self.inner.size, self.inner.psnr_db
        self.pixels = self.inner.pixels

    def run(self, network, tensors):
        found = self.inner.run(network, tensors)
        for name in ("recovered", "simulated"):
            if name in found:
                found[name] = np.rint(found[name] * 15.0) / np.float32(15.0)
        return found


def test_a_sound_session_is_measured_as_it_is(embedded, coffee):
    found = measure_quality(embedded, [coffee])
    assert tuple(found) == MEASURES
    assert found["protected_psnr_db"] == pytest.approx(
        psnr(coffee, embedded.protect(coffee).image), abs=1e-3
    )
    assert found["box_iou"] > 0.97 and found["fg_jpeg_psnr_db"] > 45
    assert 12 < found["cropped_out_psnr_db"] < 35


def test_a_loss_is_seen_where_it_is(embedded, coffee):
    dulled = clr_infer.Session(_Dulled(), embedded.weights, embedded.settings)
    lost = quality_lost(measure_quality(dulled, [coffee]), measure_quality(embedded, [coffee]))
    assert lost["protected_psnr_db"] == lost["box_iou"] == 0.0
    assert lost["cropped_out_psnr_db"] > 0.1 and lost["fg_jpeg_psnr_db"] > 10


def test_a_refused_fragment_counts_as_one_that_was_not_found(session):
    class Runtime(type(session.runtime)):
        def run(self, network, tensors):
            return {"simulated": tensors["image"]}

    session.runtime = Runtime()
    refused, missed = (
        measure_quality(session, [session.picture(one)]) for one in ("refused", "missed")
    )
    assert refused["box_iou"] == missed["box_iou"] == 0.0
    assert refused["cropped_out_psnr_db"] == pytest.approx(missed["cropped_out_psnr_db"], abs=0.5)


def test_the_shipped_graphs_lose_nothing_against_eager(coffee):
    weights = Weights()
    assert all(f"{name}.onnx" in weights.manifest["files"] for name in SPECS)
    found = PrecisionCheck(weights, [coffee])(weights.folder, "fp32")
    assert found["images"] == 1
    assert all(abs(value) < 0.05 for value in found["lost"].values())


def test_nothing_cannot_be_measured(embedded):
    with pytest.raises(InputError):
        measure_quality(embedded, [])


def test_int8_is_measured_in_openvino_where_the_processor_is_for_it(monkeypatch):
    opened = []
    monkeypatch.setattr(precision, "load", lambda name, weights: opened.append(name))
    monkeypatch.setattr(precision, "measure_quality", lambda *_: dict.fromkeys(MEASURES, 1.0))
    monkeypatch.setattr(precision, "why_not", lambda name, weights: None)
    for vnni in (True, False):
        monkeypatch.setattr(precision, "multiplies_int8", lambda vnni=vnni: vnni)
        found = PrecisionCheck(Weights(), [])(Weights().folder, "int8")
        assert (found["lost_in_openvino"] is not None) == vnni
    assert opened.count("openvino") == 1
