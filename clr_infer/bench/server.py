"""The server suite: what a server adds, what it holds, and what the alternatives do."""

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..client import AsyncClient
from ..env import describe_environment
from ..image_io import read_image
from ..samples import SAMPLE
from ..serving.embedded import EmbeddedServer, ServeOptions
from ..serving.profiles import chosen_profile
from ..session import load
from ..specs import SPECS
from . import perf_analyzer
from .facts import commit
from .load import closed_loop, fixed_rate, highest_rate, summary
from .peer import peer
from .usage import Usage

__all__ = ["Plan", "measure_slo", "run_suite"]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        calls: of ``locate``, ``protect`` and ``recover``.
        networks: of the network-level models.
        transports: of ``grpc`` and ``http``.
        shared_memory: without, with, or both.
        concurrency: requests under way in a closed loop.
        rates: requests a second at fixed rate; empty for none.
        seconds: of each measurement.
        width: of the picture.
        height: of the picture.
        with_peer: measure the FastAPI service as well.
        profile: that the server is started with.
    """

    calls: tuple[str, ...] = ("locate", "protect", "recover")
    networks: tuple[str, ...] = ("localize", "align")
    transports: tuple[str, ...] = ("grpc", "http")
    shared_memory: tuple[bool, ...] = (False, True)
    concurrency: tuple[int, ...] = (1, 2, 4, 8)
    rates: tuple[float, ...] = ()
    seconds: float = 5.0
    width: int = 640
    height: int = 480
    with_peer: bool = True
    profile: str = "throughput"


def run_suite(plan: Plan, command: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything on a server of our own; returns what goes into the result file.

    Raises:
        RuntimeUnavailable: a part that was asked for cannot run here.
        ServerError: the server does not start or does not answer.
    """
    content = _pictures(plan)
    profile = chosen_profile(plan.profile)
    options = ServeOptions(http_port=0, grpc_port=0, metrics_port=0, profile=profile)
    with _serving(options, say) as server:
        network = [row for name in plan.networks for row in _network_rows(name, plan, server, say)]
        served = _served_rows(plan, server, content, say)
    alone = _session_rows(plan, content, say)
    beside = _peer_rows(plan, content, say) if plan.with_peer else []
    return {
        "kind": "server",
        "commit": commit(),
        "command": command,
        "environment": describe_environment(),
        "plan": {name: getattr(plan, name) for name in Plan.__dataclass_fields__},
        "network_level": network,
        "image_level": served,
        "in_process": alone,
        "peer": beside,
        "goals": _goals(network, served, alone),
    }


@contextlib.contextmanager
def _serving(options: ServeOptions, say: Callable[[str], None]) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(options) as server:
        say("starting the server")
        server.start()
        yield server


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


def _network_rows(
    name: str, plan: Plan, server: EmbeddedServer, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A network in this process and through the server, one request at a time."""
    threads = chosen_profile(plan.profile).threads or None
    spec, runtime = SPECS[name], load("onnxruntime", threads=threads).runtime
    inputs = {t.name: np.zeros((1, *t.dims(runtime.size)), np.float32) for t in spec.inputs}
    room = max(4 * int(np.prod(t.dims(runtime.size))) for t in spec.outputs)

    def here() -> dict[str, float]:
        began = time.perf_counter()
        latencies_ms: list[float] = []
        while time.perf_counter() - began < plan.seconds or len(latencies_ms) < 3:
            sent = time.perf_counter()
            runtime.run(name, inputs)
            latencies_ms.append((time.perf_counter() - sent) * 1000.0)
        return summary(latencies_ms, time.perf_counter() - began)

    rows = []
    for transport in plan.transports:
        for shared in plan.shared_memory:
            say(f"{spec.model_name}, {transport}{', shared memory' if shared else ''}")
            before = here()
            found = perf_analyzer.measure(
                getattr(server, f"{transport}_url"),
                spec.model_name,
                shared_memory=shared,
                concurrency=1,
                seconds=plan.seconds,
                output_bytes=room,
            )
            alone_ms = min(before["p50_ms"], here()["p50_ms"])
            rows.append(
                {
                    "network": name,
                    "transport": transport,
                    "shared_memory": shared,
                    "tool": "perf_analyzer",
                    "batch": 1,
                    "concurrency": 1,
                    **found,
                    "in_process_p50_ms": alone_ms,
                    "overhead_p50_ms": round(found["p50_ms"] - alone_ms, 3),
                }
            )
    return rows


def _served_rows(
    plan: Plan, server: EmbeddedServer, content: dict[str, bytes], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    async def one(transport: str, shared: bool, call: str) -> list[dict[str, Any]]:
        url = getattr(server, f"{transport}_url")
        rows = []
        async with AsyncClient(url, shared_memory=shared, timeout_s=120.0) as client:
            image = read_image(content[call]).pixels if shared else content[call]
            method = getattr(client, call)
            loads: list[tuple[str, float, Any]] = [
                ("closed", count, lambda c=count: closed_loop(ask, c, plan.seconds))
                for count in plan.concurrency
            ]
            loads += [
                ("fixed rate", rate, lambda r=rate: fixed_rate(ask, r, plan.seconds))
                for rate in plan.rates
            ]

            async def ask() -> Any:
                return await method(image)

            for kind, value, run in loads:
                say(f"{call}, {transport}{', shared memory' if shared else ''}, {kind} {value:g}")
                before, usage = await client.stats(), Usage(server.pid)
                found = await run()
                rows.append(
                    {
                        "call": call,
                        "transport": transport,
                        "shared_memory": shared,
                        "loop": kind,
                        "concurrency" if kind == "closed" else "rate_per_s": value,
                        **found,
                        **usage.read(),
                        "server": _split(before, await client.stats()),
                    }
                )
        return rows

    return [
        row
        for call in plan.calls
        for transport in plan.transports
        for shared in plan.shared_memory
        for row in asyncio.run(one(transport, shared, call))
    ]


def _split(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Where each model's requests spent their time, in mean ms, and how they were batched."""
    found = {}
    for model, now in after.items():
        gone = {key: now[key] - before.get(model, {}).get(key, 0.0) for key in now}
        if gone["requests"]:
            found[model] = {
                "requests_per_execution": round(gone["requests"] / max(gone["executions"], 1), 2),
                "queue_ms": round(gone["queue_ms"] / gone["requests"], 3),
                "compute_ms": round(gone["compute_infer_ms"] / gone["requests"], 3),
            }
    return found


def _session_rows(
    plan: Plan, content: dict[str, bytes], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The same work in this process: threads in place of a server."""
    session = load("onnxruntime")

    async def measured(call: str, count: int) -> dict[str, Any]:
        method, loop = getattr(session, call), asyncio.get_running_loop()
        with ThreadPoolExecutor(count) as pool:

            async def ask() -> Any:
                return await loop.run_in_executor(
                    pool, lambda: method(read_image(content[call]).pixels)
                )

            return await closed_loop(ask, count, plan.seconds)

    rows = []
    for call in plan.calls:
        for count in plan.concurrency:
            say(f"{call}, in process, {count} threads")
            rows.append({"call": call, "concurrency": count, **asyncio.run(measured(call, count))})
    return rows


def _peer_rows(
    plan: Plan, content: dict[str, bytes], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    import aiohttp

    async def measured(url: str, call: str, count: int) -> dict[str, float]:
        async with aiohttp.ClientSession() as http:

            async def ask() -> bytes:
                async with http.post(f"{url}/{call}", data=content[call]) as answer:
                    answer.raise_for_status()
                    return await answer.read()

            return await closed_loop(ask, count, plan.seconds)

    rows = []
    with peer() as (url, pid):
        for call in plan.calls:
            for count in plan.concurrency:
                say(f"{call}, FastAPI, {count} under way")
                usage = Usage(pid)
                found = asyncio.run(measured(url, call, count))
                rows.append({"call": call, "concurrency": count, **found, **usage.read()})
    return rows


def _goals(
    network: Sequence[dict[str, Any]],
    served: Sequence[dict[str, Any]],
    alone: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What was aimed at, and what came of it."""
    overheads = [row["overhead_p50_ms"] for row in network if row["shared_memory"]]
    shares = {}
    for call in dict.fromkeys(row["call"] for row in alone):
        most = max(row["images_per_s"] for row in alone if row["call"] == call)
        best = max(row["images_per_s"] for row in served if row["call"] == call)
        shares[call] = round(best / most, 3)
    return {
        "network_overhead_p50_ms": {"goal": "< 1.5 with shared memory", "found": overheads},
        "throughput_of_in_process": {"goal": ">= 0.9 at full load", "found": shares},
    }


def measure_slo(
    plan: Plan, percentile: str, limit_ms: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """The highest rate at which the first call of a plan keeps a limit, see `highest_rate`."""
    content = _pictures(plan)[plan.calls[0]]
    profile = chosen_profile(plan.profile)
    options = ServeOptions(http_port=0, grpc_port=0, metrics_port=0, profile=profile)

    async def searched(url: str) -> dict[str, Any]:
        async with AsyncClient(url, timeout_s=60.0) as client:
            method = getattr(client, plan.calls[0])
            return await highest_rate(
                lambda: method(content), percentile, limit_ms, plan.seconds, say
            )

    with _serving(options, say) as server:
        found = asyncio.run(searched(getattr(server, f"{plan.transports[0]}_url")))
    return {"call": plan.calls[0], "slo": f"{percentile} <= {limit_ms:g} ms", **found}
