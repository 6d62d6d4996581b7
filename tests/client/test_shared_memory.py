"""Calls through shared memory: their time, and what becomes of the regions."""

import asyncio
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from clr_infer.client import AsyncClient, Retry
from clr_infer.errors import (
    DeadlineExceeded,
    ImageError,
    ModelNotServed,
    RequestRefused,
    ServerError,
    ServerUnavailable,
)

PIXELS = np.zeros((40, 50, 3), np.uint8)
RESULT = np.frombuffer(json.dumps({"psnr_db": 40.0, "timings_ms": {}}).encode(), np.uint8)


class Fake:
    """A server that takes its time: seconds by the first word of a method; raises what it is told.

    Whether a request came with regions, and the regions that are known, are kept.
    """

    def __init__(self, error: Exception | None = None, **pauses_s: float) -> None:
        self.error, self.pauses_s = error, pauses_s
        self.with_regions: list[bool] = []
        self.known: list[str] = []
        self.forgotten: list[str] = []
        self.refuses = False

    async def _pause(self, word, timeout_s):
        try:
            await asyncio.wait_for(asyncio.sleep(self.pauses_s.get(word, 0.0)), timeout_s)
        except TimeoutError as error:
            raise DeadlineExceeded("late") from error

    async def infer(self, call, timeout_s, lease):
        self.with_regions.append(lease is not None)
        rooms = {}
        if lease is not None:
            lease.place(call.inputs)
            rooms = lease.rooms(call.output_bytes)
        await self._pause("infer", timeout_s)
        if lease is not None and self.error is not None:
            raise self.error
        if rooms:
            pixels = lease.fetch(rooms["pixels"], PIXELS.dtype, PIXELS.shape)
            return {"pixels": pixels, "result": RESULT}
        return {"pixels": PIXELS, "result": RESULT}

    async def ask(self, method, timeout_s, *, name, **arguments):
        word = method.split("_")[0]
        await self._pause(word, timeout_s)
        if word == "register":
            if self.refuses:
                raise RequestRefused("shared memory is switched off")
            self.known.append(name)
        else:
            self.forgotten.append(name)

    async def close(self):
        pass


def _files():
    return {path.name for path in Path("/dev/shm").glob(f"clr_infer_{os.getpid()}_*")}


@pytest.fixture
def run(monkeypatch):
    """Runs work with a client on a fake; afterwards no region is left and nothing went wrong."""

    def with_client(fake, work, **options):
        unhandled = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: unhandled.append(context))
            async with AsyncClient("grpc://localhost:1", shared_memory=True, **options) as client:
                return await work(client)

        monkeypatch.setattr("clr_infer.client.asynchronous.open_transport", lambda *_, **__: fake)
        before = _files()
        try:
            return asyncio.run(main())
        finally:
            assert _files() == before
            assert not unhandled
            assert len(fake.forgotten) == len(set(fake.forgotten))

    return with_client


async def _protect(client):
    began = time.monotonic()
    try:
        await client.protect(PIXELS)
    finally:
        client.took_s = time.monotonic() - began


@pytest.mark.parametrize(
    "pauses_s",
    [
        {"infer": 60.0, "unregister": 60.0},
        {"register": 60.0, "unregister": 60.0},
        {"register": 0.25, "infer": 60.0},  # twice
        {"register": 0.15, "infer": 0.35},  # twice: all of it together is too late
    ],
)
def test_a_call_has_its_time_whatever_the_server_does_with_regions(run, pauses_s):
    async def work(client):
        with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
            await _protect(client)
        return client.took_s

    began = time.monotonic()
    assert 0.4 < run(Fake(**pauses_s), work, timeout_s=0.5) < 1.3
    assert time.monotonic() - began < 4.0  # closing, too


def test_a_call_without_regions_has_what_is_left(run):
    async def work(client):
        with pytest.raises(DeadlineExceeded):
            await _protect(client)
        return client.took_s

    fake = Fake(RequestRefused("no shared memory region"), infer=0.3)
    assert run(fake, work, timeout_s=0.5) < 1.3
    assert fake.with_regions == [True, False]


def test_regions_that_are_still_in_use_are_forgotten_later(run):
    """The server goes on with a call that was given up, and lets its regions go after that."""

    class Busy(Fake):
        until = time.monotonic() + 1.0

        async def ask(self, method, timeout_s, *, name, **arguments):
            if method.startswith("unregister") and time.monotonic() < self.until:
                raise ServerError(f"Cannot unregister region '{name}', it is currently in use.")
            await super().ask(method, timeout_s, name=name, **arguments)

    fake = Busy(infer=60.0)

    async def work(client):
        with pytest.raises(DeadlineExceeded):
            await _protect(client)
        assert not fake.forgotten and not client._shared._all
        await asyncio.sleep(1.3)
        assert sorted(fake.forgotten) == sorted(fake.known) and fake.known

    run(fake, work, timeout_s=0.2)


def test_a_region_that_is_registered_after_all_is_forgotten(run):
    """The server does what it was asked, though nobody waits for it any more."""

    class Late(Fake):
        async def ask(self, method, timeout_s, *, name, **arguments):
            if method.startswith("register"):
                asyncio.get_running_loop().call_later(0.4, self.known.append, name)
                await self._pause("register", timeout_s)
            elif name in self.known:
                self.forgotten.append(name)

    fake = Late(register=60.0)

    async def work(client):
        with pytest.raises(DeadlineExceeded):
            await _protect(client)
        until = time.monotonic() + 10.0
        while not fake.forgotten and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert fake.forgotten == fake.known

    run(fake, work, timeout_s=0.2)


@pytest.mark.parametrize("word", ["register", "infer"])
def test_a_cancelled_call_ends_at_once(run, word):
    async def work(client):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.protect(PIXELS), 0.2)
        assert not client._shared._all
        return time.monotonic() - began

    assert run(Fake(**{word: 60.0}, unregister=1.5), work) < 1.2


def test_regions_that_the_server_forgot_are_replaced_by_none_and_then_by_new_ones(run):
    fake = Fake(RequestRefused("Unable to find shared memory region"))

    async def work(client):
        for _ in range(3):
            await client.protect(PIXELS)
            assert not client._shared._all
        fake.error = None
        await client.protect(PIXELS)
        await client.protect(PIXELS)
        assert len(client._shared._all) == 1

    run(fake, work)
    assert fake.with_regions == [True, False] * 3 + [True] * 2
    assert len(fake.known) == 8 and sorted(fake.forgotten) == sorted(fake.known)


def test_regions_that_are_refused_afterwards_are_gone(run):
    fake = Fake(RequestRefused("Unable to find shared memory region"))

    async def work(client):
        await client.protect(PIXELS)
        fake.refuses = True
        for _ in range(3):
            with pytest.raises(RequestRefused, match="switched off"):
                await client.protect(PIXELS)
        assert not client._shared._all and not client._shared._free

    run(fake, work)


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ImageError("too small"), 1),
        (ModelNotServed("none"), 1),
        (ServerUnavailable("gone"), 0),
        (ServerError("what?"), 0),
        (RuntimeError("a bug"), 0),
    ],
)
def test_regions_are_kept_after_an_answer_only(run, error, kept):
    async def work(client):
        with pytest.raises(type(error)):
            await client.protect(PIXELS)
        assert len(client._shared._all) == len(client._shared._free) == kept

    run(Fake(error), work, retry=Retry(budget=0))


@pytest.mark.parametrize("word", ["register", "infer"])
def test_a_call_under_way_ends_with_the_client(run, word):
    async def work(client):
        calls = [asyncio.create_task(client.protect(PIXELS)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await client.close()
        for call in calls:
            with pytest.raises(ServerError, match="closed"):
                await call
        with pytest.raises(ServerError, match="closed"):
            await client.protect(PIXELS)

    run(Fake(**{word: 0.3}), work)


def test_cancelling_and_closing_do_not_meet(run):
    async def work(client):
        call = asyncio.create_task(client.protect(PIXELS))
        await asyncio.sleep(0.05)
        call.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(Fake(infer=0.3, unregister=0.1), work)


def test_a_batch_that_fails_ends_its_calls_before_the_client(run):
    class First(Fake):
        async def infer(self, call, timeout_s, lease):
            if not self.with_regions:
                self.with_regions.append(True)
                await asyncio.sleep(0.02)
                raise ModelNotServed("gone")
            return await super().infer(call, timeout_s, lease)

    async def work(client):
        with pytest.raises(ModelNotServed, match="gone"):
            await client.protect_batch([PIXELS] * 4)
        assert len(client._shared._all) <= 1  # that of the answer
        await client.close()

    fake = First(infer=30.0, unregister=0.02)
    run(fake, work)
    assert sorted(fake.forgotten) == sorted(fake.known)
