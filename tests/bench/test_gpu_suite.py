"""``clr-infer bench gpu``, rehearsed: the same path at toy size on the CPU."""

import json
import time

import pytest
import torch

from clr_infer.bench import gpu, latency
from clr_infer.bench.goals import Goal, goal_table
from clr_infer.bench.kernels.schema import check_result
from clr_infer.cli import main


def test_the_rehearsal_writes_every_part_and_ends_with_the_goals(tmp_path, capsys):
    assert main(["bench", "gpu", "--rehearse", "-o", str(tmp_path)]) == 0
    parts = {path.stem: json.loads(path.read_text("utf-8")) for path in tmp_path.iterdir()}
    assert set(parts) == {"kernels", "latency", "runtimes", "goals"}
    assert all(part["rehearsal"] is True and part["commit"] for part in parts.values())
    check_result(parts["kernels"])
    rows = parts["latency"]["networks"]
    assert {(r["call"], r["batch"]) for r in rows} == {
        (call, batch) for call in ("protect", "locate+recover") for batch in (1, 2)
    }
    assert {row["call"] for row in parts["latency"]["pictures"]} == {"protect", "recover"}
    if not torch.cuda.is_available():
        assert "CUDA graphs need a GPU" in parts["latency"]["unavailable"]["torch+graphs"]
    assert {goal["reached"] for goal in parts["goals"]["goals"]} == {None}
    found = {goal["name"]: goal["found"] for goal in parts["goals"]["goals"]}
    assert found["protect, batch 1, p50"] > 0 and found["protect, batch 32"] is None
    lines = capsys.readouterr().out.splitlines()
    assert "these numbers mean nothing" in lines[-1]
    assert sum(line.startswith("| ") for line in lines) == 2 + len(found)


def test_a_rehearsal_is_not_published(tmp_path, capsys):
    out = tmp_path / "benchmarks" / "results"
    assert main(["bench", "gpu", "--rehearse", "-o", str(out)]) == 2
    assert "outside benchmarks/results" in capsys.readouterr().err and not out.exists()


def test_nothing_is_measured_that_could_not_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "run_kernels", lambda *_: pytest.fail("minutes were spent"))
    (tmp_path / "file").write_text("")
    assert main(["bench", "gpu", "--rehearse", "-o", str(tmp_path / "file" / "x")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "goals.json").mkdir()
    assert main(["bench", "gpu", "--rehearse", "-o", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path, capsys):
    assert main(["bench", "gpu", "-o", str(tmp_path)]) == 3
    assert "--rehearse" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_fails_or_finds_no_time_is_said_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(gpu, "measure_latency", broken)

    def surprised(*_):
        raise FileNotFoundError("a driver's own")

    monkeypatch.setattr(gpu, "run_suite", surprised)
    words = ["bench", "gpu", "--rehearse", "-o", str(tmp_path)]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "failed: latency: RuntimeError: out of memory" in printed and "and more" not in printed
    assert "failed: runtimes: FileNotFoundError: a driver's own" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"kernels.json", "goals.json"}
    assert main([*words, "--minutes", "0.01"]) == 1
    assert "failed: kernels: left out" in capsys.readouterr().out
    assert main([*words, "--minutes", "0"]) == 2


def test_slow_calls_are_measured_ten_times():
    plan, calls = latency.LatencyPlan(measure_ms=1.0), []
    found = latency._timed(lambda: calls.append(time.sleep(0.002)), 4, plan)
    assert found["runs"] == 10 and len(calls) == 12
    assert 2.0 <= found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert found["images_per_s"] < 4 / 0.002


def test_no_runtime_is_begun_when_the_time_is_over():
    found = latency.measure_latency(latency.REHEARSED, lambda _: None, until=0.0)
    assert not found["networks"] and set(found["unavailable"].values()) == {"no time was left"}


def test_goals_are_reached_missed_or_not_measured():
    fast, slow = Goal("a", "ms", below=1.0, found=0.5), Goal("b", "ms", below=1.0, found=1.0)
    many, none = Goal("c", "x", least=30, found=30.0), Goal("d", "x", least=30, why="no peer")
    assert (fast.reached, slow.reached, many.reached, none.reached) == (True, False, True, None)
    lines = goal_table([fast, slow, many, none], rehearsal=False).splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["yes", "no", "yes", "–"]
    assert "not measured (no peer)" in lines[-1]
