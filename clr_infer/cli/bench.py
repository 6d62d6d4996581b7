"""``bench``, and its suite ``server``."""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from ..errors import RuntimeUnavailable, UsageError
from .bench_runtimes import add_runtimes_suite

__all__ = ["add_commands", "add_server_suite"]


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` with its suites."""
    text = "measure latency and throughput"
    suites = commands.add_parser("bench", help=text, description=text).add_subparsers(
        dest="suite", required=True, metavar="SUITE"
    )
    add_server_suite(suites)
    add_runtimes_suite(suites)


def add_server_suite(suites: argparse._SubParsersAction) -> None:
    """Add the server suite to those of ``bench``."""
    text = "measure the embedded server beside the session and a plain FastAPI service"
    parser = suites.add_parser("server", help=text, description=text)
    parser.set_defaults(run=_bench)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw latency over throughput")
    parser.add_argument("--quick", action="store_true", help="one short measurement of each kind")
    parser.add_argument("--calls", type=_words, metavar="A,B", help="locate,protect,recover")
    parser.add_argument("--transports", type=_words, metavar="A,B", help="grpc,http")
    parser.add_argument("--concurrency", type=_numbers, metavar="N,N", help="default: 1,2,4,8")
    parser.add_argument("--rates", type=_numbers, metavar="R,R", help="requests/s, also at random")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each (default: 5)")
    parser.add_argument("--size", metavar="WxH", help="of the picture (default: 640x480)")
    parser.add_argument("--profile", choices=("latency", "throughput"))
    parser.add_argument("--no-peer", action="store_true", help="leave FastAPI out")
    parser.add_argument(
        "--slo",
        metavar="p99=50ms",
        help="instead: the highest rate at which the first of --calls stays below; exits with 1 "
        "if none does, or none of --min-rate",
    )
    parser.add_argument("--min-rate", type=float, default=0.0, metavar="R", help="for --slo")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _plan(args: argparse.Namespace):  # noqa: ANN202 - the type belongs to a lazy import
    from ..bench.server import Plan

    values: dict[str, Any] = {}
    if args.quick:
        values = {"calls": ("locate",), "networks": ("localize",), "transports": ("grpc",)}
        values.update(concurrency=(1, 4), seconds=0.5, shared_memory=(True,))
    for name in ("calls", "transports", "concurrency", "rates", "seconds", "profile"):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    for name, known in (
        ("calls", {"locate", "protect", "recover"}),
        ("transports", {"grpc", "http"}),
    ):
        unknown = set(values.get(name, ())) - known
        if unknown:
            raise UsageError(f"--{name} takes {', '.join(sorted(known))}, not {unknown.pop()}")
    if args.size:
        found = re.fullmatch(r"(\d+)x(\d+)", args.size)
        if not found:
            raise UsageError(f"--size looks like 640x480, not {args.size}")
        values["width"], values["height"] = int(found[1]), int(found[2])
    return Plan(**values, with_peer=not args.no_peer)


def _bench(args: argparse.Namespace) -> int:
    try:
        from ..bench.plots import plot_server
        from ..bench.server import run_suite
    except ImportError as error:
        message = f'this needs pip install "clr_infer[bench]" ({error})'
        raise RuntimeUnavailable(message) from error

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    plan = _plan(args)
    if args.slo:
        return _slo(args, plan, say)
    result = run_suite(plan, shlex.join(["clr-infer", *sys.argv[1:]]), say)
    text = json.dumps(result, indent=1) + "\n"
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, "utf-8")
        say(f"written to {args.output}")
    if args.plot:
        plot_server(result, args.plot)
    print(json.dumps(result["goals"], indent=1) if args.output else text)
    return 0


def _slo(args: argparse.Namespace, plan: Any, say: Any) -> int:
    from ..bench.server import measure_slo

    found = re.fullmatch(r"(p50|p95|p99)=(\d+(?:\.\d+)?)ms", args.slo)
    if not found:
        raise UsageError(f"--slo looks like p99=50ms, not {args.slo}")
    result = measure_slo(plan, found[1], float(found[2]), say)
    print(json.dumps(result, indent=1))
    return 0 if result["rate_per_s"] > 0 and result["rate_per_s"] >= args.min_rate else 1
