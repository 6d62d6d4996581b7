"""Streams of the client for ordinary code, and what it does after a fork and at exit."""

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from clr_infer.client import AsyncClient, Client
from clr_infer.errors import ImageError, InputError, ServerError

PIXELS = np.zeros((40, 50, 3), np.uint8)
FACTS = {"psnr_db": 40.0, "timings_ms": {}, "located": {"protected": False, "confidence": 0.25}}
FACTS["located"]["timings_ms"] = {}


class Fake:
    """Answers everything after a pause; counts what was sent and what is under way."""

    def __init__(self, pause_s: float = 0.001) -> None:
        self.pause_s, self.sent, self.under_way, self.cancelled = pause_s, 0, 0, 0

    async def infer(self, call, timeout_s, lease):
        self.sent += 1
        self.under_way += 1
        try:
            await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # as what takes its time to end
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        result = np.frombuffer(json.dumps(FACTS).encode(), np.uint8)
        return {"pixels": call.inputs["pixels"], "result": result}

    async def ask(self, method, timeout_s, **arguments):
        return True

    async def close(self):
        pass


@pytest.fixture
def opened(monkeypatch):
    """Opens clients, each on the fake that it is given."""
    clients = []

    def open_on(fake: Fake, kind=Client):
        monkeypatch.setattr("clr_infer.client.asynchronous.open_transport", lambda *_, **__: fake)
        clients.append(kind("grpc://localhost:1"))
        return clients[-1]

    yield open_on
    for client in clients:
        if isinstance(client, Client):
            client.close()


def _within(seconds, work):
    """Do it in a thread, so that a deadlock fails the test and not the run."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, f"no result within {seconds} s"
    return results[0]


def test_a_call_that_is_interrupted_is_given_up(opened):
    def interrupt(*_):
        raise KeyboardInterrupt

    fake = Fake(pause_s=60.0)
    client = opened(fake)
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            client.locate(PIXELS)
    finally:
        signal.signal(signal.SIGALRM, previous)
    until = time.monotonic() + 5.0
    while fake.under_way and time.monotonic() < until:
        time.sleep(0.01)
    assert (fake.sent, fake.cancelled, fake.under_way) == (1, 1, 0)


def test_a_stream_can_be_fed_by_another(opened):
    client = opened(Fake())
    protected = (one.image for _, one in client.stream("protect", [PIXELS] * 30, concurrency=4))
    found = _within(10, lambda: list(client.stream("locate", protected, concurrency=4)))
    assert sorted(index for index, _ in found) == list(range(30))


def test_a_slow_iterator_holds_nobody_else_up(opened):
    client, other = opened(Fake()), opened(Fake())
    waiting, enough = threading.Event(), threading.Event()

    def slow():
        yield PIXELS
        waiting.set()
        assert enough.wait(10)
        yield PIXELS

    def consume():
        return len(list(client.stream("locate", slow())))

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    assert waiting.wait(10)
    assert _within(5, lambda: other.locate(PIXELS)).confidence == 0.25
    enough.set()
    consumer.join(10)
    assert not consumer.is_alive()


def test_an_endless_iterator_is_taken_as_there_is_room(opened):
    fake = Fake()
    stream = opened(fake).stream("locate", itertools.repeat(PIXELS), concurrency=2)
    next(stream)
    time.sleep(0.2)
    assert fake.sent == 2
    for _ in range(10):
        next(stream)
    time.sleep(0.3)
    assert fake.sent <= 13
    stream.close()


def test_what_is_done_comes_before_there_is_no_room(opened):
    taken = []

    def slow():
        for index in range(5):
            taken.append(index)
            yield PIXELS
            time.sleep(0.3)

    stream = opened(Fake()).stream("locate", slow(), concurrency=16)
    assert next(stream)[0] == 0 and len(taken) < 4
    assert len(list(stream)) == 4


def test_a_stream_that_is_left_ends_what_is_under_way(opened):
    fake = Fake()
    client = opened(fake)
    stream = client.stream("locate", itertools.repeat(PIXELS), concurrency=5)
    next(stream)
    fake.pause_s = 60.0
    fake.sent = 0
    threading.Timer(0.3, client.close).start()
    for _, one in stream:
        if isinstance(one, ServerError):
            break
    stream.close()
    assert fake.under_way == 0 and fake.cancelled == 5


def test_closing_a_stream_waits_for_what_it_gives_up(opened):
    class Last(Fake):
        async def infer(self, call, timeout_s, lease):
            self.pause_s = 0.001 if self.sent == 0 else 60.0
            return await super().infer(call, timeout_s, lease)

    fake = Last()
    stream = opened(fake).stream("locate", itertools.repeat(PIXELS), concurrency=4)
    next(stream)
    stream.close()
    assert fake.under_way == 0 and fake.cancelled == fake.sent - 1 > 0


def test_a_stream_closed_in_the_clients_own_thread_blocks_nobody(opened):
    fake = Fake()
    client = opened(fake)
    stream = client.stream("locate", itertools.repeat(PIXELS), concurrency=4)
    next(stream)
    client._loop.call_soon_threadsafe(stream.close)  # as the garbage collector may
    assert _within(5, lambda: client.locate(PIXELS)).confidence == 0.25
    assert fake.under_way == 0


def test_an_iterator_that_fails_ends_the_stream(opened):
    def broken():
        yield PIXELS
        raise KeyError("mine")

    fake = Fake(pause_s=60.0)
    with pytest.raises(KeyError, match="mine"):
        _ = list(opened(fake).stream("locate", broken()))
    assert fake.under_way == 0


def test_failures_are_among_the_results(opened):
    images = [PIXELS, PIXELS[:0], PIXELS]
    outcomes = dict(opened(Fake()).stream("locate", images, concurrency=2))
    assert isinstance(outcomes[1], ImageError) and outcomes[2].confidence == 0.25


BAD = [
    ("protekt", {}, "choose protect, locate, recover, fg_jpeg"),
    ("protect", {"strength": 40.0}, "psnr_db, refine and copy, not strength"),
    ("protect", {"psnr_db": None}, "psnr_db must be a number, not None"),
    ("protect", {"psnr_db": "strong"}, "psnr_db must be a number"),
    ("locate", {"qf": 50}, "locate takes turned, not qf"),
    ("fg_jpeg", {}, "needs qf"),
    ("locate", {"concurrency": 0}, "concurrency must be"),
    ("locate", {"concurrency": 2.5}, "concurrency must be"),
]


@pytest.mark.parametrize(("method", "options", "message"), BAD)
def test_what_cannot_be_asked_for_is_an_input_error_at_once(opened, method, options, message):
    with pytest.raises(InputError, match=message):
        opened(Fake()).stream(method, [PIXELS], **options)

    async def asynchronous():
        opened(Fake(), AsyncClient).stream(method, [PIXELS], **options)

    with pytest.raises(InputError, match=message):
        asyncio.run(asynchronous())


def test_bad_options_of_batches_are_input_errors(opened):
    client = opened(Fake())
    with pytest.raises(InputError, match="concurrency must be"):
        client.locate_batch([PIXELS], concurrency=0)
    with pytest.raises(InputError, match="qf must be a number"):
        client.fg_jpeg_batch([PIXELS], None)


def test_an_asynchronous_stream_takes_as_there_is_room_and_ends_when_left(opened):
    fake = Fake()

    async def work():
        client = opened(fake, AsyncClient)
        stream = client.stream("locate", itertools.repeat(PIXELS), concurrency=3)
        await anext(stream)
        await asyncio.sleep(0.1)
        sent = fake.sent
        fake.pause_s = 60.0
        for _ in range(3):  # two may have been done; the next come late
            waiting = asyncio.create_task(anext(stream))
            await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        await stream.aclose()
        return sent

    assert asyncio.run(work()) == 3
    assert fake.under_way == 0 and fake.cancelled > 0


def _python(code):
    """Run a program; it must end by itself."""
    begun = "import itertools, os, sys\nimport numpy as np\nfrom clr_infer.client import Client\n"
    begun += "from clr_infer.errors import RuntimeUnavailable, ServerUnavailable, UsageError\n"
    words = [sys.executable, "-c", begun + code]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_child_opens_clients_of_its_own():
    printed = _python("""
client = Client("http://127.0.0.1:9", timeout_s=0.5)
assert not client.health()["live"]
pid = os.fork()
if pid == 0:
    import signal
    signal.alarm(20)
    with Client("http://127.0.0.1:9", timeout_s=0.5) as own:
        assert not own.health()["live"]
        own.stream("locate", []).close()
    try:
        client.health()
    except UsageError as error:
        print(error)
    client.close()
    print("ended", flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert not client.health()["live"]
""")
    assert "before a fork" in printed and "ended" in printed


def test_a_child_does_not_wait_for_a_thread_that_it_does_not_have():
    _python("""
import signal, threading
from clr_infer.client import synchronous
taken, never = threading.Event(), threading.Event()

def opening():
    with synchronous._starting:
        taken.set()
        never.wait()

threading.Thread(target=opening, daemon=True).start()
taken.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    Client("http://127.0.0.1:9").close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""")


def test_grpc_says_that_it_does_not_survive_a_fork():
    printed = _python("""
with Client("grpc://127.0.0.1:9", timeout_s=0.5) as client:
    pid = os.fork()
    if pid == 0:
        try:
            Client("grpc://127.0.0.1:9")
        except RuntimeUnavailable as error:
            print(error, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not client.health()["live"]
""")
    assert "http://" in printed and "spawn" in printed


def test_a_stream_that_nobody_closed_does_not_hold_the_exit_up():
    _python("""
client = Client("http://127.0.0.1:9", timeout_s=0.5)
stream = client.stream("locate", itertools.repeat(np.zeros((40, 40, 3), np.uint8)), concurrency=3)
next(stream)
""")
