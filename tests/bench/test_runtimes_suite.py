"""``clr-infer bench runtimes``, quickly: real runtimes in processes of their own."""

import json
from types import SimpleNamespace

import pytest

from clr_infer.bench import runtime_worker
from clr_infer.bench.runtime_worker import Candidate, working
from clr_infer.bench.runtimes import PEER, Plan, _network_rows, candidates, run_suite
from clr_infer.cli import main
from clr_infer.errors import ModelError, UsageError
from clr_infer.specs import FRAME_PX


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
        assert 0 < row["least_ms"] <= row["p50_ms"] and row["runs"] == 3
        assert 0 < row["images_per_s"] < 1010.0 * row["batch"] / row["least_ms"]
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


@pytest.mark.parametrize("suite", ["runtimes", "gpu"])
@pytest.mark.parametrize("models", ["missing", "file", "empty"])
def test_models_that_are_none_are_wrong_usage(suite, models, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    words = ["--quick"] if suite == "runtimes" else ["--rehearse"]
    out = tmp_path / "out"
    words += ["-o", str(out), "--models", str(tmp_path / models)]
    assert main(["bench", suite, *words]) == 2
    assert str(tmp_path / models) in capsys.readouterr().err and not out.exists()


def test_a_new_batch_size_runs_twice_before_it_is_timed():
    ran = []
    runtime = SimpleNamespace(
        size=FRAME_PX, run=lambda name, tensors: ran.append(len(*tensors.values()))
    )
    inside = runtime_worker._Inside(PEER)
    inside._session = SimpleNamespace(runtime=runtime)
    for batch in (1, 1, 2):
        assert inside.run("align", batch) >= 0
    assert ran == [1, 1, 1, 1, 2, 2, 2]


def test_sizes_that_take_too_long_are_left_out_and_said():
    plan = Plan(("align",), (1, 2), rounds=1, call_s_max=0.001, picture_rounds=0)
    result = run_suite(plan, [PEER], {}, lambda text: None)
    assert [row["batch"] for row in result["rows"]] == [1]
    assert result["left_out"] == ["align, batch 2: a call takes over 0.001 s"]


def test_sizes_are_left_out_by_the_slowest_candidate():
    class Steady:
        def __init__(self, image_ms):
            self.image_ms = image_ms

        def run(self, network, batch):
            return self.image_ms * batch

    workers = {PEER: Steady(10.0), Candidate("onnxruntime", "fp32"): Steady(1.0)}
    plan = Plan(("align",), (1, 8, 16), rounds=1, call_s_max=0.1)
    rows, left_out = _network_rows(plan, workers, lambda text: None)
    assert [row["batch"] for row in rows] == [1, 1, 8, 8]
    assert left_out == ["align, batch 16: a call takes over 0.1 s"]


def test_what_a_worker_cannot_do_is_an_error_and_it_goes_on():
    with working(Candidate("onnxruntime", "fp32")) as worker:
        worker.open()
        with pytest.raises(ModelError, match="dance"):
            worker.run("dance", 1)
        assert worker.run("align", 1) > 0
    with working(Candidate("onnxruntime", "fp32", "/nowhere")) as worker:
        with pytest.raises(ModelError, match="manifest"):
            worker.open()
