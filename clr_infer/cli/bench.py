"""``bench`` and its suites."""

import argparse

from .bench_gpu import add_gpu_suite
from .bench_kernels import add_kernels_command
from .bench_runtimes import add_runtimes_suite
from .bench_server import add_server_suite

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` with its suites."""
    text = "measure latency and throughput"
    suites = commands.add_parser("bench", help=text, description=text).add_subparsers(
        dest="suite", required=True, metavar="SUITE"
    )
    add_gpu_suite(suites)
    add_kernels_command(suites)
    add_runtimes_suite(suites)
    add_server_suite(suites)
