"""Wheels that are unpacked into the cache, by the real pip, and what a server is started in."""

import hashlib
import os
import platform
import subprocess
import zipfile
from pathlib import Path

import pytest

from clr_infer.errors import RuntimeUnavailable
from clr_infer.serving import distribution
from clr_infer.serving.distribution import (
    MALLOC,
    Distribution,
    cache_folder,
    ensure_distribution,
    unpack_wheel,
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLR_INFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path):
    """A file that pip can install without a network."""
    path, facts = tmp_path / "demo-1.0-py3-none-any.whl", "demo-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("demo.py", "")
        content.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        content.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{facts}/RECORD", "demo.py,,\n")
    return path


def _requirement(wheel, content=None):
    digest = hashlib.sha256(wheel.read_bytes() if content is None else content).hexdigest()
    return f"demo @ {wheel.as_uri()} --hash=sha256:{digest}"


def test_a_wheel_is_unpacked_once(cache, wheel, capsys):
    for _ in range(2):
        assert unpack_wheel(_requirement(wheel), "demo-1.0") == cache / "demo-1.0"
    assert (cache / "demo-1.0" / "demo.py").is_file()
    assert [path.name for path in cache.iterdir()] == ["demo-1.0"]
    assert capsys.readouterr().err.count("downloading demo") == 1


def test_another_file_than_the_one_that_was_pinned_is_not_unpacked(cache, wheel):
    with pytest.raises(RuntimeUnavailable, match="demo could not be downloaded"):
        unpack_wheel(_requirement(wheel, b"another"), "demo-1.0")
    with pytest.raises(RuntimeUnavailable, match="demo could not be downloaded"):
        unpack_wheel(_requirement(wheel).split(" --hash")[0], "demo-1.0")
    assert not list(cache.iterdir())


def test_what_another_process_unpacked_meanwhile_is_taken(cache, wheel, monkeypatch):
    run = subprocess.run

    def meanwhile(*words, **options):
        done = run(*words, **options)
        (cache / "demo-1.0").mkdir()
        (cache / "demo-1.0" / "theirs").touch()
        return done

    monkeypatch.setattr(subprocess, "run", meanwhile)
    folder = unpack_wheel(_requirement(wheel), "demo-1.0")
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    assert [path.name for path in cache.iterdir()] == ["demo-1.0"]


@pytest.mark.parametrize(
    ("ours", "xdg", "expected"),
    [("/a", "/b", "/a"), ("", "/b", "/b/clr_infer"), ("", "", "/home/me/.cache/clr_infer")],
)
def test_the_cache_is_where_the_user_has_it(monkeypatch, ours, xdg, expected):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("CLR_INFER_CACHE", ours)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_folder() == Path(expected)


def test_where_no_server_runs_nothing_is_downloaded(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(RuntimeUnavailable, match="the container in deploy/"):
        ensure_distribution()
    assert not cache.exists()
    monkeypatch.setattr(distribution, "_STUBS", ("2.7",))
    with pytest.raises(RuntimeUnavailable, match=r"Python 2\.7, not 3"):
        Distribution(tmp_path).lay_out_backend(tmp_path / "backends")


def test_what_the_environment_says_of_memory_and_libraries_is_kept(tmp_path, monkeypatch):
    kept, ours = MALLOC
    monkeypatch.setenv(kept, "1")
    monkeypatch.delenv(ours, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    environment = Distribution(tmp_path).environment()
    assert (environment[kept], environment[ours]) == ("1", MALLOC[ours])
    libraries = environment["LD_LIBRARY_PATH"].split(os.pathsep)
    assert libraries[0] == str(tmp_path / "nvidia_pytriton.libs") and libraries[-1] == "/mine"
