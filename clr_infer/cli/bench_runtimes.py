"""``bench runtimes``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable, UsageError
from ..extras import load_extra
from .measured import add_files, check_files, publish

__all__ = ["add_runtimes_suite"]


def add_runtimes_suite(suites: argparse._SubParsersAction) -> None:
    """Add the runtimes suite to those of ``bench``."""
    text = "measure every runtime and precision that works here beside PyTorch, eagerly run"
    parser = suites.add_parser("runtimes", help=text, description=text)
    parser.set_defaults(run=_bench)
    add_files(parser, "draw throughput over batch size")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="exported precisions, or engines, as well"
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="RUNTIME", help="beside the peer")
    parser.add_argument("--batch", type=int, nargs="+", metavar="N", help="default: 1 4 8 16 32")
    parser.add_argument("--rounds", type=int, metavar="N", help="at batch 1 (default: 15)")
    parser.add_argument("--quick", action="store_true", help="batch 1, few rounds, small picture")


def _plan(args: argparse.Namespace) -> Any:
    from ..bench.runtimes import Plan

    values: dict[str, Any] = {}
    if args.quick:
        values = {"batches": (1,), "rounds": 3, "width": 1200, "height": 900, "picture_rounds": 1}
    if min(args.batch or [1]) < 1 or (args.rounds is not None and args.rounds < 1):
        raise UsageError("--batch and --rounds must be at least 1")
    if args.batch:
        values["batches"] = tuple(sorted(set(args.batch)))
    if args.rounds:
        values["rounds"] = args.rounds
    return Plan(**values)


def _bench(args: argparse.Namespace) -> int:
    try:
        from ..bench.runtimes import candidates, run_suite
        from ..bench.runtimes_plot import plot_runtimes
    except ImportError as error:
        message = f'this needs pip install "clr_infer[bench]" ({error})'
        raise RuntimeUnavailable(message) from error

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    check_files(args)
    load_extra("torch", "the peer, PyTorch eagerly run,", "bench")
    plan = _plan(args)
    found, reasons = candidates(args.models, args.only)
    result = run_suite(plan, found, reasons, say)
    publish(args, result, _short(result), plot_runtimes)
    return 0


def _short(result: dict[str, Any]) -> str:
    """The medians at batch 1 and the best throughput, a line for each runtime and network."""
    lines = [f"{'network':10} {'runtime':32} {'batch 1, ms':>12} {'images/s':>9} {'at batch':>9}"]
    for network in dict.fromkeys(row["network"] for row in result["rows"]):
        for one in result["runtimes"]:
            same = {"runtime": one["runtime"], "precision": one["precision"], "network": network}
            rows = [row for row in result["rows"] if same.items() <= row.items()]
            best = max(rows, key=lambda row: row["images_per_s"])
            label = f"{one['runtime']}, {one['precision']}"
            lines.append(
                f"{network:10} {label:32} {rows[0]['p50_ms']:12.1f} "
                f"{best['images_per_s']:9.1f} {best['batch']:9}"
            )
    for row in result["end_to_end"]:
        lines.append(
            f"{row['call']} of {row['width']}x{row['height']}, PNG to PNG, {row['runtime']}: "
            f"{row['p50_ms']:.0f} ms, {row['of_png']:.2f} times reading and writing it"
        )
    for name, goal in result["goals"].items():
        lines.append(f"{name} {goal['goal']}: {goal['found']}")
    return "\n".join(lines)
