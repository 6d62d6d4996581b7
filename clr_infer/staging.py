"""All of a result or nothing: what is filled aside is put in place when everything passed."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError

__all__ = ["refuse_existing", "refuse_unwritable", "staged_folders"]


def refuse_existing(parent: Path, names: Sequence[str], force: bool) -> None:
    """Say before long work that its result could not be put in place.

    Raises:
        OutputError: ``parent/name`` exists for one of the names, and ``force`` is not set.
    """
    for name in names:
        if (parent / name).exists() and not force:
            raise OutputError(f"{parent / name} exists; --force replaces it")


def refuse_unwritable(path: Path) -> None:
    """Say before long work that a file could not be written.

    Raises:
        OutputError: it is a folder, or cannot be made where it is to be.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder, not a file")
    above = path.absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: {above} is no folder, or not writable")


@contextmanager
def staged_folders(parent: Path, names: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Fill ``parent/name`` for each name aside; they take their places when the block ends.

    If the block raises, everything is as it was before.

    Args:
        parent: created if missing.
        names: of folders, or files, which the block makes inside the folder that it is given.
        force: replace those that exist.

    Raises:
        OutputError: a folder exists, before the block or after it, and ``force`` is not set, or
            ``parent`` cannot be written.
    """
    refuse_existing(parent, names, force)
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=parent, prefix=".partial-"))
    except OSError as error:
        raise OutputError(f"cannot write to {parent}: {error}") from error
    done = False
    try:
        yield staging
        refuse_existing(parent, names, force)  # what somebody else has made meanwhile
        _swap(staging, parent, names)
        done = True
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write to {parent}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for path in missing if not done else ():
            with suppress(OSError):  # somebody else has written there meanwhile
                path.rmdir()


def _swap(staging: Path, parent: Path, names: Sequence[str]) -> None:
    for name in names:
        (staging / name).stat()  # the block made it
    aside = staging / ".replaced"
    aside.mkdir()
    try:
        for name in names:
            if (parent / name).exists():
                os.rename(parent / name, aside / name)
            os.rename(staging / name, parent / name)
    except BaseException:  # whatever it is: what was there comes back
        for name in names:
            if not (staging / name).exists():  # it took its place
                _remove(parent / name)
            if (aside / name).exists():
                os.rename(aside / name, parent / name)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
