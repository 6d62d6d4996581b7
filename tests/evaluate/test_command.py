"""``clr-infer evaluate``: what it refuses, and what it writes."""

import json

import numpy as np
import pytest
from PIL import Image

from clr_infer.cli import build_parser, main
from clr_infer.cli.evaluate import _opener
from clr_infer.evaluate.arms import ARM_SETS, STRENGTHS
from clr_infer.samples import SAMPLE


@pytest.mark.parametrize(
    "words",
    [
        "--workers 0",
        "--threads 0",
        "--limit 0",
        "--limit -1",
        "--workers 2 --url grpc://127.0.0.1:1",
        "--set strength --strength 40",
        "--set strength --strength 0",
        "--set ablations --refine 4",
        "--refine 1001",
        "--refine 4 --url grpc://127.0.0.1:1",
        "--set refining --refine 4",
        "--set refining --url grpc://127.0.0.1:1",
        "--set fg-jpeg --url grpc://127.0.0.1:1",
        "--set fg-jpeg --workers 2",
        "--set fg-jpeg --runtime onnxruntime",
        "--set fg-jpeg --seed 1",
    ],
)
def test_the_command_refuses_what_does_not_go_together(tmp_path, capsys, words):
    out = tmp_path / "out"
    assert main(["evaluate", str(SAMPLE), "-o", str(out), *words.split()]) == 2
    assert "--" in capsys.readouterr().err and not out.exists()


def test_the_command_writes_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(ARM_SETS, "strength", (STRENGTHS[3],))
    words = ["evaluate", str(SAMPLE), "-o", str(tmp_path), "--set", "strength", "--threads", "1"]
    assert main(words) == 0
    assert json.loads((tmp_path / "report.json").read_text())["kind"] == "strength"
    assert "40 dB" in capsys.readouterr().out
    assert main(words) == 1  # a report is not replaced


def test_an_image_that_holds_no_copy_is_named_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("clr_infer.evaluate.run.run_jobs", None)
    for name, side in (("a", 300), ("b", 64)):
        Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path), "-o", str(out), "--set", "copies"]) == 1
    assert "b.png" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        ("", None),
        ("--workers 2", 4),
        ("--workers 20", 1),
        ("--workers 2 --threads 3", 3),
        ("--refine 4", 1),
        ("--set refining", 1),
        ("--set ablations --workers 2", 1),
        ("--runtime torch+bf16", 1),
    ],
)
def test_each_process_has_the_threads_that_its_results_allow(monkeypatch, words, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    args = build_parser().parse_args(["evaluate", "a.png", "-o", "x", *words.split()])
    opener = _opener(args)
    assert opener.threads == threads
    args.url = "grpc://127.0.0.1:1"
    assert _opener(args) is None


def test_the_options_reach_what_is_measured(tmp_path, monkeypatch):
    told = []

    def measure(session, images, name, **options):
        told.append((name, [image for image, _ in images], options))
        raise KeyboardInterrupt

    monkeypatch.setattr("clr_infer.evaluate.evaluate", measure)
    for name in "abc":
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    words = ["--set", "limits", "--strength", "38", "--refine", "4", "--seed", "7", "--limit", "2"]
    assert main(["evaluate", str(tmp_path), "-o", str(tmp_path / "out"), *words]) == 130
    ((name, names, options),) = told
    assert (name, names) == ("limits", ["a.png", "b.png"])
    assert options.pop("opener").threads == 1
    assert options == {"psnr_db": 38.0, "refine": 4, "seed": 7, "workers": 1}
