"""Results name the commit of this code, and of no other."""

import shutil
import subprocess

import pytest

from clr_infer.bench import facts


def _git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the module in somebody's repository, which does not hold it."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    path = tmp_path / "facts.py"
    shutil.copyfile(facts.__file__, path)
    monkeypatch.setattr(facts, "_HERE", path)
    return path


def test_the_commit_is_that_of_the_code_wherever_one_works(code, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert facts.commit() is None
    _git(code.parent, "add", "facts.py")
    _git(code.parent, "commit", "-q", "-m", "ours")
    head = _git(code.parent, "rev-parse", "HEAD")
    assert facts.commit() == head
    code.write_text("changed")
    assert facts.commit() == f"{head}, changed"


def test_without_git_there_is_no_commit(code, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert facts.commit() is None
