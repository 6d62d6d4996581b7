"""``export repository``."""

import argparse
import sys
from pathlib import Path

__all__ = ["add_profile", "add_repository_command"]


def add_repository_command(kinds: argparse._SubParsersAction) -> None:
    """Add it to the kinds of ``export``."""
    text = "write a model repository for Triton server"
    parser = kinds.add_parser("repository", help=text, description=text)
    parser.set_defaults(run=_repository)
    parser.add_argument(
        "--target",
        choices=("python", "onnxruntime", "tensorrt"),
        required=True,
        help="what runs the networks: python runs everywhere, the others in NVIDIA's container",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights other than our own")
    parser.add_argument(
        "--engines", type=Path, metavar="DIR", help="for tensorrt: a folder of NAME.plan"
    )
    parser.add_argument("--configs-only", action="store_true", help="no weights, no engines")
    parser.add_argument("--force", action="store_true", help="replace an earlier repository")
    add_profile(parser)


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add what tunes a repository."""
    parser.add_argument(
        "--profile",
        choices=("latency", "throughput"),
        default="latency",
        help="latency: all cores on one image, no waiting for batches; throughput: more instances",
    )
    parser.add_argument(
        "--instances", type=int, metavar="N", help="of each network (default: by profile)"
    )
    parser.add_argument(
        "--cpu-runtime",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="of the networks in Python; openvino takes the int8 graphs, which is faster",
    )
    parser.add_argument(
        "--refine",
        dest="refining",
        action="store_true",
        help="also serve clr_refine, for clients that protect with --refine: one image at a time, "
        "in half a second a step on a CPU core; needs PyTorch where the server runs",
    )


def _repository(args: argparse.Namespace) -> int:
    from ..serving.profiles import chosen_profile
    from ..serving.repository import write_repository
    from ..weights import Weights

    write_repository(
        args.output,
        args.target,
        Weights(args.weights),
        profile=chosen_profile(args.profile, args.instances, args.cpu_runtime, args.refining),
        engines=args.engines,
        with_weights=not args.configs_only,
        force=args.force,
    )
    print(f"a model repository for target {args.target} is in {args.output}", file=sys.stderr)
    return 0
