"""``serve`` and ``health``."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from ..errors import RuntimeUnavailable, ServerError, UsageError
from ..extras import require_installed
from ..image_io import image_size
from ..samples import SAMPLE
from ..settings import Settings
from .images import check_numbers, session_settings
from .repository import add_profile
from .server_options import add_server_options, open_client

__all__ = ["add_commands"]

_WATCH_S = 0.5


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that run a server or ask after one."""
    text = "serve on this machine alone, with the real Triton server; downloads it on first use"
    serve = commands.add_parser("serve", help=text, description=text)
    serve.set_defaults(run=_serve)
    serve.add_argument("--host", default="127.0.0.1", help="a loopback address")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        serve.add_argument(
            f"--{name}-port", type=int, default=port, metavar="PORT", help=f"default: {port}"
        )
    serve.add_argument("--weights", type=Path, metavar="DIR", help="weights other than our own")
    text = f"accept images of up to N pixels (default: {Settings.max_pixels:,})"
    serve.add_argument("--max-pixels", type=int, metavar="N", help=text)
    serve.add_argument(
        "--drain",
        type=float,
        default=30.0,
        metavar="S",
        help="for requests under way at the end (default: %(default)g)",
    )
    serve.add_argument(
        "--golden-interval",
        type=float,
        default=60.0,
        metavar="S",
        help="between golden inferences; 0 for none (default: 60)",
    )
    serve.add_argument(
        "--golden-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="of each of their calls (default: 60)",
    )
    serve.add_argument("--verbose", action="store_true", help="show the server's own log")
    add_profile(serve)

    text = "ask a server for a golden inference; exit code 0 if it does its job, else 4"
    health = commands.add_parser("health", help=text, description=text)
    health.set_defaults(run=_health)
    add_server_options(health, required=True)
    health.add_argument("--json", action="store_true")


def _serve(args: argparse.Namespace) -> int:
    try:
        import tritonclient.grpc  # noqa: F401 - whether it is there

        from ..serving.embedded import EmbeddedServer, ServeOptions
    except ImportError as error:
        message = f'serving needs pip install "clr_infer[serve]" ({error})'
        raise RuntimeUnavailable(message) from error
    from ..runtimes import open_runtime
    from ..serving.profiles import chosen_profile
    from ..weights import Weights

    check_numbers(args)
    if args.golden_timeout == 0:
        raise UsageError("--golden-timeout must be above 0")
    width, height = image_size(SAMPLE.read_bytes())
    if args.max_pixels is not None and args.max_pixels < width * height:
        raise UsageError(
            f"--max-pixels must be at least {width * height}: the server proves itself with a "
            f"picture of {width}x{height}"
        )
    weights = Weights(args.weights)
    if args.cpu_runtime != "onnxruntime":
        open_runtime(args.cpu_runtime, weights).close()  # or say what to install, at once
    if args.refining:
        require_installed("torch", "refining", "export")
    options = ServeOptions(
        host=args.host,
        http_port=args.http_port,
        grpc_port=args.grpc_port,
        metrics_port=args.metrics_port,
        weights=weights,
        profile=chosen_profile(args.profile, args.instances, args.cpu_runtime, args.refining),
        settings=session_settings(args),
        drain_s=args.drain,
        golden_s=args.golden_interval,
        golden_timeout_s=args.golden_timeout,
        verbose=args.verbose,
    )
    started, stopping = threading.Event(), threading.Event()

    server = EmbeddedServer(options)

    def end(*_: object) -> None:
        if not started.is_set():
            raise KeyboardInterrupt
        stopping.set()
        server.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        timings_ms = server.start()
        started.set()
        _announce(server, timings_ms)
        while not stopping.wait(_WATCH_S):
            for event in server.watch():
                print(event, file=sys.stderr, flush=True)
        print("finishing what is under way", file=sys.stderr, flush=True)
    finally:
        started.set()  # nothing interrupts what cleans up
        gentle = server.stop()
    return 0 if gentle else ServerError.exit_code


def _announce(server, timings_ms: dict[str, float]) -> None:  # noqa: ANN001
    golden = ", ".join(f"{name} {value:.0f} ms" for name, value in timings_ms.items())
    print(
        f"ready; golden inference: {golden}\n"
        f"  http     {server.http_url}\n"
        f"  grpc     {server.grpc_url}\n"
        f"  metrics  {server.metrics_url}\n"
        f"try: clr-infer protect photo.jpg -o protected.png --url {server.grpc_url}",
        flush=True,
    )


def _health(args: argparse.Namespace) -> int:
    from ..serving import golden

    with open_client(args, Settings()) as client:
        timings_ms = golden.check(client)
        facts = {"healthy": True, "timings_ms": timings_ms, **client.health()}
    if args.json:
        print(json.dumps(facts))
    else:
        steps = ", ".join(f"{name} {value:.0f} ms" for name, value in timings_ms.items())
        print(f"healthy: {steps}")
    return 0
