"""All or nothing on the disk."""

import os

import pytest

from clr_infer.errors import ModelError, OutputError
from clr_infer.staging import refuse_unwritable, staged_folders


def _fill(staging, name, content):
    (staging / name).mkdir()
    (staging / name / "file").write_text(content)


def test_folders_appear_together_when_the_block_ends(tmp_path):
    out = tmp_path / "deep" / "out"
    with staged_folders(out, ["a", "b"]) as staging:
        _fill(staging, "a", "1")
        _fill(staging, "b", "2")
        assert not (out / "a").exists()
    assert {p.name for p in out.iterdir()} == {"a", "b"}


def test_a_failure_leaves_nothing_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(ModelError), staged_folders(out, ["a"]) as staging:
        _fill(staging, "a", "1")
        raise ModelError("missed")
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_kept_without_force_and_after_failures(tmp_path):
    _fill(tmp_path, "a", "old")
    with pytest.raises(OutputError, match="--force"), staged_folders(tmp_path, ["a"]):
        pytest.fail("the block must not start")
    with pytest.raises(OutputError), staged_folders(tmp_path, ["a", "b"], force=True) as staging:
        _fill(staging, "a", "new")  # and b is missing
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_somebody_else_made_meanwhile_is_kept(tmp_path):
    with (
        pytest.raises(OutputError, match=r"^\S+ exists"),
        staged_folders(tmp_path, ["a"]) as staging,
    ):
        _fill(staging, "a", "ours")
        _fill(tmp_path, "a", "theirs")
    assert (tmp_path / "a" / "file").read_text() == "theirs"
    with pytest.raises(ModelError), staged_folders(tmp_path / "new", ["a"]):
        _fill(tmp_path / "new", "b", "theirs")
        raise ModelError("missed")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b"]


@pytest.mark.parametrize("at", range(4))
def test_an_interruption_while_folders_change_places_loses_nothing(tmp_path, monkeypatch, at):
    _fill(tmp_path, "a", "old")
    _fill(tmp_path, "b", "old")
    rename, calls = os.rename, []

    def interrupted(source, target):
        calls.append(source)
        if len(calls) == at + 1:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with staged_folders(tmp_path, ["a", "b"], force=True) as staging:
            _fill(staging, "a", "new")
            _fill(staging, "b", "new")
    assert {p.name: (p / "file").read_text() for p in tmp_path.iterdir()} == {
        "a": "old",
        "b": "old",
    }


def test_an_interruption_leaves_no_file_that_was_not_there(tmp_path, monkeypatch):
    rename = os.rename

    def interrupted(source, target):
        rename(source, target)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), staged_folders(tmp_path, ["a"]) as staging:
        (staging / "a").write_text("new")
        monkeypatch.setattr(os, "rename", interrupted)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_entered_is_told_before_long_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.W_OK)  # root may do anything
    with pytest.raises(OutputError, match="not writable"):
        refuse_unwritable(tmp_path / "x.json")


def test_a_file_that_cannot_be_written_is_told_before_long_work(tmp_path):
    refuse_unwritable(tmp_path / "new" / "deep" / "x.json")
    (tmp_path / "file").write_text("")
    refuse_unwritable(tmp_path / "file")  # which is replaced
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OutputError, match="is a folder"):
        refuse_unwritable(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        refuse_unwritable(tmp_path / "file" / "x.json")


def test_force_replaces(tmp_path):
    _fill(tmp_path, "a", "old")
    with staged_folders(tmp_path, ["a"], force=True) as staging:
        _fill(staging, "a", "new")
    assert (tmp_path / "a" / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), staged_folders(tmp_path / "file", ["a"]):
        pytest.fail("the block must not start")
