"""The scripts in benchmarks/ that measure and draw what is published."""

import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
LIBRARIES = ("blind_watermark", "blind_watermark.recover", "cv2", "imwatermark")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: one -->\nold\n<!-- end -->\n")
    return page


def test_pages_are_rewritten_only_where_it_is_asked_for(page, monkeypatch, capsys):
    report, old = script("report"), page.read_text()
    monkeypatch.setattr(report, "PAGES", (page,))
    monkeypatch.setattr(report, "TABLES", {"one": lambda: "new"})
    for words, code in ((["--help"], 0), (["--chek"], 2), (["check"], 2)):
        with pytest.raises(SystemExit) as ended:
            report.main(words)
        assert ended.value.code == code and page.read_text() == old
    assert report.main(["--check"]) == 1 and page.read_text() == old
    assert report.main([]) == 0 and page.read_text() == old.replace("old", "new")
    assert report.main(["--check"]) == 0


@pytest.mark.parametrize(
    "words", [[], ["--only", "full"], ["--only", "sheet", "--results", "elsewhere"]], ids=" ".join
)
def test_a_rehearsal_does_not_write_over_what_is_published(words, monkeypatch, capsys):
    campaign = script("campaign")
    monkeypatch.setattr(campaign, "clr_infer", None)
    monkeypatch.setattr(campaign, "draw_sheet", None)
    with pytest.raises(SystemExit) as ended:
        campaign.main(["--kodak", "kodak", "--val", "val", "--limit", "1", *words])
    assert ended.value.code == 2 and "--limit" in capsys.readouterr().err


def test_the_campaign_rehearses_fg_jpeg_elsewhere(tmp_path, coffee, monkeypatch):
    monkeypatch.setattr("clr_infer.evaluate.fg_jpeg._CASES", (("4:2:0", 80),))
    Image.fromarray(coffee[:64, :80]).save(tmp_path / "coffee.png")
    words = ["--kodak", str(tmp_path), "--val", "val", "--results", str(tmp_path / "results")]
    script("campaign").main([*words, "--only", "fg-jpeg", "--limit", "1"])
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["fg_jpeg_kodak.json"]


def test_a_fragment_of_ours_that_is_not_found_counts_as_its_mean_colour(session, monkeypatch):
    for name in LIBRARIES:  # of an environment of their own
        monkeypatch.setitem(sys.modules, name, MagicMock())
    watermarks = script("watermarks")
    kinds = ("found", "missed", "refused")
    measured = [
        watermarks.measure_ours(session, 0, session.picture(kind))["clr_infer"] for kind in kinds
    ]
    found, missed, refused = (one["cases"]["clean"] for one in measured)
    assert (found["psnr_out"], found["iou"]) == (100.0, pytest.approx(1.0))
    assert 3 < missed["psnr_out"] < 30 and missed["iou"] == refused["iou"] == 0.0
    (row,) = watermarks.summarise([{"clr_infer": one} for one in measured])
    means = row["by_condition"]["clean"]
    every = found["psnr_out"] + missed["psnr_out"] + refused["psnr_out"]
    assert means["psnr_out"] == pytest.approx(every / 3, abs=1e-5)
    assert row["by_condition"]["uncropped-jpeg80"]["psnr_out"] is None
