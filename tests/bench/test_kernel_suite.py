"""``clr-infer bench kernels``: what a CPU can measure, and the GPU's part rehearsed."""

import json
from pathlib import Path

import pytest
import torch

from clr_infer.bench.goals import goal_rows
from clr_infer.bench.gpu import _kernel_goals
from clr_infer.bench.kernels import peers, suite
from clr_infer.bench.kernels.machine import Rehearsal
from clr_infer.bench.kernels.schema import check_result
from clr_infer.bench.kernels.suite import failures
from clr_infer.cli import main

OPS = {"jpeg_roundtrip", "jpeg_simulate", "preprocess", "place", "residual_merge", "composite"}


def _run(tmp_path, *words: str) -> dict:
    out, plot = tmp_path / "kernels.json", tmp_path / "kernels.png"
    assert main(["bench", "kernels", "-o", str(out), "--plot", str(plot), *words]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    result = json.loads(out.read_text("utf-8"))
    check_result(result)
    return result


def test_a_quick_look_on_the_cpu(tmp_path, capsys):
    result = _run(tmp_path, "--quick", "--only", "cpu", "--repeats", "2")
    assert not result["rehearsal"] and result["gpu"] is None
    times = {(row["contestant"], row["mode"]): row for row in result["cpu"]["times"]}
    assert {name for name, _ in times} >= {"jpeg_roundtrip", "jpeg_simulate, ste", "Pillow"}
    assert all(row["runs"] == 2 and row["threads"] == 1 for row in times.values())
    exact = {row["contestant"]: row for row in result["cpu"]["exactness"]}
    for name in ("jpeg_roundtrip", "jpeg_simulate, ste"):
        assert exact[name]["pixels_equal"] == 1.0 and exact[name]["psnr_db"] is None
    assert 0 < exact["jpeg_simulate, soft"]["values_equal"] < 1
    printed = capsys.readouterr().out
    assert "| jpeg_simulate, ste |" in printed and "On a GPU: not measured." in printed


def test_the_rehearsal_runs_what_a_gpu_would(tmp_path, capsys):
    result = _run(tmp_path, "--quick", "--rehearse", "--only", "gpu")
    assert result["rehearsal"] and result["cpu"] is None
    rows = result["gpu"]["rows"]
    assert not failures(result) and not [row for row in rows if "error" in row]
    assert {row["op"] for row in rows} == OPS
    assert {row["batch"] for row in rows} == {1, 2}
    ours = [row for row in rows if row["contestant"] == "kernel"]
    assert all(row["bytes_moved"] >= row["bytes_needed"] > 0 for row in ours)
    assert {row["launch"] for row in ours if row["op"] != "residual_merge"} == {"eager", "graph"}
    assert {row["mode"] for row in ours} == {"forward", "backward", "forward+backward"}
    assert "the GPU's numbers mean nothing" in capsys.readouterr().out


def test_a_rehearsal_is_not_published(tmp_path, capsys):
    out = tmp_path / "benchmarks" / "results" / "kernels.json"
    assert main(["bench", "kernels", "--rehearse", "-o", str(out)]) == 2
    assert "outside benchmarks/results" in capsys.readouterr().err
    assert not out.exists()


def test_what_fails_is_a_row_and_an_exit_code(tmp_path, monkeypatch, capsys):
    def refuse(self, build):
        raise RuntimeError("no graph today\nat all")

    monkeypatch.setattr(Rehearsal, "captured", refuse)
    monkeypatch.setattr("clr_infer.bench.kernels.gpu._empty", lambda *_: {"p50_ms": 1.0})
    out = tmp_path / "kernels.json"
    words = ["--quick", "--rehearse", "--only", "gpu", "-o", str(out)]
    assert main(["bench", "kernels", *words]) == 1
    rows = json.loads(out.read_text("utf-8"))["gpu"]["rows"]
    refused = [row for row in rows if row["launch"] == "graph"]
    assert {row["error"] for row in refused} == {"RuntimeError: no graph today"}
    assert all("p50_ms" in row for row in rows if row["launch"] == "eager")
    assert "failed: jpeg_roundtrip" in capsys.readouterr().err


def test_a_missing_peer_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    result = _run(tmp_path, "--quick", "--only", "cpu", "--repeats", "1")
    assert result["peers"]["kornia"] is None
    assert result["goals"]["cpu_times_kornia"]["found"] == {}
    assert "| kornia | not installed |" in capsys.readouterr().out


def test_kornia_is_beaten_as_it_is_launched():
    """Eager against eager: a CUDA graph is nothing that kornia could not have as well."""

    def row(contestant: str, launch: str, p50_ms: float, mode: str = "forward+backward") -> dict:
        return {"op": "jpeg_simulate", "variant": "ste", "mode": mode, "batch": 32,
                "contestant": contestant, "launch": launch, "p50_ms": p50_ms}  # fmt: skip

    rows = [
        row("reference", "eager", 1.0),
        row("kernel", "eager", 4.0),
        row("kernel", "graph", 2.0),
        row("kernel", "graph", 2.0, "forward"),  # eager it failed
        row("kornia", "eager", 80.0),
        row("kornia", "eager", 50.0, "forward"),
        row("kornia", "eager", 9.0) | {"batch": 1},
    ]
    found = suite._gpu_goals({"rows": rows})["gpu_times_kornia"]
    assert found["found"] == {"forward+backward": 20.0}
    assert found["in_a_graph"] == {"forward+backward": 40.0, "forward": 25.0}


def test_published_goals_follow_from_the_published_times():
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    kernels = json.loads((results / "kernels_gpu.json").read_text("utf-8"))
    assert kernels["goals"] == suite._gpu_goals(kernels["gpu"])
    goals = json.loads((results / "goals_gpu.json").read_text("utf-8"))["goals"]
    ours = goal_rows(_kernel_goals(kernels), rehearsal=False)
    assert [row for row in goals if row["name"].startswith("JPEG")] == ours


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_cannot_be_measured(capsys):
    assert main(["bench", "kernels", "--only", "gpu"]) == 3
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_quick_look_on_the_gpu(tmp_path):
    result = _run(tmp_path, "--quick", "--only", "gpu")
    ours = [row for row in result["gpu"]["rows"] if row["contestant"] == "kernel"]
    assert {row["op"] for row in ours} == OPS
    assert all(row["kernels_ms"] > 0 for row in ours if row["launch"] == "eager")


@pytest.mark.parametrize("words", [["--threads", "0"], ["--repeats", "-1"]])
def test_wrong_usage_exits_with_2(words, capsys):
    assert main(["bench", "kernels", *words]) == 2
    assert words[0] in capsys.readouterr().err


def test_a_result_that_is_not_whole_is_refused():
    with pytest.raises(ValueError, match="has no 'rehearsal'"):
        check_result({"kind": "kernels"})
