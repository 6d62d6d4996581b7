"""The log of training: the same columns always, and means that a bad step does not spoil."""

import csv

import pytest
import torch

from clr_infer.errors import OutputError
from clr_infer.train.log import COLUMNS, Log
from clr_infer.train.pictures import draw_curves


def _rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_columns_stay_aligned_whatever_a_schedule_measures(tmp_path):
    path = tmp_path / "log.csv"
    for numbers in ({"loss": 2.0, "align": 0.5}, {"loss": 1.0, "hardness": 1.0}):
        with Log(path) as log:
            log.take(numbers)
            log.write(50, 7.0)
    first, second = _rows(path)
    assert tuple(first) == COLUMNS
    assert (first["align"], first["hardness"]) == ("0.5000", "")
    assert (second["align"], second["hardness"]) == ("", "1.0000")
    draw_curves(path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_a_log_of_other_columns_is_kept_under_another_name(tmp_path, caplog):
    path = tmp_path / "log.csv"
    for number in (1, 2):
        path.write_text(f"step,loss,old{number}\r\n1,2,3\r\n")
        with Log(path) as log:
            log.take({"loss": 1.0})
            log.write(50, 7.0)
        assert (tmp_path / f"log-{number}.csv").read_text().startswith(f"step,loss,old{number}")
        assert f"log-{number}.csv" in caplog.text
        assert [row["loss"] for row in _rows(path)] == ["1.0000"]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    path = tmp_path / "log.csv"
    for step in (50, 100):
        with Log(path) as log:
            log.take({"loss": 1.0})
            log.write(step, 7.0)
        with path.open("a") as stream:
            stream.write("150,9,0.3")
    with Log(path):
        pass
    assert [row["step"] for row in _rows(path)] == ["50", "100"]
    assert path.read_bytes().count(b"\r\n") == 3  # every line has its own end


def test_an_empty_file_is_a_log_to_be_gone_on_with(tmp_path, caplog):
    path = tmp_path / "log.csv"
    for _ in range(2):
        path.touch()
        with Log(path):
            pass
        assert tuple(path.read_text().strip().split(",")) == COLUMNS
    assert [one.name for one in tmp_path.iterdir()] == ["log.csv"] and not caplog.text


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_stay_in_the_means(tmp_path, bad):
    values = [bad, 2.0, bad, 1.0, bad]
    with Log(tmp_path / "log.csv") as log:
        for value in values:
            log.take({"loss": torch.tensor(value), "psnr_db": 38.0})
        row = log.write(5, 1.0)
    assert float(row["loss"]) == pytest.approx(2.0 * 0.98 + 1.0 * 0.02, abs=1e-4)
    assert row["psnr_db"] == "38.0000"


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match="log"):
        Log(tmp_path / "log.csv")
