import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from clr_infer.errors import ImageError, OutputError
from clr_infer.image_files import read_bytes
from clr_infer.image_io import encode_image, format_for, read_image, write_bytes
from clr_infer.settings import Settings

CONTENT = encode_image(np.full((40, 50, 3), 77, np.uint8), format="PNG")


@contextmanager
def unprivileged():
    """Permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def seconds(limit):
    def stop(*_):
        raise TimeoutError("the call waits")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def open_folder():
    """A folder that everybody can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def listing(folder):
    return sorted(os.listdir(folder))


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ImageError, match=f"'{tmp_path}': a directory, not an image file"):
        read_image(tmp_path)


def test_missing_files_and_links_are_told_apart(tmp_path):
    with pytest.raises(ImageError, match="none.png': no such file"):
        read_image(tmp_path / "none.png")
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to("none.png")
    with pytest.raises(ImageError, match="dangling.png': a link whose target does not exist"):
        read_image(dangling)
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(ImageError, match="loop.png': the file cannot be read: .*symbolic links"):
        read_image(loop)


def test_a_name_that_no_file_can_have_is_a_typed_error(tmp_path):
    with pytest.raises(ImageError, match="cannot be read: .*null"):
        read_image(tmp_path / "a\0b.png")
    for force in (False, True):
        with pytest.raises(OutputError, match="cannot be written: .*null"):
            write_bytes(tmp_path / "a\0b.png", CONTENT, force=force)


def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "real.png").write_bytes(CONTENT)
    (tmp_path / "link.png").symlink_to("real.png")
    assert read_image(tmp_path / "link.png").format == "PNG"


def test_pipes_sockets_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.png"))
    with seconds(2), listener:
        for path in (tmp_path / "pipe.png", tmp_path / "socket.png", Path("/dev/zero")):
            with pytest.raises(ImageError, match=f"{path.name}': not a regular file but a pipe"):
                read_image(path)


def test_a_pipe_that_takes_the_place_of_a_file_is_refused_without_waiting(tmp_path, monkeypatch):
    regular, pipe = tmp_path / "file.png", tmp_path / "pipe.png"
    regular.write_bytes(CONTENT)
    os.mkfifo(pipe)
    before = os.stat(regular)
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    with seconds(2), pytest.raises(ImageError, match="not a regular file"):
        read_image(pipe)


def test_of_a_file_that_grows_no_more_is_read_than_was_allowed(tmp_path, monkeypatch):
    path = tmp_path / "file.png"
    path.write_bytes(CONTENT)
    before = os.stat(path)
    path.write_bytes(CONTENT + bytes(1000))
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    monkeypatch.setattr(os, "fstat", lambda *_: before)
    assert read_bytes(path, Settings(max_file_bytes=len(CONTENT))) == CONTENT


def test_an_unreadable_file_is_refused(open_folder):
    path = open_folder / "secret.png"
    path.write_bytes(CONTENT)
    path.chmod(0)
    with unprivileged(), pytest.raises(ImageError, match="secret.png': .*Permission denied"):
        read_image(path)


def test_a_nul_in_a_name_is_refused(tmp_path):
    with pytest.raises(ImageError, match="embedded null byte"):
        read_image(f"{tmp_path}/a\0.png")
    with pytest.raises(OutputError, match="embedded null byte"):
        write_bytes(Path(f"{tmp_path}/a\0.png"), CONTENT, force=True)


def test_large_files_are_refused_unread(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(CONTENT)
    os.truncate(path, 600 * 1024 * 1024)  # sparse
    with pytest.raises(ImageError, match="large.png': the file has 629145600 bytes; the limit is"):
        read_image(path)
    small = Settings(max_file_bytes=len(CONTENT) - 1)
    with pytest.raises(ImageError, match="raise it with max_file_bytes"):
        read_image(CONTENT, small)
    assert read_image(CONTENT, Settings(max_file_bytes=len(CONTENT))).format == "PNG"


NAMES = ["two\nlines.png", "-rf.png", "--force.png", os.fsdecode(b"caf\xe9\xff.png"), "a b'\".png"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", [str, Path])
def test_awkward_names_work(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    assert format_for(Path(name)) == "PNG"
    write_bytes(Path(name), CONTENT, force=False)
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]
    assert read_image(kind(name)).pixels.shape == (40, 50, 3)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_awkward_names_are_escaped_in_messages(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        read_image(name)
    message = str(caught.value)
    assert message.startswith(repr(name) + ": ")
    assert message.encode().count(b"\n") == 0
    with pytest.raises(OutputError) as refused:
        write_bytes(Path(name), CONTENT, force=False)
    assert str(refused.value).encode().startswith(repr(name).encode())


def test_a_file_is_written_whole_with_usual_permissions(tmp_path):
    path = tmp_path / "new" / "folders" / ("x" * 251 + ".png")
    write_bytes(path, CONTENT, force=False)
    assert path.read_bytes() == CONTENT
    assert listing(path.parent) == [path.name]
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_nothing_is_replaced_without_force(tmp_path):
    path = tmp_path / "old.png"
    path.write_bytes(b"old")
    (tmp_path / "dangling.png").symlink_to("none.png")
    for name in ("old.png", "dangling.png"):
        with pytest.raises(OutputError, match=f"{name}': it exists already .*force"):
            write_bytes(tmp_path / name, CONTENT, force=False)
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["dangling.png", "old.png"]


def without_links(*_, **__):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch, links):
    path = tmp_path / "raced.png"
    real_link = os.link

    def link(source, target):
        path.write_bytes(b"somebody else's")
        real_link(source, target) if links else without_links()

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OutputError, match="raced.png': it exists already"):
        write_bytes(path, CONTENT, force=False)
    assert path.read_bytes() == b"somebody else's"
    assert listing(tmp_path) == ["raced.png"]


def test_file_systems_without_links_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", without_links)
    write_bytes(tmp_path / "a.png", CONTENT, force=False)
    assert (tmp_path / "a.png").read_bytes() == CONTENT
    assert listing(tmp_path) == ["a.png"]

    def replace(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="b.png': cannot be written: Input/output error"):
        write_bytes(tmp_path / "b.png", CONTENT, force=False)
    assert listing(tmp_path) == ["a.png"]


def test_of_many_writers_one_wins(tmp_path):
    path = tmp_path / "one.png"
    barrier, outcomes = threading.Barrier(8), []

    def write(number):
        barrier.wait()
        try:
            write_bytes(path, bytes([number]) * 100_000, force=False)
            outcomes.append(number)
        except OutputError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number in outcomes if number is not None]
    assert len(outcomes) == 8
    assert path.read_bytes() == bytes([winner]) * 100_000
    assert listing(tmp_path) == ["one.png"]


def test_force_replaces_and_keeps_permissions_and_links(tmp_path):
    path, link = tmp_path / "real.png", tmp_path / "link.png"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to("real.png")
    write_bytes(link, CONTENT, force=True)
    assert link.is_symlink()
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert listing(tmp_path) == ["link.png", "real.png"]


@pytest.mark.parametrize("force", [True, False])
def test_a_directory_is_no_target(tmp_path, force):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="folder.png': a directory, where a file is to be"):
        write_bytes(tmp_path / "folder.png", CONTENT, force=force)
    assert listing(tmp_path) == ["folder.png"]
    assert (tmp_path / "folder.png").is_dir()


def test_force_replaces_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with seconds(2):
        for name in ("pipe.png", "link.png", "loop.png"):
            with pytest.raises(OutputError, match=f"{name}': not a regular file"):
                write_bytes(tmp_path / name, CONTENT, force=True)
    assert stat.S_ISFIFO((tmp_path / "pipe.png").stat().st_mode)
    assert (tmp_path / "link.png").is_symlink()
    assert listing(tmp_path) == ["link.png", "loop.png", "pipe.png"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_bytes(tmp_path / "file" / "a.png", CONTENT, force=False)


def test_a_folder_without_permission(open_folder):
    (open_folder / "old.png").write_bytes(b"old")
    open_folder.chmod(0o555)
    with unprivileged():
        for name, force in (("new.png", False), ("old.png", True), ("sub/new.png", False)):
            with pytest.raises(OutputError, match=f"{name}': cannot be written: Permission denied"):
                write_bytes(open_folder / name, CONTENT, force=force)
    open_folder.chmod(0o755)
    assert listing(open_folder) == ["old.png"]
    assert (open_folder / "old.png").read_bytes() == b"old"


FULL = """
import resource, sys
from pathlib import Path
from clr_infer.errors import OutputError
from clr_infer.image_io import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for name, force in (("old.png", True), ("new.png", False)):
    try:
        write_bytes(Path(sys.argv[1], name), bytes(1_000_000), force=force)
    except OutputError as error:
        print(error)
"""


def test_a_file_that_outgrows_its_quota_leaves_the_old_one(tmp_path):
    (tmp_path / "old.png").write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split("/")[-1] for line in lines] == [
        "old.png': cannot be written: File too large",
        "new.png': cannot be written: File too large",
    ]
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert listing(tmp_path) == ["old.png"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt]
)
def test_a_full_disk_or_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "old.png"
    path.write_bytes(b"old")

    def fsync(_):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    for target, force in ((path, True), (tmp_path / "new.png", False)):
        with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
            write_bytes(target, CONTENT, force=force)
        if isinstance(error, OSError):
            assert "cannot be written: No space left on device" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["old.png"]
