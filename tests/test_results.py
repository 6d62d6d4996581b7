"""The published numbers: each result file is whole, and the pages' tables are drawn from them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from clr_infer.kernels.aot import ARCHS, registry

from clr_infer.bench.kernels.schema import check_result
from clr_infer.evaluate.fg_jpeg import fg_jpeg_digest
from clr_infer.evaluate.report import read_result
from clr_infer.weights import Weights

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
NEEDED = {
    "kodak.json.gz": {"format", "facts", "aggregates", "images", "crops", "cases"},
    "fg_jpeg_kodak.json": {"kind", "versions", "parameters_sha256", "images", "rows"},
    "end_to_end_cpu.json": {"kind", "commit", "environment", "import", "runtimes"},
    "precision.json": {"kind", "commit", "environment", "weights", "onnx", "engines"},
    "runtimes_cpu.json": {"kind", "commit", "command", "environment", "runtimes", "rows", "goals"},
    "ablation_alignment.json": {"kind", "setting", "arms"},
    "localize_val.json": {"kind", "measured", "images", "calibration", "detection", "conditions"},
    "kernels_cpu.json": {"kind", "commit", "environment", "cpu", "goals"},
    "kernels_aot.json": {"kind", "commit", "environment", "kernels"},
    "kernels_gpu.json": {"kind", "commit", "environment", "gpu", "goals"},
    "latency_gpu.json": {"kind", "commit", "environment", "networks", "pictures"},
    "goals_gpu.json": {"kind", "commit", "environment", "goals", "failed"},
    "train_gpu.json": {"kind", "commit", "environment", "plan", "images_per_s_median", "profile"},
}
WHEN_MEASURED = {
    "kodak_refined.json.gz": {"format", "facts", "aggregates", "images", "crops", "cases"},
    "kodak_limits.json.gz": {"format", "facts", "aggregates", "images", "crops", "cases"},
    "kodak_copies.json.gz": {"format", "facts", "aggregates", "images", "crops", "cases"},
    "kodak_strength.json.gz": {"kind", "facts", "arms", "images", "cases"},
    "kodak_refining.json.gz": {"kind", "facts", "arms", "images", "cases"},
    "kodak_ablations.json.gz": {"kind", "facts", "arms", "images", "cases"},
    "val_detection.json.gz": {"kind", "facts", "images", "threshold", "confidences"},
    "outpainting_kodak.json": {"kind", "commit", "weights", "training", "images", "cases"},
    "watermarks_kodak.json": {"kind", "commit", "weights", "versions", "conditions", "methods"},
}
"""Parts of the campaign: docs/quality.md says so where one is not there."""


def _load(name: str) -> dict:
    return read_result(RESULTS / name)


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_result_files_are_whole(name):
    assert set(_load(name)) >= NEEDED[name]


def test_published_quality_is_that_of_the_shipped_weights():
    shipped = Weights().manifest["files"]
    assert _load("kodak.json.gz")["facts"]["weights"]["files"].items() <= shipped.items()
    assert _load("precision.json")["weights"].items() <= shipped.items()
    assert _load("fg_jpeg_kodak.json")["parameters_sha256"] == fg_jpeg_digest(Weights())


@pytest.mark.parametrize("name", sorted(WHEN_MEASURED))
def test_parts_of_the_campaign_are_whole_and_of_the_shipped_weights(name):
    if not (RESULTS / name).exists():
        pytest.skip("not measured")
    result = _load(name)
    assert set(result) >= WHEN_MEASURED[name]
    if name != "outpainting_kodak.json":  # of a network of its own
        weights = result["facts"]["weights"]["files"] if "facts" in result else result["weights"]
        assert weights.items() <= Weights().manifest["files"].items()
    images = result["images"]
    if name.startswith("kodak"):
        known = {one["name"] for one in _load("kodak.json.gz")["images"]}
        assert {one["name"] if isinstance(one, dict) else one for one in images} == known


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json*")), ids=lambda path: path.stem)
def test_result_files_name_no_folder_of_a_machine(path):
    text = json.dumps(read_result(path))
    assert not re.findall(r"""(?:^|[\s"'=])/\w+/[\w/]*""", text)


def test_published_quality_covers_kodak():
    assert len(_load("kodak.json.gz")["images"]) == 24
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


def test_what_is_published_of_a_gpu_was_measured_on_one():
    for path in RESULTS.glob("*_gpu.json"):
        result = _load(path.name)
        assert not result["rehearsal"] and result["environment"]["gpus"], path.name


def test_published_kernel_times_are_measured_and_exact():
    for path in RESULTS.glob("kernels_[cg]pu.json"):
        check_result(_load(path.name))
        assert not _load(path.name)["rehearsal"]
    cpu = _load("kernels_cpu.json")["cpu"]
    assert {row["contestant"] for row in cpu["times"]} >= {"jpeg_simulate, ste", "kornia", "Pillow"}
    exact = ("jpeg_roundtrip", "jpeg_simulate, ste")
    ours = [row for row in cpu["exactness"] if row["contestant"] in exact]
    assert ours and all(row["pixels_equal"] == 1.0 for row in ours)


@pytest.mark.skipif(not (RESULTS / "server_cpu.json").exists(), reason="not published yet")
def test_the_published_server_run_is_whole_and_no_rehearsal():
    result = _load("server_cpu.json")
    plan, images = result["plan"], result["image_level"]
    assert result["kind"] == "server" and result["commit"] and result["environment"]["cpu"]
    assert plan["rounds"] >= 2 and plan["seconds"] >= 2 and plan["with_peer"]
    ways = {(row["transport"], row["shared_memory"]) for row in result["network_level"]}
    assert ways == {(t, shared) for t in ("grpc", "http") for shared in (False, True)}
    for call in ("locate", "protect", "recover"):
        rows = [row for row in images if row["call"] == call]
        assert {row["contestant"] for row in rows} == {"session", "server", "FastAPI"}
        assert {row["loop"] for row in rows} == {"closed", "fixed rate"}
    assert all(row["failed"] == 0 and row["requests"] >= 3 for row in images)
    assert {name for name, goal in result["goals"].items() if goal["found"]} == {
        "network_overhead_p50_ms", "throughput_of_in_process",
    }  # fmt: skip


def _script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_campaign_measures_what_the_pages_are_drawn_from():
    campaign, report = _script("campaign"), _script("report")
    from clr_infer.cli.evaluate import SETS

    assert set(campaign.PARTS) == set(SETS) - {"quick", "targets"} | {"refined"}
    drawn = {report.KODAK, report.LIMITS, report.COPIES, report.STRENGTH, report.ABLATIONS}
    drawn |= {report.DETECTION, report.REFINED, report.REFINING}
    assert set(campaign.PARTS.values()) == drawn | {"fg_jpeg_kodak.json"}
    assert f"{campaign.FAILURES}.jpg" == report.FAILURES
    others = {report.OUTPAINTING, report.WATERMARKS}
    assert drawn | others == set(WHEN_MEASURED) | {"kodak.json.gz"}


def test_tables_are_drawn_from_the_result_files():
    report = _script("report")
    for page in report.PAGES:
        text = page.read_text("utf-8")
        assert report.redraw(text) == text, page.name


def test_pages_name_only_files_that_exist():
    import re

    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
