"""Several processes, with the shipped networks on small pictures."""

import functools
import json
import os

import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.cli import main
from clr_infer.errors import ModelError, UsageError
from clr_infer.evaluate import CONDITIONS, EvaluationSet, arms, evaluate
from clr_infer.evaluate.arms import ABLATIONS, ARM_SETS, Arm, measure_arms
from clr_infer.evaluate.protocol import SETS
from clr_infer.evaluate.workers import Opener, run_jobs


def untimed(rows):
    return [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in rows]


def test_several_processes_measure_what_one_does(raccoon, coffee):
    images = [("a", raccoon[:160, :200].copy()), ("b", coffee[:180, :160].copy())]
    options = {"conditions": [CONDITIONS["noise0.02"]], "kept": [0.84], "progress": False}
    session, opener = clr_infer.load("onnxruntime", threads=1), Opener("onnxruntime", threads=2)
    alone = evaluate(session, images, **options)
    shared = evaluate(session, images, workers=2, opener=opener, **options)
    assert untimed(alone.cases) == untimed(shared.cases)
    assert untimed(alone.images) == untimed(shared.images)
    assert alone.crops == shared.crops
    assert (alone.facts["workers"], alone.facts["threads"]) == (1, None)
    assert (shared.facts["workers"], shared.facts["threads"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--refine", "4"], ["--set", "ablations"]], ids=" ".join)
def test_the_command_measures_the_same_where_pytorch_computes(coffee, tmp_path, monkeypatch, words):
    """Its last bits depend on its threads: this process would take two, others all cores."""
    quick = EvaluationSet("quick", (CONDITIONS["jpeg80"],), (0.84,))
    monkeypatch.setitem(SETS, "quick", quick)
    chosen = tuple(arm for arm in ABLATIONS if arm.frame_px == 608)
    monkeypatch.setitem(ARM_SETS, "ablations", chosen)
    Image.fromarray(coffee[:320, :400]).save(tmp_path / "coffee.png")
    results, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers in ("1", "2"):
            out = tmp_path / workers
            base = ["evaluate", str(tmp_path), "-o", str(out), "--runtime", "onnxruntime"]
            assert main([*base, *words, "--workers", workers]) == 0
            results.append(json.loads((out / "report.json").read_text()))
    finally:
        torch.set_num_threads(before)
    one, other = results
    assert untimed(one["cases"]) == untimed(other["cases"]) != []
    assert one["facts"]["threads"] == other["facts"]["threads"] == 1


@pytest.mark.parametrize("opener", [None, Opener("onnxruntime"), Opener("onnxruntime", threads=3)])
def test_frames_of_other_sizes_have_the_threads_of_the_opener(coffee, monkeypatch, opener):
    opened, real = [], arms.open_runtime

    def open_runtime(name, weights, threads):
        opened.append((name, weights.size, threads))
        return real(name, weights, threads)

    arms._runtime_at.cache_clear()
    monkeypatch.setattr(arms, "open_runtime", open_runtime)
    monkeypatch.setattr(arms, "_CONDITIONS", ("clean",))
    monkeypatch.setitem(ARM_SETS, "ablations", (Arm("small", "", frame_px=128),))
    session = clr_infer.load("onnxruntime", threads=1)
    images = [("coffee", coffee[:100, :120].copy())]
    found = measure_arms(session, images, "ablations", opener=opener, progress=False)
    given = opener.threads if opener else None
    assert opened == [("torch", 128, given or 1)] and found["facts"]["threads"] == given


def test_several_processes_need_a_way_to_open_a_session():
    with pytest.raises(UsageError, match="at least 1"):
        run_jobs(print, [], None, workers=0)
    with pytest.raises(UsageError, match="how to open"):
        run_jobs(print, [], None, workers=2, progress=False)


def test_a_process_that_ends_is_reported():
    killed = functools.partial(os._exit, 9)
    killed.threads = None
    with pytest.raises(ModelError, match="ended .* out of memory"):
        run_jobs(print, ["one", "two"], None, workers=2, opener=killed, progress=False)
