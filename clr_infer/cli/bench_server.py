"""``bench server``."""

import argparse
import json
import re
import sys
from typing import Any

from ..errors import ImageError, RuntimeUnavailable, UsageError
from ..image_checks import check_size
from ..settings import DEFAULT_SETTINGS
from ..specs import SPECS
from .measured import add_files, check_files, publish

__all__ = ["add_server_suite"]


def add_server_suite(suites: argparse._SubParsersAction) -> None:
    """Add the server suite to those of ``bench``."""
    text = "measure a server beside the session and a plain FastAPI service"
    parser = suites.add_parser("server", help=text, description=text)
    parser.set_defaults(run=_bench)
    add_files(parser, "draw latency over throughput")
    parser.add_argument("--quick", action="store_true", help="one short measurement of each kind")
    parser.add_argument("--calls", type=_words, metavar="A,B", help="locate,protect,recover")
    parser.add_argument("--networks", type=_words, metavar="A,B", help="localize,align and others")
    parser.add_argument("--batches", type=_counts, metavar="N,N", help="of networks (default: 1)")
    parser.add_argument("--transports", type=_words, metavar="A,B", help="grpc,http")
    parser.add_argument("--concurrency", type=_counts, metavar="N,N", help="default: 1,4,8")
    parser.add_argument(
        "--rates", type=_rates, metavar="R,R", help="requests/s at random moments (default: 70 %%)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of all in turns (default: 2)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each (default: 2.5)")
    parser.add_argument("--size", metavar="WxH", help="of the picture (default: 640x480)")
    parser.add_argument(
        "--profile", choices=("latency", "throughput"), help="of our server (default: throughput)"
    )
    parser.add_argument(
        "--url",
        type=_words,
        metavar="URL,URL",
        help="a server that is there, of any target, in place of our own: grpc://,http://",
    )
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


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _rates(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split(","))


def _plan(args: argparse.Namespace):  # noqa: ANN202 - the type belongs to a lazy import
    from ..bench.server import Plan

    values: dict[str, Any] = {}
    if args.quick:
        values = {"calls": ("locate",), "networks": ("localize",), "transports": ("grpc",)}
        values.update(concurrency=(1, 4), rounds=1, seconds=0.5, shared_memory=(True,))
    for name in (
        *("calls", "networks", "batches", "transports", "concurrency", "rates", "rounds"),
        *("seconds", "profile"),
    ):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    if args.url:
        schemes = tuple(url.partition(":")[0] for url in args.url)
        values.update(urls=args.url, transports=values.get("transports", schemes))
        if not set(values["transports"]) <= set(schemes):
            raise UsageError(f"--url has no address for {', '.join(values['transports'])}")
    for name in ("batches", "concurrency", "rates", "rounds", "seconds"):
        given = values.get(name, 1)
        if min(given if isinstance(given, tuple) else (given,), default=1) <= 0:
            raise UsageError(f"--{name} must be above 0")
    for name, known in (
        ("calls", {"locate", "protect", "recover"}),
        ("transports", {"grpc", "http"}),
        ("networks", set(SPECS)),
    ):
        unknown = set(values.get(name, ())) - known
        if unknown:
            raise UsageError(f"--{name} takes {', '.join(sorted(known))}, not {unknown.pop()}")
    if args.size:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", args.size)
        if not found:
            raise UsageError(f"--size looks like 640x480, not {args.size}")
        values["width"], values["height"] = int(found[1]), int(found[2])
        try:
            check_size(values["width"], values["height"], DEFAULT_SETTINGS)
        except ImageError as error:
            raise UsageError(f"--size: {error}") from error
    return Plan(**values, with_peer=not args.no_peer)


def _bench(args: argparse.Namespace) -> int:
    try:
        import tritonclient.grpc  # noqa: F401 - else the server would be started first

        from ..bench.plots import plot_server
        from ..bench.server import run_suite

        if not args.no_peer:
            import fastapi  # noqa: F401
            import uvicorn  # noqa: F401
    except ImportError as error:
        message = f'this needs pip install "clr_infer[bench]" ({error})'
        raise RuntimeUnavailable(message) from error

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    plan = _plan(args)
    if args.slo:
        return _slo(args, plan, say)
    check_files(args)
    result = run_suite(plan, say)
    publish(args, result, _short(result), plot_server)
    return 0


def _short(result: dict[str, Any]) -> str:
    """What was measured, a line each, and the goals at the end."""
    lines = []
    for row in result["network_level"]:
        way = f"{row['transport']}{', shared memory' if row['shared_memory'] else ''}"
        lines.append(
            f"{row['network']:9} {way:20} batch {row['batch']}: p50 {row['p50_ms']:.2f} ms, "
            f"in process {row['in_process_p50_ms']:.2f}: {row['overhead_p50_ms']:+.2f}"
        )
    header = ("contestant", "way", "cores", "load", "p50 ms", "p99 ms", "images/s", "CPU ms")
    columns = "{:9} {:11} {:20} {:>5} {:>10} {:>8} {:>8} {:>8} {:>7}"
    lines.append(columns.format("call", *header))
    for row in result["image_level"]:
        way = f"{row['transport'] or '-'}{', shared memory' if row['shared_memory'] else ''}"
        load = f"{row['concurrency']}" if row["loop"] == "closed" else f"{row['offered_per_s']}/s"
        lines.append(
            columns.format(
                row["call"],
                row["contestant"],
                way,
                row["threads"] or "all",
                load,
                *(round(row.get(key, 0.0), 1) for key in ("p50_ms", "p99_ms", "images_per_s")),
                row["cpu_ms_per_image"],
            )
        )
    for name, goal in result["goals"].items():
        met = "met" if goal["met"] else "MISSED"
        lines.append(f"{name} {goal['goal']}: {met}; {goal['found']}")
    return "\n".join(lines)


def _slo(args: argparse.Namespace, plan: Any, say: Any) -> int:
    from ..bench.server import measure_slo

    found = re.fullmatch(r"(p50|p95|p99)=(\d+(?:\.\d+)?)ms", args.slo)
    if not found:
        raise UsageError(f"--slo looks like p99=50ms, not {args.slo}")
    result = measure_slo(plan, found[1], float(found[2]), say)
    print(json.dumps(result, indent=1))
    return 0 if result["rate_per_s"] > 0 and result["rate_per_s"] >= args.min_rate else 1
