"""``clr-infer train-gpu``, rehearsed: pieces of training that go on from each other."""

import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.cli import main
from clr_infer.errors import UsageError, WeightsError
from clr_infer.networks.served import load_served
from clr_infer.train import piece as pieces
from clr_infer.train.checkpoint import load_checkpoint, save_checkpoint
from clr_infer.train.data import Photos
from clr_infer.train.finish import collect, package_unexported
from clr_infer.weights import Weights

CPU = torch.device("cpu")
FILES = {
    "checkpoint.pt",
    "fg_jpeg.pt",
    "log.csv",
    "curves.png",
    "sheet.png",
    "weights/clr_infer.safetensors",
    "weights/manifest.json",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory, raccoon, coffee):
    folder = tmp_path_factory.mktemp("photos")
    for index, image in enumerate((raccoon, coffee)):
        Image.fromarray(image).resize((240, 180)).save(folder / f"{index}.png")
    return folder


def _train(folder, images, *words: str) -> dict:
    given = ["--images", str(images), "--batch", "2", *words]
    assert main(["train-gpu", "--rehearse", "-o", str(folder), *given]) == 0
    return json.loads((folder / "train.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def first(tmp_path_factory, images):
    """A folder that the first of several pieces of a schedule left, and its result."""
    folder = tmp_path_factory.mktemp("piece")
    return folder, _train(folder, images, "--val", str(images), "--schedule", "0.11")


def test_a_piece_starts_from_the_package_and_leaves_small_files(first, capsys):
    folder, result = first
    assert result["rehearsal"] and result["goals"][0]["reached"] is None
    assert set(result["files"]) == FILES and len(FILES) + 1 <= 8  # and train.json
    assert max(result["files"].values()) < pieces.FILE_BYTES_MAX
    assert result["images"] == 2 * result["plan"]["steps"] > 0
    assert result["images_per_s_median"] > 0
    before, after = result["held_out"]["before"], result["held_out"]["after"]
    assert before == pytest.approx(after, abs=3)
    assert result["profile"]["busy_ms_per_step"] > 0 and result["profile"]["ms_per_step"]
    ours = Weights()
    state = load_checkpoint(folder / "checkpoint.pt", CPU)
    assert state["total_steps"] == ours.manifest["steps"] + state["step"]
    assert state["plan"]["seed"] == ours.manifest["seed"]  # the codes stay what they were


def test_the_weights_open_and_say_what_they_are(first, coffee):
    folder, _ = first
    session = clr_infer.load("torch", weights=folder / "weights")
    data = session.weights.manifest["data"]
    assert data.startswith(Weights().manifest["data"]) and "worth nothing" in data
    found = session.locate(session.protect(coffee).image)
    assert found.protected and found.confidence > 0.5
    theirs, ours = Weights(folder / "weights").manifest, Weights().manifest
    assert len(theirs["training"]) == len(ours["training"]) + 1
    for kept in ("calibration", "default_psnr_db"):
        assert theirs[kept] == ours[kept]


def test_what_came_back_is_collected_as_any_training_is(first):
    folder, _ = first
    networks, manifest = collect(folder / "checkpoint.pt", folder / "fg_jpeg.pt", 128)
    assert len(manifest["training"]) == len(Weights().manifest["training"]) + 1
    theirs = load_served(Weights(folder / "weights")).state_dict()
    del theirs["localize.calibration"]  # which an export makes anew
    ours = networks.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_an_unfinished_schedule_goes_on_and_a_finished_one_is_followed_by_a_new(
    first, images, tmp_path
):
    """Also from a folder that it was carried to."""
    folder, earlier = first
    carried = tmp_path / "carried"
    shutil.copytree(folder, carried)
    os.utime(carried / "checkpoint.pt", (1e9, 1e9))  # the newest is that of the folder
    out = tmp_path / "out"
    words = ["--from", str(carried / "checkpoint.pt"), str(folder / "checkpoint.pt")]
    shipped, codes = len(Weights().manifest["training"]), Weights().manifest["seed"]
    second = _train(out, images, *words)
    assert second["plan"]["minutes"] == 0.11 and second["plan"]["seed"] == codes
    assert second["plan"]["steps"] > earlier["plan"]["steps"]
    state = load_checkpoint(out / "checkpoint.pt", CPU)
    assert state["seconds"] >= 0.11 * 60 - 1 and len(state["history"]) == shipped + 1
    third = _train(out, images)
    assert third["plan"]["minutes"] == 0.05
    assert len(load_checkpoint(out / "checkpoint.pt", CPU)["history"]) == shipped + 2
    assert Weights(out / "weights").manifest["data"].count("2 photographs") == 1  # the same ones


@pytest.mark.parametrize(("seconds", "goes_on"), [(58.9, True), (59.5, False)])
def test_a_schedule_ends_within_a_second_of_its_time(images, tmp_path, seconds, goes_on):
    plan = pieces.Plan(minutes=1, size=64, batch=2, width=8, align_width=8, alignment=0.3)
    photos, own = Photos(images, CPU), tmp_path / "own"
    begun = pieces.Trainer(plan, photos, own, CPU)
    begun.step = begun.total_steps = 7
    begun.seconds = seconds
    begun.save()
    piece = pieces.Piece(minutes=5, size=96, batch=4, group=3, learning_rate=2e-3, alignment=0.2)
    given = (piece, photos, tmp_path / "out", CPU, own / "checkpoint.pt", "pictures")
    trainer = pieces._trainer(*given)
    assert trainer.total_steps == 7 and trainer.step == (7 if goes_on else 0)
    new = replace(plan.fine_tuning(), minutes=5, size=96, batch=4, alignment=0.2)
    expected = plan if goes_on else replace(new, learning_rate=2e-3)
    assert trainer.plan == replace(expected, group=3)


def test_the_newest_checkpoint_is_gone_on_from(tmp_path):
    paths = [tmp_path / name for name in ("old.pt", "new.pt", "none.pt")]
    for age, path in enumerate(paths[:2]):
        path.write_bytes(b"")
        os.utime(path, (1e9 + age, 1e9 + age))
    assert pieces.newest_checkpoint(paths) == tmp_path / "new.pt"
    assert pieces.newest_checkpoint(paths[2:]) is None


def test_a_kill_loses_nothing_that_was_trained(first, images, tmp_path, monkeypatch):
    """Wherever it comes, however often: before a new schedule is first saved above all."""
    out = tmp_path / "out"
    shutil.copytree(first[0], out)
    state = load_checkpoint(out / "checkpoint.pt", CPU)
    save_checkpoint(out / "checkpoint.pt", state | {"seconds": state["plan"]["minutes"] * 60.0})
    trained = (out / "checkpoint.pt").read_bytes()
    (out / ".clr-0.part").write_bytes(b"half of a file")
    begun = []

    class Killed(BaseException):
        pass

    def kill(trainer, minutes):
        begun.append((trainer.step, trainer.total_steps, len(trainer.earlier)))
        raise Killed

    monkeypatch.setattr(pieces.Trainer, "run", kill)
    for _ in range(3):
        with pytest.raises(Killed):
            _train(out, images)
        assert (out / "checkpoint.pt").read_bytes() == trained
    assert begun == [(0, state["total_steps"], len(state["history"]))] * 3
    assert ".clr-0.part" not in pieces._files(out)


def test_other_codes_go_without_the_weights_that_the_package_is_calibrated_for(
    first, images, tmp_path, capsys
):
    plan = pieces.Plan(minutes=0.001, size=64, batch=2, width=8, align_width=8, seed=0)
    other = pieces.Trainer(plan, Photos(images, CPU), tmp_path / "other", CPU, data="others")
    other.seconds = 60.0
    other.save()
    out = tmp_path / "out"
    shutil.copytree(first[0] / "weights", out / "weights")
    result = _train(out, images, "--from", str(tmp_path / "other" / "checkpoint.pt"))
    assert "no weights/" in capsys.readouterr().err
    assert set(result["files"]) == {name for name in FILES if not name.startswith("weights")}
    state = load_checkpoint(out / "checkpoint.pt", CPU)
    assert state["plan"]["seed"] == 0 and state["data"].startswith("others; then a rehearsal")
    with pytest.raises(WeightsError, match="codes"):
        checkpoints = (out / "checkpoint.pt", out / "fg_jpeg.pt")
        package_unexported(*checkpoints, Weights(), out / "weights")


def test_fg_jpeg_that_is_damaged_is_found_before_training(first, images, tmp_path):
    shutil.copytree(first[0], tmp_path / "out")
    (tmp_path / "out" / "fg_jpeg.pt").write_bytes(b"half")
    steps = load_checkpoint(tmp_path / "out" / "checkpoint.pt", CPU)["step"]
    words = ["--rehearse", "-o", str(tmp_path / "out"), "--images", str(images)]
    assert main(["train-gpu", *words]) == 3
    assert load_checkpoint(tmp_path / "out" / "checkpoint.pt", CPU)["step"] == steps


def test_a_checkpoint_that_is_too_large_leaves_the_moments_behind(images, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "FILE_BYTES_MAX", 2**20)
    _train(tmp_path, images)
    assert load_checkpoint(tmp_path / "checkpoint.pt", CPU)["optimizer"] is None


def test_what_cannot_be_is_said(images, tmp_path, capsys):
    words = ["train-gpu", "-o", str(tmp_path)]
    assert main(words) == 2
    assert "IMAGES=photos/" in capsys.readouterr().err
    assert main([*words, "--images", str(tmp_path / "none")]) == 1
    assert "no folder of photographs" in capsys.readouterr().err
    assert main([*words, "--images", str(images), "--from", str(tmp_path / "none.pt")]) == 1
    assert "none.pt: there is no such file" in capsys.readouterr().err
    options = [["--size", "100"], ["--minutes", "0"], ["--batch", "-1"], ["--minutes", "nan"]]
    options += [["--schedule", "inf"], ["--learning-rate", "nan"], ["--alignment", "nan"]]
    for option in (*options, ["--alignment", "-1"]):
        assert main([*words, "--images", str(images), *option]) == 2
        assert option[0] in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main([*words, "--images", str(images)]) == 3
        assert "--rehearse" in capsys.readouterr().err
    photos, hurry = Photos(images, CPU), pieces.Piece(minutes=0.1)
    with pytest.raises(UsageError, match="no time to train"):
        pieces.train_piece(hurry, photos, None, tmp_path, CPU, None, 0.0, print, "pictures")
    package_folder = str(Weights().folder)
    assert main(["train-gpu", "--rehearse", "-o", package_folder]) == 2
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize("library", ["matplotlib", "onnx"])
def test_what_is_missing_is_said_before_training(images, tmp_path, monkeypatch, capsys, library):
    monkeypatch.setitem(sys.modules, library, None)
    words = ["--rehearse", "-o", str(tmp_path / "out"), "--images", str(images)]
    assert main(["train-gpu", *words]) == 3
    said = capsys.readouterr().err
    assert library in said and "clr_infer[train]" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["file", "file/x"])
def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path, capsys, name):
    (tmp_path / "file").write_text("")
    assert main(["train-gpu", "--rehearse", "-o", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said and "photographs:" not in said


def test_held_out_numbers_are_the_same_each_time(first, images):
    folder, _ = first
    plan = pieces.Plan(minutes=1, size=64, batch=2, align_width=32, seed=2).fine_tuning()
    photos = Photos(images, CPU)
    trainer = pieces.Trainer(plan, photos, folder / "again", CPU, folder / "weights")
    found = [pieces._held_out(trainer.average, photos, plan) for _ in range(2)]
    assert (
        found[0] == pytest.approx(found[1], abs=1e-5) and np.isfinite(list(found[0].values())).all()
    )
