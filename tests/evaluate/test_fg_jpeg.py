import json

import pytest
import torch

from clr_infer.bench.facts import commit
from clr_infer.errors import OutputError
from clr_infer.evaluate.fg_jpeg import (
    SIMULATORS,
    evaluate_fg_jpeg,
    fg_jpeg_markdown,
)
from clr_infer.evaluate.report import write_result
from clr_infer.weights import Weights


@pytest.fixture(scope="module")
def report(coffee):
    return evaluate_fg_jpeg(Weights(), [("coffee", coffee[60:260, 100:412])], progress=False)


def test_fg_jpeg_is_close_to_the_real_codec_at_every_quality(report):
    for row in report["rows"]:
        assert row["psnr_db"]["FG-JPEG"] > 45.0, row
    assert {row["trained"] for row in report["rows"]} == {True, False}


def test_fg_jpeg_beats_soft_rounding_on_the_whole(report):
    for row in report["rows"]:
        if row["qf"] <= 80:
            assert row["psnr_db"]["FG-JPEG"] > row["psnr_db"]["soft rounding"], row


def test_straight_through_rounding_is_exact(report):
    assert all(row["exact"]["straight-through"] == 1.0 for row in report["rows"])
    assert "exact" in fg_jpeg_markdown(report)


def test_the_qf_predictor_reads_the_quality_off_real_files(report):
    errors = [abs(r["predicted_qf"] - r["qf"]) for r in report["rows"]]
    assert sum(e < 3 for e in errors) >= 0.7 * len(errors)


def test_facts_say_what_computed(coffee, monkeypatch):
    told, before = [], torch.set_num_threads

    def set_num_threads(count):
        told.append(count)
        before(count)

    monkeypatch.setattr("clr_infer.evaluate.fg_jpeg._CASES", (("4:2:0", 80),))
    monkeypatch.setattr(torch, "set_num_threads", set_num_threads)
    images = [("coffee", coffee[:64, :80])]
    found = evaluate_fg_jpeg(Weights(), images, threads=3, progress=False)
    assert found["threads"] == told[0] == 3 and told[-1] == torch.get_num_threads()
    assert found["commit"] == commit() and found["versions"]["torch"]


def test_the_report_is_written_once(report, tmp_path):
    write_result(report, fg_jpeg_markdown(report), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert all(name in fg_jpeg_markdown(report) for name in SIMULATORS)
    with pytest.raises(OutputError):
        write_result(report, fg_jpeg_markdown(report), tmp_path / "out")
