"""Localization where the network itself goes wrong; for the rest see what it finds."""

import numpy as np
import pytest

from clr_infer.errors import ModelError
from clr_infer.localization import localize
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.stopwatch import Stopwatch


@pytest.mark.parametrize("name", ["crop_box", "confidence", "score", "skew"])
def test_numbers_that_are_none_are_no_verdict(session, coffee, name, monkeypatch):
    runtime, run = session.runtime, session.runtime.run

    def overflown(network, tensors):
        outputs = run(network, tensors)
        return {**outputs, name: np.full_like(outputs[name], np.nan)}

    monkeypatch.setattr(runtime, "run", overflown)
    with pytest.raises(ModelError, match="not finite.*fp32"):
        localize(runtime, [coffee], DEFAULT_SETTINGS, Stopwatch(1))
