import numpy as np
import pytest
from PIL import Image

from clr_infer.evaluate import findings, page_plots
from clr_infer.evaluate.uncertainty import EDGES, agreement, count_pixels, pixel_reliability

from .conftest import UNSURE


def _row(uncertainty=None, expected=None, measured=None):
    return {
        "uncertainty": uncertainty,
        "expected_psnr_out": expected,
        "predicted_psnr_out": measured,
    }


def test_pixels_are_counted_by_what_is_expected_of_them():
    said = np.array([3, 4, 5, 5, 200], np.uint8)
    counted = count_pixels(said, np.array([9.0, 16.0, 0.0, 8.0, 100.0]))
    assert len(counted) == len(EDGES) - 1
    assert counted[0] == [1, 9, 9] and counted[1] == [3, 66, 24] and counted[-1] == [1, 40000, 100]
    assert sum(column[0] for column in counted) == 5


def test_honest_uncertainty_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    said = rng.integers(1, 80, 200_000)
    rows = [_row(count_pixels(s, rng.normal(0, s) ** 2)) for s in np.split(said, 4)] + [_row()]
    found = pixel_reliability(rows)
    assert [one["low"] for one in found] == list(EDGES[:-1])
    assert sum(one["share"] for one in found) == pytest.approx(1.0)
    for one in found:
        assert one["measured"] == pytest.approx(one["expected"], rel=0.05)
    boast = pixel_reliability([_row(count_pixels(said // 2 + 1, said.astype(float) ** 2))])
    assert all(one["measured"] > 1.2 * one["expected"] for one in boast[1:])
    assert pixel_reliability([_row()]) == []


def test_areas_agree_by_distance_and_order():
    rows = [_row(None, e, m) for e, m in ((20.0, 21.0), (22.0, 22.0), (25.0, 24.0))]
    found = agreement([*rows, _row(), _row(None, 20.0, None)])
    assert found["cases"] == 3 and found["off"] == pytest.approx(2 / 3)
    assert found["correlation"] > 0.9 and found["expected"] == pytest.approx(67 / 3)
    assert agreement(rows[:1]) is None
    for constant in (
        [_row(None, 20.0, m) for m in (1.0, 2.0)],
        [_row(None, e, 9.0) for e in (1, 2)],
    ):
        assert agreement(constant)["correlation"] == 0.0


def test_the_evaluation_asks_for_the_uncertainty(measured, tmp_path):
    report = measured.as_dict()
    found = [row for row in report["cases"] if row["protected"] and row["kept"] < 1.0]
    assert found and all(row["uncertainty"] for row in found)
    expected = 20 * np.log10(255 / UNSURE)
    assert {round(row["expected_psnr_out"], 3) for row in found} == {round(expected, 3)}
    others = [row for row in report["cases"] if row not in found]
    assert others and all(row["uncertainty"] is None for row in others)
    (one,) = pixel_reliability(report["cases"])
    assert (one["low"], one["expected"], one["share"]) == (4, UNSURE, 1.0)
    text = findings.uncertainty_tables(report)
    assert "| 4 to 6 | 100.0 % | 5.0 |" in text and "crop only" in text
    page_plots.draw_uncertainty(report, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
