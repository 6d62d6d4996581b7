"""What commands write, and where."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from ..errors import OutputError, UsageError
from ..image_io import ALPHA_FORMATS, LoadedImage, encode_image, format_for, is_lossy, write_bytes
from .inputs import STANDARD_STREAM, shown

__all__ = ["Writer", "add_format", "add_output"]

_SUFFIX_OF = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="a file, a folder, or - for one"
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add how results are written."""
    parser.add_argument("--format", choices=sorted(_SUFFIX_OF), help="default: png, or by OUT")
    parser.add_argument("--quality", type=int, metavar="Q", help="1-100, for jpeg and webp")
    parser.add_argument("--strip", action="store_true", help="drop EXIF and the colour profile")


class Writer:
    """Writes results of one command where its options say.

    Args:
        args: options of :func:`add_output` and :func:`add_format`.
        words: the inputs.
        lossy_warning: say that a lossy format weakens the protection.
        beside: names of pictures that are written beside each result.

    Raises:
        UsageError: options that do not go together, or two results of one name.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        words: list[str],
        lossy_warning: bool,
        beside: tuple[str, ...] = (),
    ) -> None:
        self.args, self.beside, count = args, beside, len(words)
        self.to_stdout = args.output == STANDARD_STREAM
        if self.to_stdout and (count > 1 or args.json):
            raise UsageError("-o - writes one image to standard output: one input, no --json")
        if not args.output:
            raise UsageError("-o wants a name")
        self._out = out = Path(args.output)
        self._folder = os.path.isdir(out) or args.output.endswith(os.sep) or not out.suffix
        if count > 1 and not self._folder:
            raise UsageError(f"{count} inputs need a folder, not the file {out}")
        named = None if self._folder or self.to_stdout else format_for(out).lower()
        if args.format and named and named != args.format:
            raise UsageError(f"--format {args.format} does not go with the name {out}")
        self.format = args.format or named or "png"
        self.lossy = is_lossy(self.format.upper(), args.quality)
        if self.lossy:
            if lossy_warning:
                print(
                    f"warning: {self.format} is lossy and weakens the protection; png keeps it",
                    file=sys.stderr,
                )
        elif args.quality is not None:
            raise UsageError(f"--quality is for jpeg and webp, not {self.format}")
        self._refuse_shared_names(words)

    def _refuse_shared_names(self, words: list[str]) -> None:
        first: dict[Path, str] = {}
        for word in words:
            for path in (self.path(word), *(self.path_beside(word, n) for n in self.beside)):
                other = first.setdefault(path, word)
                if other != word:
                    raise UsageError(
                        f"{shown(other)} and {shown(word)} would both be written to "
                        f"{shown(str(path))}: give them other names, or run them one by one"
                    )

    def path(self, word: str) -> Path:
        """Where the result of an input goes: into a folder under its own name, or to one file."""
        if not self._folder:
            return self._out
        stem = "stdin" if word == STANDARD_STREAM else Path(word).stem
        return self._out / f"{stem}{_SUFFIX_OF[self.format]}"

    def path_beside(self, word: str, name: str) -> Path:
        """Where a picture beside that result goes."""
        path = self.path(word)
        return path.with_name(f"{path.stem}.{name}.png")

    def write(self, word: str, pixels: np.ndarray, source: LoadedImage, alpha: bool) -> str:
        """Encode and write a result; returns its path.

        Raises:
            InputError: it cannot be encoded so.
            OutputError: it, or what comes beside it, cannot be written; nothing was.
        """
        for text in source.warnings:
            print(f"{shown(word)}: warning: {text}", file=sys.stderr)
        if alpha and source.alpha is not None and self.format.upper() not in ALPHA_FORMATS:
            print(f"{shown(word)}: warning: {self.format} holds no alpha", file=sys.stderr)
        content = encode_image(
            pixels,
            format=self.format.upper(),
            quality=self.args.quality,
            alpha=source.alpha if alpha else None,
            exif=None if self.args.strip else source.exif,
            icc_profile=None if self.args.strip else source.icc_profile,
        )
        if self.to_stdout:
            _to_stdout(content)
            return STANDARD_STREAM
        for beside in () if self.args.force else self.beside:
            if os.path.lexists(self.path_beside(word, beside)):
                raise OutputError(
                    f"{str(self.path_beside(word, beside))!r}: it exists already and is not "
                    "replaced (--force replaces it)"
                )
        path = self.path(word)
        write_bytes(path, content, force=self.args.force)
        return str(path)


def _to_stdout(content: bytes) -> None:
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except (OSError, AttributeError) as error:
        raise OutputError(f"standard output cannot be written: {error}") from error
