import numpy as np
import pytest

from clr_infer.errors import InputError
from clr_infer.evaluate.metrics import rates, roc_auc
from clr_infer.evaluate.verdicts import calibration_error, reliability, roc_curve, threshold_at


@pytest.mark.parametrize(("rate", "allowed"), [(0.0, 0), (0.001, 1), (0.0019, 1), (0.01, 10)])
def test_a_threshold_lets_no_more_through_than_it_may(rate, allowed):
    negatives = [round(i / 1000, 6) for i in range(1000)]
    threshold = threshold_at(negatives, rate)
    assert sum(value >= threshold for value in negatives) == allowed
    assert sum(value >= threshold - 1e-6 for value in negatives) == allowed + 1


def test_thresholds_at_the_ends():
    assert threshold_at([0.3, 0.3, 0.3], 0.4) == 0.300001  # ties are let through together or not
    assert threshold_at([0.2], 1.0) == 0.0
    with pytest.raises(InputError):
        threshold_at([], 0.1)


def test_the_roc_curve_holds_the_rates_of_every_threshold():
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(2, 9, 40) / 10, rng.integers(0, 7, 30) / 10
    false, true = roc_curve(positives, negatives)
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    found = set(zip(true.round(9), false.round(9), strict=True))
    for threshold in np.unique(positives):
        assert tuple(np.round(rates(positives, negatives, threshold), 9)) in found
    area = np.trapezoid(true, false)
    assert area == pytest.approx(roc_auc(positives, negatives))
    with pytest.raises(InputError):
        roc_curve([], [0.5])


def test_reliability_counts_and_weighs():
    rows = reliability([0.05, 0.95, 0.97, 1.0, 0.55], [False, True, True, False, True])
    assert [(row["low"], row["cases"], row["right"]) for row in rows] == [
        (0.0, 1, 0.0),
        (0.5, 1, 1.0),
        (0.9, 3, pytest.approx(2 / 3)),
    ]
    expected = (0.05 + 0.45 + 3 * abs(2.92 / 3 - 2 / 3)) / 5
    assert calibration_error(rows) == pytest.approx(expected)
    with pytest.raises(InputError):
        reliability([0.5], [])
