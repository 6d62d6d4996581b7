"""The published numbers: each result file is whole, and the pages' tables are drawn from them."""

import importlib.util
import json
from pathlib import Path

import pytest
from clr_infer.kernels.aot import ARCHS, registry

from clr_infer.bench.kernels.schema import check_result
from clr_infer.evaluate.fg_jpeg import fg_jpeg_digest
from clr_infer.weights import Weights

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
NEEDED = {
    "kodak.json": {"format", "facts", "aggregates", "images", "crops", "cases"},
    "fg_jpeg_kodak.json": {"kind", "versions", "parameters_sha256", "images", "rows"},
    "end_to_end_cpu.json": {"kind", "commit", "environment", "import", "runtimes"},
    "precision.json": {"kind", "commit", "environment", "weights", "onnx", "engines"},
    "runtimes_cpu.json": {"kind", "commit", "command", "environment", "runtimes", "rows", "goals"},
    "ablation_alignment.json": {"kind", "setting", "arms"},
    "localize_val.json": {"kind", "measured", "images", "calibration", "detection", "conditions"},
    "kernels_cpu.json": {"kind", "commit", "environment", "cpu", "goals"},
    "kernels_aot.json": {"kind", "commit", "environment", "kernels"},
}


def _load(name: str) -> dict:
    return json.loads((RESULTS / name).read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_result_files_are_whole(name):
    assert set(_load(name)) >= NEEDED[name]


def test_published_quality_is_that_of_the_shipped_weights():
    shipped = Weights().manifest["files"]
    assert _load("kodak.json")["facts"]["weights"]["files"] == shipped
    assert _load("precision.json")["weights"] == shipped
    assert _load("fg_jpeg_kodak.json")["parameters_sha256"] == fg_jpeg_digest(Weights())


def test_published_quality_covers_kodak():
    assert len(_load("kodak.json")["images"]) == 24
    assert len(_load("fg_jpeg_kodak.json")["images"]) == 24


def test_published_kernels_are_those_of_the_package():
    rows = {row["name"]: row for row in _load("kernels_aot.json")["kernels"]}
    launches = registry()
    assert set(rows) == set(launches)
    for name, launch in launches.items():
        row = rows[name]
        assert row["types"] == launch.types
        assert row["constants"] == launch.constants and row["options"] == launch.options
        assert all(row["archs"][f"sm_{arch}"]["spills"] == 0 for arch in ARCHS)


def test_published_kernel_times_are_measured_and_exact():
    for path in RESULTS.glob("kernels_[cg]pu.json"):
        check_result(_load(path.name))
        assert not _load(path.name)["rehearsal"]
    cpu = _load("kernels_cpu.json")["cpu"]
    assert {row["contestant"] for row in cpu["times"]} >= {"jpeg_simulate, ste", "kornia", "Pillow"}
    exact = ("jpeg_roundtrip", "jpeg_simulate, ste")
    ours = [row for row in cpu["exactness"] if row["contestant"] in exact]
    assert ours and all(row["pixels_equal"] == 1.0 for row in ours)


def _report():
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(report)
    return report


def test_tables_are_drawn_from_the_result_files():
    report = _report()
    for page in report.PAGES:
        text = page.read_text("utf-8")
        assert report.redraw(text) == text, page.name


def test_pages_name_only_files_that_exist():
    import re

    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
