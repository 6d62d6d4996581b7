"""``clr-infer bench runtimes``, quickly: real runtimes in processes of their own."""

import json

import pytest

from clr_infer.bench.runtime_worker import Candidate, working
from clr_infer.bench.runtimes import PEER, Plan, candidates, run_suite
from clr_infer.cli import main
from clr_infer.errors import ModelError, UsageError


def test_the_quick_suite_fills_every_section(tmp_path, capsys):
    out, plot = tmp_path / "runtimes.json", tmp_path / "runtimes.png"
    words = ["bench", "runtimes", "--quick", "--only", "onnxruntime", "--rounds", "2"]
    assert main([*words, "-o", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert result["kind"] == "runtimes" and result["command"].startswith("clr-infer ")
    assert [one["runtime"] for one in result["runtimes"]] == ["torch", "onnxruntime"]
    for one in result["runtimes"]:
        assert one["peak_mb"] > 100 and one["load_ms"] > 0
    assert len(result["rows"]) == 2 * 4
    for row in result["rows"]:
        assert 0 < row["least_ms"] <= row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["images_per_s"] == pytest.approx(1000.0 * row["batch"] / row["p50_ms"], rel=0.01)
    assert {row["call"] for row in result["end_to_end"]} == {"protect", "recover"}
    found = result["goals"]["embedded_of_eager_throughput"]["found"]
    assert set(found) == {"protect", "recover"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "end_to_end_of_png" in printed.splitlines()[-1]


def test_candidates_are_what_works_and_the_others_have_reasons(tmp_path):
    found, reasons = candidates(only=["onnxruntime", "torch+graphs"])
    assert found[:2] == [PEER, Candidate("onnxruntime", "fp32")]
    assert len(found) + len(reasons) == 3
    with pytest.raises(UsageError, match="export onnx"):
        candidates(models=tmp_path)


def test_sizes_that_take_too_long_are_left_out_and_said():
    plan = Plan(("align",), (1, 2), rounds=1, call_s_max=0.001, picture_rounds=0)
    result = run_suite(plan, [PEER], {}, lambda text: None)
    assert [row["batch"] for row in result["rows"]] == [1]
    assert result["left_out"] == ["align, batch 2: a call takes over 0.001 s"]


def test_what_a_worker_cannot_do_is_an_error_and_it_goes_on():
    with working(Candidate("onnxruntime", "fp32")) as worker:
        worker.open()
        with pytest.raises(ModelError, match="dance"):
            worker.run("dance", 1)
        assert worker.run("align", 1) > 0
    with working(Candidate("onnxruntime", "fp32", "/nowhere")) as worker:
        with pytest.raises(ModelError, match="manifest"):
            worker.open()
