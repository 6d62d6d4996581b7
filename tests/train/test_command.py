"""``clr-infer train``: one command from a folder of photographs to weights that load."""

import numpy as np
import pytest
from PIL import Image

import clr_infer
from clr_infer.cli import main
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


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (["--size", "50"], 2),
        (["--start-from", "nothing.pt"], 3),
    ],
)
def test_bad_options_fail_before_training(folders, extra, code, capsys):
    words = ["train", "--images", str(folders / "train"), "--val", str(folders / "val")]
    assert main([*words, "-o", str(folders / "run"), *extra]) == code
    assert capsys.readouterr().err
    assert not (folders / "run" / "checkpoint.pt").exists()


def test_what_is_needed_in_the_end_is_asked_for_before_training(tmp_path, raccoon, capsys):
    Image.fromarray(raccoon[:128, :160]).save(tmp_path / "photo.png")
    folders = ["--images", str(tmp_path), "-o", str(tmp_path / "out"), "--val"]
    assert main(["train", *folders, str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["train", *folders, str(tmp_path), "--batch", "0"]) == 2


def test_fine_tuning_keeps_the_codes_of_what_it_starts_from(tmp_path, raccoon, monkeypatch):
    Image.fromarray(raccoon[:128, :160]).save(tmp_path / "photo.png")
    plans = []

    class Noted(Exception):
        pass

    def note(plan, *_):
        plans.append(plan)
        raise Noted

    monkeypatch.setattr("clr_infer.train.loop.Trainer", note)
    folders = ["--images", str(tmp_path), "--val", str(tmp_path), "-o", str(tmp_path / "out")]
    for words in (["--start-from", "package", "--seed", "99"], ["--seed", "99"]):
        with pytest.raises(Noted):
            main(["train", *folders, *words])
    assert [plan.seed for plan in plans] == [Weights().manifest["seed"], 99]
