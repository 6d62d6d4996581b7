"""Whole files in and out: regular files of bounded size are read, results appear at once."""

import os
import secrets
import stat
from pathlib import Path

from .errors import ImageError, OutputError
from .settings import Settings

__all__ = ["check_file_size", "read_bytes", "write_bytes"]

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_file_size(size: int, settings: Settings) -> None:
    """Refuse a file by its size in bytes.

    Raises:
        ImageError: the message names the limit.
    """
    if size > settings.max_file_bytes:
        raise ImageError(
            f"the file has {size} bytes; the limit is {settings.max_file_bytes} "
            "(raise it with max_file_bytes)"
        )


def read_bytes(path: str | os.PathLike[str], settings: Settings) -> bytes:
    """Read a regular file; anything else is refused, and nothing is waited for.

    Raises:
        ImageError: the reason; the caller knows the name.
    """
    try:
        # Asked before opening, as opening may act on a device; asked again of what was opened, as
        # the name may have changed hands. Without O_NONBLOCK, opening a pipe waits for a writer.
        _check_regular(os.stat(path), settings)
        with open(os.open(path, _OPEN_FLAGS), "rb") as stream:
            status = os.fstat(stream.fileno())
            _check_regular(status, settings)
            return stream.read(status.st_size)
    except ImageError:
        raise
    except FileNotFoundError as error:
        missing = "a link whose target does not exist" if os.path.islink(path) else "no such file"
        raise ImageError(missing) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"the file cannot be read: {_reason(error)}") from error


def _check_regular(status: os.stat_result, settings: Settings) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("a directory, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file but a pipe, a socket or a device")
    check_file_size(status.st_size, settings)


def write_bytes(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all, and the folders above it where they are missing.

    With ``force`` a link is followed, and a file that is replaced hands on its permissions.

    Args:
        path: the target.
        content: what it will hold.
        force: replace an existing file. Without it nothing that exists is touched, not even a
            file that appears meanwhile.

    Raises:
        OutputError: the target exists or cannot be written; it is as it was before.
    """
    try:
        _write(Path(os.path.realpath(path)) if force else Path(path), content, force)
    except OutputError as error:
        raise OutputError(f"{str(path)!r}: {error}") from error
    except (OSError, ValueError) as error:
        raise OutputError(f"{str(path)!r}: cannot be written: {_reason(error)}") from error


def _write(target: Path, content: bytes, force: bool) -> None:
    mode = _replaced_mode(target, force)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that renaming stays within a file system; not named after it, as its
    # name may be as long as names can be.
    temporary = target.parent / f".clr-{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as stream:
            if mode is not None:
                os.chmod(temporary, mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if force:
            os.replace(temporary, target)
        else:
            _publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _replaced_mode(target: Path, force: bool) -> int | None:
    try:
        previous = os.lstat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(previous):
        raise OutputError("a directory, where a file is to be written")
    if not force:
        raise _exists()
    if not stat.S_ISREG(previous):
        raise OutputError("not a regular file, so it is not replaced")
    return stat.S_IMODE(previous)


def _publish(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)  # unlike a rename, it fails where the target exists
    except FileExistsError as error:
        raise _exists() from error
    except OSError:  # a file system without links: reserve the name, then fill it
        try:
            open(target, "xb").close()
        except FileExistsError as error:
            raise _exists() from error
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _exists() -> OutputError:
    return OutputError("it exists already and is not replaced (--force replaces it)")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
