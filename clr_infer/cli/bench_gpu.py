"""``bench gpu``."""

import argparse
import sys
from pathlib import Path

from ..env import command_line
from ..errors import RuntimeUnavailable, UsageError

__all__ = ["add_gpu_suite"]


def add_gpu_suite(suites: argparse._SubParsersAction) -> None:
    """Add the GPU's suite to those of ``bench``."""
    text = "measure kernels, latency and runtimes on a GPU in one run, and hold them to the goals"
    parser = suites.add_parser("gpu", help=text, description=text)
    parser.set_defaults(run=_bench)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    text = "of all parts together (default: 8.5); none is begun later"
    parser.add_argument("--minutes", type=float, default=8.5, help=text)
    text = "exported precisions, or engines, as well"
    parser.add_argument("--models", type=Path, metavar="DIR", help=text)
    text = "the same at toy size on the CPU; its numbers are void"
    parser.add_argument("--rehearse", action="store_true", help=text)


def _bench(args: argparse.Namespace) -> int:
    if not args.minutes > 0:
        raise UsageError(f"--minutes must be above 0, not {args.minutes:g}")
    try:
        from ..bench.goals import goal_table
        from ..bench.gpu import run_gpu_suite
    except ImportError as error:
        raise RuntimeUnavailable(f'this needs pip install "clr_infer[gpu]" ({error})') from error

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    goals, failed = run_gpu_suite(
        args.output, args.minutes, command_line("clr-infer"), say, args.rehearse, args.models
    )
    sys.stderr.flush()
    for line in failed:
        print(f"failed: {line}")
    print(goal_table(goals, args.rehearse))
    return int(bool(failed))
