"""What a suite of ``bench`` leaves: lines to read, a result file, a plot."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..image_files import write_bytes
from ..staging import refuse_unwritable

__all__ = ["add_files", "check_files", "publish"]


def add_files(parser: argparse.ArgumentParser, plot: str) -> None:
    """Add where the result and the plot go.

    Args:
        parser: of the suite.
        plot: what is drawn, for the help.
    """
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=plot)


def check_files(args: argparse.Namespace) -> None:
    """Say before minutes of measuring that what comes of it could not be written.

    Raises:
        OutputError: so it is.
    """
    for path in filter(None, (args.output, args.plot)):
        refuse_unwritable(path)


def publish(
    args: argparse.Namespace,
    result: dict[str, Any],
    text: str,
    draw: Callable[[dict[str, Any], Path], object],
) -> None:
    """Print what was measured, and write what was asked for.

    Args:
        args: options of :func:`add_files`.
        result: plain values; what is no number in JSON is an error.
        text: the same to read.
        draw: the plot, into a file.

    Raises:
        OutputError: a file cannot be written.
    """
    print(text, flush=True)
    if args.output:
        content = json.dumps(result, indent=1, allow_nan=False) + "\n"
        write_bytes(args.output, content.encode(), force=True)
        print(f"written to {args.output}", file=sys.stderr, flush=True)
    if args.plot:
        try:
            args.plot.parent.mkdir(parents=True, exist_ok=True)
            draw(result, args.plot)
        except OSError as error:
            raise OutputError(f"the plot cannot be written to {args.plot}: {error}") from error
