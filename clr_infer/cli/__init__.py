"""The command line: ``clr-infer``."""

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ClrError
from . import bench, evaluate, export, images, serve, train_gpu, work

__all__ = ["build_parser", "main"]

_EPILOG = """examples:
  clr-infer protect photo.jpg -o protected.png
  clr-infer attack protected.png -o received.jpg --steps "crop=0.1,0.2,0.8,0.9 jpeg=80"
  clr-infer locate received.jpg --json
  clr-infer recover received.jpg -o recovered.png
  clr-infer demo

exit codes: 0 all done; 1 some inputs failed; 2 wrong usage; 3 weights or runtime; 4 server;
130 interrupted"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="clr-infer",
        description="Undo image cropping: protect pictures, then locate and recover them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clr-infer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    images.add_commands(commands)
    evaluate.add_commands(commands)
    work.add_commands(commands)
    train_gpu.add_command(commands)
    export.add_commands(commands)
    serve.add_commands(commands)
    bench.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except ClrError as error:
        print(f"clr-infer: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("clr-infer: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
