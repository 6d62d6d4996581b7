"""``clr-infer train``: one command from a folder of photographs to weights that load."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.cli import main
from clr_infer.networks.served import load_served
from clr_infer.train.finish import collect
from clr_infer.weights import Weights


@pytest.fixture
def folders(tmp_path, raccoon, coffee, rocket):
    for folder, images in (("train", (raccoon, coffee)), ("val", (rocket,))):
        (tmp_path / folder).mkdir()
        for index, image in enumerate(images):
            small = Image.fromarray(image).resize((240, 180))
            small.save(tmp_path / folder / f"{index}.png")
    return tmp_path


def test_one_command_from_photographs_to_weights(folders, coffee):
    run = folders / "run"
    words = ["train", "--images", str(folders / "train"), "--val", str(folders / "val")]
    tiny = ["--minutes", "0.06", "--fg-minutes", "0.04", "--size", "64", "--frame", "128"]
    few = ["--batch", "2", "--width", "8", "--data-note", "two pictures", "--device", "cpu"]
    assert main([*words, "-o", str(run), *tiny, *few]) == 0
    weights = run / "weights"
    assert "two pictures" in (weights / "MODEL_CARD.md").read_text("utf-8")
    for name in ("report.json", "report.md", "cases.csv"):
        assert (weights / "evaluation" / name).stat().st_size > 0
    session = clr_infer.load(weights=weights)
    protected = session.protect(coffee)
    assert protected.image.shape == coffee.shape
    assert not np.array_equal(protected.image, coffee)
    assert session.locate(protected.image).protected


@pytest.fixture
def words(folders):
    """Of a call of ``train``."""
    given = {"--images": "train", "--val": "val", "-o": "run"}
    return ["train", *(w for name, folder in given.items() for w in (name, str(folders / folder)))]


@pytest.fixture
def hurried(monkeypatch):
    """Training that is at its end at once, and is not packaged; notes runs and plans of FG-JPEG."""
    runs, plans = [], []

    def run(trainer):
        runs.append(trainer)
        trainer.save()

    monkeypatch.setattr("clr_infer.train.loop.Trainer.run", run)
    monkeypatch.setattr(
        "clr_infer.train.fg_jpeg.train_fg_jpeg", lambda plan, *_: plans.append(plan)
    )
    monkeypatch.setattr("clr_infer.cli.work._package", lambda *_: None)
    return runs, plans


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("--size=50", 2),
        ("--size=0", 2),
        ("--batch=0", 2),
        ("--strength=28", 2),
        ("--strength=nan", 2),
        ("--minutes=nan", 2),
        ("--minutes=inf", 2),
        ("--minutes=0", 2),
        ("--fg-minutes=nan", 2),
        ("--width=0", 2),
        ("--width=2", 2),
        ("--frame=32", 2),
        ("--seed=-1", 2),
        (f"--seed={2**64}", 2),
        ("--start-from=nothing.pt", 3),
    ],
)
def test_bad_options_fail_before_anything_is_read(words, folders, extra, code, capsys):
    assert main([*words, extra]) == code
    said = capsys.readouterr().err
    assert extra.split("=")[0] in said or code == 3
    assert "photographs:" not in said and not (folders / "run").exists()


def test_what_is_needed_in_the_end_is_asked_for_before_training(tmp_path, raccoon, capsys):
    Image.fromarray(raccoon[:128, :160]).save(tmp_path / "photo.png")
    folders = ["--images", str(tmp_path), "-o", str(tmp_path / "out"), "--val"]
    assert main(["train", *folders, str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("library", ["torch", "safetensors", "matplotlib", "onnx", "scipy"])
def test_what_is_missing_is_said_before_anything_is_read(
    words, folders, library, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, library, None)
    export = ["export", "weights", str(folders / "run"), *words[3:5], "-o", str(folders / "out")]
    for command in (words, export):
        assert main(command) == 3
        said = capsys.readouterr().err
        assert library in said and "clr_infer[train]" in said and "photographs:" not in said


@pytest.mark.parametrize("name", ["file", "file/x"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_read(
    words, folders, name, capsys
):
    (folders / "file").write_text("")
    out = ["-o", str(folders / name)]
    for command in ([*words, *out], ["export", "weights", str(folders), *words[3:5], *out]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "cannot be written" in said and "photographs:" not in said


def test_an_export_at_no_strength_writes_nothing(words, folders, capsys):
    export = ["export", "weights", str(folders / "run"), *words[3:5], "-o", str(folders / "out")]
    assert main([*export, "--strength", "nan"]) == 2
    assert "--strength" in capsys.readouterr().err and not (folders / "out").exists()


def test_few_photographs_to_calibrate_on_are_warned_of_at_once(words, hurried, caplog):
    assert main([*words, "--start-from", "package"]) == 0
    assert "few photographs to calibrate on (1)" in caplog.text


def test_fine_tuning_keeps_what_it_starts_from(words, folders, hurried):
    """Codes, widths, strength, FG-JPEG and the strength that it protects at."""
    ours = Weights()
    assert main([*words, "--start-from", "package", "--seed", "99", "--data-note", "two"]) == 0
    ((run,), plans) = hurried
    assert not plans
    for name in ("seed", "width", "align_width", "psnr_db"):
        assert getattr(run.plan, name) == ours.manifest[name]
    assert run.plan.psnr_start_db == ours.psnr_db and run.plan.ramp == 0.0
    networks, manifest = collect(run.folder / "checkpoint.pt", run.folder / "fg_jpeg.pt", 128)
    assert manifest["default_psnr_db"] == ours.default_psnr_db != ours.psnr_db
    assert manifest["data"] == f"{ours.manifest['data']}; then two"
    served = load_served(ours)
    for name in ("fg_jpeg", "qf_predictor"):
        kept = served[name].state_dict()
        assert all(torch.equal(kept[k], v) for k, v in networks[name].state_dict().items())
    (run.folder / "checkpoint.pt").rename(folders / "checkpoint.pt")  # FG-JPEG is not beside it
    (run.folder / "fg_jpeg.pt").unlink()
    words += ["--start-from", str(folders / "checkpoint.pt")]
    assert main([*words, "--strength", "37"]) == 0
    again = hurried[0][1]
    assert again.plan.psnr_db == again.default_psnr_db == 37.0
    assert [plan.minutes for plan in plans] == [12.0]


def test_fine_tuning_at_another_width_is_refused(words, hurried, capsys):
    assert main([*words, "--start-from", "package", "--width", "16"]) == 2
    assert "--width 16" in capsys.readouterr().err and not hurried[0]


def test_without_a_start_options_and_defaults_count(words, hurried):
    tiny = ["--width", "8", "--fg-minutes", "0.01"]
    assert main([*words, "--seed", "99", "--size", "64", *tiny]) == 0
    ((run,), (jpeg,)) = hurried
    assert (jpeg.seed, jpeg.minutes) == (99, 0.01)
    assert (run.plan.seed, run.plan.size, run.plan.psnr_db) == (99, 64, 38.0)
    assert run.plan.minutes == 90 and run.default_psnr_db is None and run.data == "not stated"


def test_a_run_goes_on_as_it_was_begun(words, hurried, capsys):
    """What is not said again stays; what cannot be another is refused."""
    assert main([*words, "--start-from", "package", "--size", "64"]) == 0
    assert main([*words, "--minutes", "200", "--batch", "3"]) == 0
    first, again = hurried[0]
    assert again.plan == replace(first.plan, minutes=200.0, batch=3)
    assert again.default_psnr_db == first.default_psnr_db and again.data == first.data
    capsys.readouterr()
    for other in ("--seed=0", "--size=96", "--width=16", "--strength=37"):
        assert main([*words, other]) == 2
        said = capsys.readouterr().err
        assert other.split("=")[0] in said and "photographs:" not in said
    assert len(hurried[0]) == 2 and not hurried[1]
