"""Checkpoints: foreign ones are named as such, and a full disk takes nothing away."""

import errno
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from clr_infer.errors import OutputError, UsageError, WeightsError
from clr_infer.train.checkpoint import load_checkpoint, load_start, save_checkpoint
from clr_infer.train.fg_jpeg import bring_fg_jpeg, load_fg_jpeg
from clr_infer.train.finish import collect
from clr_infer.train.loop import Plan, Trainer
from clr_infer.train.piece import Piece, train_piece
from clr_infer.train.plan import plan_of
from clr_infer.weights import MANIFEST, default_folder

CPU = torch.device("cpu")
PLAN = Plan(minutes=1, size=64, batch=2, width=8, align_width=8, seed=3, psnr_db=39.0)


@pytest.fixture
def begun(photos, tmp_path):
    """The folder of a run that was begun."""
    folder = tmp_path / "run"
    Trainer(PLAN, photos, folder, CPU, data="one picture").save()
    return folder


def _changed(folder, **parts):
    state = load_checkpoint(folder / "checkpoint.pt", CPU)
    left = {name: value for name, value in (state | parts).items() if value is not ...}
    save_checkpoint(folder / "checkpoint.pt", left)


@pytest.mark.parametrize("foreign", [{}, [], {"model": {}}, {"plan": 3}, torch.zeros(2)])
def test_a_foreign_file_is_none(photos, tmp_path, foreign):
    path = tmp_path / "checkpoint.pt"
    torch.save(foreign, path)
    piece = Piece(minutes=0, least_s=1)
    for read in (
        lambda: load_checkpoint(path, CPU),
        lambda: load_start(path),
        lambda: Trainer(PLAN, photos, tmp_path, CPU),
        lambda: train_piece(piece, photos, None, tmp_path / "new", CPU, path, 0.0, print, ""),
    ):
        with pytest.raises(WeightsError, match="average"):
            read()
    with pytest.raises(WeightsError, match="generator"):
        load_fg_jpeg(path)


def test_no_code_in_a_checkpoint_is_run(tmp_path):
    path, made = tmp_path / "checkpoint.pt", tmp_path / "made"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(made),)

    torch.save({"plan": Trap()}, path)
    for read in (lambda: load_checkpoint(path, CPU), lambda: load_fg_jpeg(path)):
        with pytest.raises(WeightsError, match="cannot read the checkpoint"):
            read()
    assert not made.exists()


@pytest.mark.parametrize("part", ["plan", "history", "networks", "average", "step", "seconds"])
def test_what_a_checkpoint_lacks_is_named(begun, part):
    _changed(begun, **{part: ...})
    with pytest.raises(WeightsError, match=part):
        load_checkpoint(begun / "checkpoint.pt", CPU)


def test_a_plan_that_lacks_something_is_named(begun):
    _changed(begun, plan={"width": 8})
    with pytest.raises(WeightsError, match="align_width, seed, psnr_db, minutes, size"):
        load_start(begun / "checkpoint.pt")


def test_a_plan_with_parts_of_another_version_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"run\.pt has a plan of another version.*spirals"):
        plan_of({"minutes": 1.0, "spirals": 3}, tmp_path / "run.pt")


def test_a_checkpoint_of_an_older_version_can_be_gone_on_from(begun, photos):
    _changed(begun, data=..., default_psnr_db=...)
    again = Trainer(PLAN, photos, begun, CPU, data="two pictures")
    assert again.data == "not stated; then two pictures" and again.default_psnr_db is None


def test_a_folder_of_weights_that_lacks_a_fact_is_named(tmp_path):
    folder = tmp_path / "weights"
    shutil.copytree(default_folder(), folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    del manifest["align_width"]
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(WeightsError, match="align_width"):
        load_start(folder)


def test_weights_of_other_networks_are_refused(begun, photos, tmp_path):
    """Also in a checkpoint whose plan says otherwise, and an optimiser of another kind."""
    assert bring_fg_jpeg(default_folder(), begun)
    other = Trainer(Plan(minutes=1, size=64, width=12, align_width=8), photos, tmp_path / "b", CPU)
    state, jpeg = other.networks.state_dict(), load_fg_jpeg(begun / "fg_jpeg.pt")
    save_checkpoint(begun / "other.pt", jpeg | {"generator": state})
    for parts in ({"average": state}, {"networks": state}):
        _changed(begun, **parts)
        with pytest.raises(WeightsError, match="other widths"):
            Trainer(PLAN, photos, begun, CPU)
    with pytest.raises(WeightsError, match=r"checkpoint.pt.*other widths"):
        collect(begun / "checkpoint.pt", begun / "fg_jpeg.pt", 64)
    Trainer(PLAN, photos, begun, CPU, anew=True).save()
    with pytest.raises(WeightsError, match=r"other.pt.*other widths"):
        collect(begun / "checkpoint.pt", begun / "other.pt", 64)
    _changed(begun, optimizer={"state": {}})
    with pytest.raises(WeightsError, match="optimiser"):
        Trainer(PLAN, photos, begun, CPU)


@pytest.mark.parametrize(
    ("other", "option"),
    [
        ({"seed": 0}, "--seed"),
        ({"size": 96}, "--size"),
        ({"width": 12}, "--width"),
        ({"align_width": 12}, "align_width"),
        ({"psnr_db": 38.0}, "--strength"),
    ],
)
def test_a_run_goes_on_with_its_own_codes_networks_frame_and_strength(begun, photos, other, option):
    with pytest.raises(UsageError, match=f"{option}: .* begun with"):
        Trainer(replace(PLAN, **other), photos, begun, CPU)
    Trainer(replace(PLAN, minutes=5.0, batch=3), photos, begun, CPU)


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(begun, photos, monkeypatch):
    trainer = Trainer(PLAN, photos, begun, CPU)
    before = (begun / "checkpoint.pt").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        trainer.save()
    assert (begun / "checkpoint.pt").read_bytes() == before
    assert [path.name for path in begun.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_made_is_said(photos, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OutputError, match="file"):
            Trainer(PLAN, photos, folder, CPU)
        with pytest.raises(OutputError, match="file"):
            bring_fg_jpeg(default_folder(), folder)
