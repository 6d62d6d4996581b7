"""Inputs and outputs of the commands: files, folders, globs and ``-``."""

import glob
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import ClrError, ImageError, OutputError, UsageError
from ..image_io import READ_SUFFIXES, LoadedImage, read_image
from ..settings import Settings

__all__ = ["STANDARD_STREAM", "expand_inputs", "for_each", "load_input", "shown"]

STANDARD_STREAM = "-"


def expand_inputs(words: Iterable[str], recursive: bool) -> list[str]:
    """Turn files, folders and globs into a list of files, in order and without repeats.

    A name that exists is taken as it is, even if it looks like a glob; one that does not is kept,
    so that it is reported as missing.

    Raises:
        UsageError: nothing is left.
    """
    found: dict[str, None] = {}
    for word in words:
        if not word:
            raise UsageError("an input has an empty name")
        if word == STANDARD_STREAM or os.path.lexists(word):
            matches = [word]
        else:
            matches = sorted(glob.glob(word, recursive=True)) or [word]
        for match in matches:
            if match == STANDARD_STREAM or not os.path.isdir(match):
                found[match] = None
                continue
            try:
                found.update(dict.fromkeys(_images_in(Path(match), recursive)))
            except OSError:  # reported where it is read, as any file that cannot be
                found[match] = None
    if not found:
        raise UsageError("no images among the inputs (folders are searched for known suffixes)")
    return list(found)


def _images_in(folder: Path, recursive: bool) -> list[str]:
    inside = sorted(folder.rglob("*") if recursive else folder.iterdir())
    names = (str(path) for path in inside if path.suffix.lower() in READ_SUFFIXES)
    return [name for name in names if not os.path.isdir(name)]


def load_input(word: str, settings: Settings, frame: int | None) -> LoadedImage:
    """Read one input; ``-`` is standard input."""
    if word == STANDARD_STREAM:
        if sys.stdin is None:
            raise ImageError("standard input is closed")
        return read_image(sys.stdin.buffer.read(), settings, frame=frame)
    return read_image(Path(word), settings, frame=frame)


def for_each(
    words: list[str], do: Callable[[str], dict[str, Any]], as_json: bool, label: str
) -> int:
    """Do something with each input; one bad input never stops the rest.

    Prints one JSON object a line on standard output if asked to, everything else on standard
    error.

    Returns:
        The exit code: 0, or 1 if any input failed.
    """
    failed = 0
    hide = len(words) < 2 or not sys.stderr.isatty()
    for word in tqdm(words, desc=label, unit="image", disable=hide):
        try:
            record = {"input": word, "ok": True, **do(word)}
        except ClrError as error:
            if error.exit_code > 1:
                raise
            failed += 1
            details = {"type": type(error).__name__, "message": str(error)}
            record = {"input": word, "ok": False, "error": details}
            named = str(error).startswith("'")  # errors of image_io name their file already
            print(error if named else f"{shown(word)}: {error}", file=sys.stderr)
        except MemoryError:
            failed += 1
            details = {"type": ImageError.__name__, "message": "not enough memory"}
            record = {"input": word, "ok": False, "error": details}
            print(f"{shown(word)}: not enough memory", file=sys.stderr)
        if as_json:
            try:
                print(json.dumps(record), flush=True)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OutputError(f"standard output cannot be written: {error}") from error
    return 1 if failed else 0


def shown(word: str) -> str:
    """A file name as it can be printed: control characters and stray bytes escaped."""
    return (
        word.encode("utf-8", "backslashreplace")
        .decode()
        .translate({c: f"\\x{c:02x}" for c in (*range(32), 127)})
    )
