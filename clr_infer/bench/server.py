"""The server suite: what a server adds, what it holds, and what the alternatives do."""

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..client import AsyncClient
from ..samples import SAMPLE
from ..serving.embedded import EmbeddedServer, ServeOptions
from ..serving.profiles import chosen_profile
from ..session import load
from .contestants import in_process, peer_service, server
from .facts import facts
from .load import highest_rate
from .peer import peer
from .server_images import image_rows
from .server_networks import network_rows

__all__ = ["GOALS", "Plan", "measure_slo", "run_suite"]

GOALS = {"network_overhead_p50_ms": 1.5, "throughput_of_in_process": 0.9}
"""At most, with shared memory; at least, at full load."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        calls: of ``locate``, ``protect`` and ``recover``.
        networks: of the network-level models.
        batches: images in a request to them.
        transports: of ``grpc`` and ``http``.
        shared_memory: without, with, or both.
        concurrency: requests under way in a closed loop.
        rates: requests a second at random moments; empty takes 70 % of full load.
        rounds: of everything.
        seconds: of each measurement in a round.
        width: of the picture.
        height: of the picture.
        with_peer: measure the FastAPI service as well.
        profile: that the server is started with.
        urls: of a server that is there already, one for each transport; empty starts our own.
    """

    calls: tuple[str, ...] = ("locate", "protect", "recover")
    networks: tuple[str, ...] = ("localize", "align")
    batches: tuple[int, ...] = (1,)
    transports: tuple[str, ...] = ("grpc", "http")
    shared_memory: tuple[bool, ...] = (False, True)
    concurrency: tuple[int, ...] = (1, 4, 8)
    rates: tuple[float, ...] = ()
    rounds: int = 2
    seconds: float = 2.5
    width: int = 640
    height: int = 480
    with_peer: bool = True
    profile: str = "throughput"
    urls: tuple[str, ...] = ()


def run_suite(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything; returns what goes into the result file.

    Raises:
        RuntimeUnavailable: a part that was asked for cannot run here.
        ServerError: the server does not start or does not answer.
    """
    content = _pictures(plan)
    threads = chosen_profile(plan.profile).threads
    ways = [(t, shared) for t in plan.transports for shared in plan.shared_memory]
    # In process there is no profile to choose: both ways of using the cores are tried.
    sessions = {count: load("onnxruntime", threads=count or None) for count in {0, threads}}
    with contextlib.ExitStack() as stack:
        urls, server_pid = stack.enter_context(_serving(plan, say))
        networks = network_rows(
            sessions[threads].runtime,
            plan.networks,
            plan.batches,
            ways,
            urls,
            plan.rounds,
            min(plan.seconds, 1.5),
            say,
        )
        most = max(plan.concurrency)
        contestants = [in_process(one, n, content, most) for n, one in sessions.items()]
        for transport, shared in ways:
            contestants.append(server(urls[transport], server_pid, shared, threads, content))
        if plan.with_peer:
            url, pid = stack.enter_context(peer(threads or None))
            contestants.append(peer_service(url, pid, threads, content))
        images = image_rows(
            contestants, plan.calls, plan.concurrency, plan.rates, plan.rounds, plan.seconds, say
        )
    return {
        **facts("server"),
        "plan": {name: getattr(plan, name) for name in Plan.__dataclass_fields__},
        "network_level": networks,
        "image_level": images,
        "goals": _goals(networks, images),
    }


@contextlib.contextmanager
def _serving(plan: Plan, say: Callable[[str], None]) -> Iterator[tuple[dict[str, str], int | None]]:
    """The server's addresses by transport, and its process if it is ours."""
    if plan.urls:
        yield {url.partition(":")[0]: url for url in plan.urls}, None
        return
    profile = chosen_profile(plan.profile)
    options = ServeOptions(http_port=0, grpc_port=0, metrics_port=0, profile=profile, golden_s=0)
    with EmbeddedServer(options) as started:
        say("starting the server")
        started.start()
        yield {"grpc": started.grpc_url, "http": started.http_url}, started.pid


def _pictures(plan: Plan) -> dict[str, bytes]:
    """What each call is given, as JPEG: a photograph, or a fragment of a protected one."""
    photo = Image.open(SAMPLE).convert("RGB").resize((plan.width, plan.height))
    protected = Image.fromarray(load("onnxruntime").protect(photo).image)
    left, top = plan.width // 10, plan.height // 10
    fragment = protected.crop((left, top, plan.width, plan.height))
    fragment = fragment.resize((plan.width, plan.height))
    return {"protect": _jpeg(photo), "locate": _jpeg(fragment), "recover": _jpeg(fragment)}


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _goals(
    networks: Sequence[dict[str, Any]], images: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What was aimed at, what came of it, and whether that is enough."""
    most, least = GOALS["network_overhead_p50_ms"], GOALS["throughput_of_in_process"]
    overheads = {
        f"{row['network']}, {row['transport']}": row["overhead_p50_ms"]
        for row in networks
        if row["shared_memory"] and row["batch"] == 1
    }
    shares = {}
    for call in dict.fromkeys(row["call"] for row in images):
        here, there = (
            max(
                row["images_per_s"]
                for row in images
                if (row["call"], row["contestant"], row["loop"]) == (call, name, "closed")
            )
            for name in ("session", "server")
        )
        shares[call] = round(there / here, 3)
    return {
        "network_overhead_p50_ms": {
            "goal": f"< {most:g} with shared memory",
            "found": overheads,
            "met": all(value < most for value in overheads.values()),
        },
        "throughput_of_in_process": {
            "goal": f">= {least:g} at full load",
            "found": shares,
            "met": all(value >= least for value in shares.values()),
        },
    }


def measure_slo(
    plan: Plan, percentile: str, limit_ms: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """The highest rate at which the first call of a plan keeps a limit, see `highest_rate`."""
    content = _pictures(plan)[plan.calls[0]]
    seconds = plan.rounds * plan.seconds

    async def searched(url: str) -> dict[str, Any]:
        async with AsyncClient(url, timeout_s=60.0) as client:
            method = getattr(client, plan.calls[0])
            return await highest_rate(lambda: method(content), percentile, limit_ms, seconds, say)

    with _serving(plan, say) as (urls, _):
        found = asyncio.run(searched(urls[plan.transports[0]]))
    return {"call": plan.calls[0], "slo": f"{percentile} <= {limit_ms:g} ms", **found}
