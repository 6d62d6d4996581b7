"""``bench kernels``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..env import command_line
from ..errors import RuntimeUnavailable, UsageError
from .measured import add_files, check_files, publish

__all__ = ["add_kernels_command"]


def add_kernels_command(suites: argparse._SubParsersAction) -> None:
    """Add the kernel suite to those of ``bench``."""
    text = "measure the kernels beside their references, kornia and the real codec"
    parser = suites.add_parser("kernels", help=text, description=text)
    parser.set_defaults(run=_bench)
    add_files(parser, "draw the roofline; bars if there is no GPU")
    parser.add_argument("--quick", action="store_true", help="one short look at each")
    parser.add_argument("--only", choices=("cpu", "gpu"), help="default: both, where there are")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU (default: one, and all)")
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="CPU (default: until the spread is small)"
    )
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--rehearse", action="store_true", help="the GPU's part on the CPU; its numbers are void"
    )


def _plan(args: argparse.Namespace):  # noqa: ANN202 - the type belongs to a lazy import
    from ..bench.kernels.plan import QUICK, REHEARSED, KernelPlan

    values: dict[str, Any] = {}
    if args.quick:
        values |= QUICK
    if args.rehearse:
        values |= REHEARSED
    for option in ("threads", "repeats"):
        if (count := getattr(args, option)) is not None:
            if count < 1:
                raise UsageError(f"--{option} must be at least 1, not {count}")
            values[option] = (count,) if option == "threads" else count
    if args.no_compile:
        values["with_compile"] = False
    return KernelPlan(**values)


def _refuse_published(output: Path | None) -> None:
    if output and output.resolve().parent.parts[-2:] == ("benchmarks", "results"):
        raise UsageError("--rehearse measures nothing: give -o a place outside benchmarks/results")


def _bench(args: argparse.Namespace) -> int:
    if args.rehearse:
        _refuse_published(args.output)
    try:
        from ..bench.kernels.suite import failures, run_kernels
    except ImportError as error:
        message = f'this needs pip install "clr_infer[bench]" ({error})'
        raise RuntimeUnavailable(message) from error
    from ..bench.kernels.plots import plot_kernels
    from ..bench.kernels.tables import kernel_tables

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    check_files(args)
    result = run_kernels(_plan(args), command_line("clr-infer"), say, args.only, args.rehearse)
    publish(args, result, kernel_tables(result), plot_kernels)
    failed = failures(result)
    for line in failed:
        say(f"failed: {line}")
    return int(bool(failed))
