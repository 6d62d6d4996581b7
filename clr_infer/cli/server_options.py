"""The options of every command that can work on a server."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings import Settings

__all__ = ["TOKEN_VARIABLE", "add_server_options", "open_client", "open_served"]

TOKEN_VARIABLE = "CLR_INFER_TOKEN"
_TIMEOUT_S, _REFINING_S = 60.0, 600.0


def add_server_options(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add the options that choose a server."""
    parser.add_argument(
        "--url",
        metavar="URL",
        required=required,
        help="work on a server: grpc://host:8001, http://host:8000, grpcs:// or https://; "
        f"a bearer token is read from {TOKEN_VARIABLE}",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="seconds for each request to the server (default: 60; to refine 600)",
    )
    shared = parser.add_mutually_exclusive_group()
    shared.add_argument(
        "--shared-memory",
        action="store_true",
        help="pass pixels to the server through shared memory; it is on this host",
    )
    shared.add_argument(
        "--cuda-shared-memory", action="store_true", help="the same, in a GPU's memory"
    )
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="PEM file of the authority that signed the server's certificate",
    )
    parser.add_argument(
        "--tls-cert",
        type=Path,
        nargs=2,
        metavar=("CERT", "KEY"),
        help="PEM files of our own certificate and its key",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent with each request to the server",
    )


def open_client(args: argparse.Namespace, settings: Settings):  # noqa: ANN201
    """The client that the options ask for."""
    try:
        from ..client import Client
    except ImportError as error:
        raise UsageError(f'--url needs pip install "clr_infer[client]" ({error})') from error
    timeout_s = args.timeout
    if timeout_s is None:
        timeout_s = _REFINING_S if getattr(args, "refine", 0) else _TIMEOUT_S
    if not 0 < timeout_s < math.inf:
        raise UsageError(f"--timeout must be above 0 and finite, not {timeout_s:g}")
    return Client(
        args.url,
        timeout_s=timeout_s,
        shared_memory="cuda" if args.cuda_shared_memory else args.shared_memory,
        token=os.environ.get(TOKEN_VARIABLE),
        tls_ca=args.tls_ca,
        tls_cert=tuple(args.tls_cert) if args.tls_cert else None,
        headers=dict(map(_header, args.header)),
        settings=settings,
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header looks like 'NAME: VALUE', not {text!r}")
    return name.strip(), value.strip()


def open_served(args: argparse.Namespace, settings: Settings, networks_only: bool) -> Any:
    """A client, or a session whose networks are a server's.

    Raises:
        UsageError: options that choose what runs here.
    """
    if args.runtime != "auto" or args.threads is not None:
        raise UsageError("--url goes without --runtime and --threads: the server has its own")
    if not networks_only:
        if args.weights is not None:
            raise UsageError("--url goes without --weights: the server has its own")
        return open_client(args, settings)
    from ..client.runtime import ServedNetworks
    from ..session import Session
    from ..weights import Weights

    weights = Weights(args.weights)
    return Session(ServedNetworks(open_client(args, settings), weights), weights, settings)
