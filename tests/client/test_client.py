"""The client's own rules, on a transport that answers what a test says."""

import asyncio
import gc
import json
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

from clr_infer import errors
from clr_infer.client import AsyncClient, Client, Retry
from clr_infer.client.calls import Call
from clr_infer.client.retry import Budget
from clr_infer.client.statistics import model_statistics
from clr_infer.errors import (
    DeadlineExceeded,
    ImageError,
    RequestRefused,
    ServerUnavailable,
    UsageError,
)

PIXELS = np.zeros((40, 50, 3), np.uint8)
LOCATED = {
    "protected": False, "confidence": 0.25, "crop_box": None, "box_px": None, "canvas_px": None,
    "timings_ms": {},
}  # fmt: skip


def _reply(**values):
    facts = {"located": LOCATED | values, "psnr_db": 40.0, "timings_ms": {}}
    return {"result": np.frombuffer(json.dumps(facts).encode(), np.uint8), "pixels": PIXELS}


REPLY = _reply()


class Scripted:
    """Answers with what a script holds: replies, or errors to raise."""

    def __init__(self, *script: object, pause_s: float = 0.0) -> None:
        self.script, self.pause_s = list(script), pause_s
        self.answer: object = True  # to anything else
        self.calls: list[Call] = []
        self.timeouts: list[float] = []
        self.under_way = self.most = 0

    async def infer(self, call, timeout_s, lease):
        self.calls.append(call)
        self.timeouts.append(timeout_s)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.pause_s)
        self.under_way -= 1
        step = self.script.pop(0) if self.script else REPLY
        if isinstance(step, Exception):
            raise step
        return step

    async def ask(self, method, timeout_s, **arguments):
        self.timeouts.append(timeout_s)
        await asyncio.sleep(self.pause_s)
        return self.answer

    async def close(self):
        pass


class Uneven(Scripted):
    """Answers narrow pictures first; each answer says how wide the picture was."""

    async def infer(self, call, timeout_s, lease):
        width = call.inputs["pixels"].shape[1]
        await asyncio.sleep({50: 0.3, 40: 0.0, 45: 0.1}[width])
        return _reply(confidence=width / 100)


UNEVEN = [PIXELS, PIXELS[:, :40], PIXELS[:, :45]]


class Paused(Retry):
    """Pauses as long as it is told; notes for which attempts."""

    def __init__(self, pause_s: float, **values: float) -> None:
        super().__init__(**values)
        self.__dict__.update(always_s=pause_s, attempts=[])

    def pause_s(self, attempt):
        self.attempts.append(attempt)
        return self.always_s


def _run(transport, work, **options):
    async def main():
        async with AsyncClient("grpc://localhost:1", **options) as client:
            await client._transport.close()
            client._transport = transport
            return await work(client)

    return asyncio.run(main())


def _locate(client):
    return client.locate(PIXELS)


def test_only_unavailable_is_asked_again():
    quick = Retry(first_s=0.001)
    transport = Scripted(ServerUnavailable("busy"), ServerUnavailable("busy"), REPLY)
    assert _run(transport, _locate, retry=quick).confidence == 0.25
    assert len(transport.calls) == 3
    for refusal in (RequestRefused("no"), ImageError("no"), errors.ServerError("no")):
        transport = Scripted(refusal)
        with pytest.raises(type(refusal)):
            _run(transport, _locate, retry=quick)
        assert len(transport.calls) == 1


def test_retries_end_with_the_deadline():
    transport = Scripted(*[ServerUnavailable("busy")] * 1000)
    with pytest.raises(ServerUnavailable):
        _run(transport, _locate, timeout_s=0.2, retry=Retry(first_s=0.01, most_s=0.02))
    assert 1 < len(transport.calls) < 1000
    assert transport.timeouts == sorted(transport.timeouts, reverse=True)
    assert transport.timeouts[0] <= 0.2


def test_a_pause_that_would_end_too_late_is_not_begun():
    async def work(client):
        await asyncio.wait_for(_locate(client), 2.0)

    transport = Scripted(ServerUnavailable("busy"))
    with pytest.raises(ServerUnavailable):
        _run(transport, work, timeout_s=0.2, retry=Paused(60.0))
    assert len(transport.calls) == 1


def test_a_pause_that_ended_too_late_says_what_came_before():
    async def work(client):
        asyncio.get_running_loop().call_later(0.02, time.sleep, 0.6)  # nothing goes on meanwhile
        await _locate(client)

    with pytest.raises(ServerUnavailable, match="busy"):
        _run(Scripted(ServerUnavailable("busy")), work, timeout_s=0.5, retry=Paused(0.1))


def test_each_pause_is_that_of_its_attempt():
    retry = Paused(0.0)
    _run(Scripted(*[ServerUnavailable("busy")] * 3, REPLY), _locate, retry=retry)
    assert retry.attempts == [0, 1, 2]


def test_an_answer_gives_a_retry_back():
    async def work(client):
        for _ in range(3):
            await _locate(client)

    transport = Scripted(*[ServerUnavailable("busy"), REPLY] * 3)
    _run(transport, work, retry=Retry(first_s=0.001, budget=1.0, refund=1.0))
    assert len(transport.calls) == 6


def test_retries_end_with_the_budget():
    transport = Scripted(*[ServerUnavailable("busy")] * 10)
    with pytest.raises(ServerUnavailable):
        _run(transport, _locate, retry=Retry(first_s=0.001, budget=4))
    assert len(transport.calls) == 5


def test_successes_refill_the_budget():
    budget = Budget(Retry(budget=1, refund=0.5))
    assert budget.take() and not budget.take()
    budget.succeeded()
    assert not budget.take()
    for _ in range(9):
        budget.succeeded()
    assert budget.take() and not budget.take()  # and no further


def test_pauses_grow_to_their_limit():
    policy = Retry(first_s=0.1, most_s=0.4)
    for attempt, most in ((0, 0.1), (1, 0.2), (2, 0.4), (9, 0.4), (10_000, 0.4)):
        pauses = [policy.pause_s(attempt) for _ in range(200)]
        assert max(pauses) <= most and max(pauses) > most / 2


def test_answers_are_not_kept():
    async def work(client):
        answer = weakref.ref(await client.locate(PIXELS))
        await asyncio.sleep(0)  # the loop itself holds it until then
        gc.collect()
        return answer()

    assert _run(Scripted(), work) is None


def test_a_late_answer_says_what_came_before():
    transport = Scripted(ServerUnavailable("no route"), DeadlineExceeded("late"))
    with pytest.raises(DeadlineExceeded, match="no route"):
        _run(transport, _locate, retry=Retry(first_s=0.001))


def test_results_of_batches_are_in_order():
    found = _run(Uneven(), lambda client: client.locate_batch(UNEVEN))
    assert [one.confidence for one in found] == [0.5, 0.4, 0.45]


@pytest.mark.parametrize("method", ["protect", "locate", "recover", "fg_jpeg"])
def test_batches_are_bounded(method):
    transport = Scripted(pause_s=0.002)
    options = {"qf": 50.0} if method == "fg_jpeg" else {}

    async def work(client):
        return await getattr(client, f"{method}_batch")([PIXELS] * 20, concurrency=3, **options)

    assert len(_run(transport, work)) == 20
    assert transport.most == 3


def test_a_batch_shows_its_progress(capsys):
    _run(Scripted(), lambda client: client.locate_batch([PIXELS] * 3, progress=True))
    assert "3/3" in capsys.readouterr().err
    _run(Scripted(), lambda client: client.locate_batch([PIXELS] * 3))
    assert not capsys.readouterr().err


def test_a_batch_ends_with_its_first_failure():
    transport = Scripted(REPLY, ImageError("bad"), *[REPLY] * 50, pause_s=0.002)
    with pytest.raises(ImageError, match="bad"):
        _run(transport, lambda client: client.locate_batch([PIXELS] * 50, concurrency=2))
    assert len(transport.calls) < 10


def test_results_come_as_they_are_done():
    async def work(client):
        return [index async for index, _ in client.stream("locate", UNEVEN, concurrency=3)]

    assert _run(Uneven(), work) == [1, 2, 0]


def test_a_stream_goes_on_after_a_failure():
    transport = Scripted(REPLY, ImageError("bad"), REPLY)

    async def work(client):
        images = [PIXELS] * 3
        return [pair async for pair in client.stream("locate", images, concurrency=1)]

    outcomes = _run(transport, work)
    assert [index for index, _ in outcomes] == [0, 1, 2]
    assert [isinstance(one, ImageError) for _, one in outcomes] == [False, True, False]


@pytest.mark.parametrize(
    "image",
    [
        b"",
        "photo.jpg",
        PIXELS.astype(np.float32),
        PIXELS[..., 0],
        PIXELS[:0],
        PIXELS[:8],
        np.zeros((40, 40, 4), np.uint8),
    ],
)
def test_images_that_cannot_be_used_are_not_sent(image):
    transport = Scripted()
    with pytest.raises(ImageError):
        _run(transport, lambda client: client.locate(image))
    assert not transport.calls


def test_files_are_sent_as_they_are():
    transport = Scripted()
    _run(transport, lambda client: client.locate(b"\x89PNG whatever"))
    _run(transport, lambda client: client.locate(memoryview(b"\x89-P-N-G- -whatever")[::2]))
    contents = [call.inputs["image"].tobytes() for call in transport.calls]
    assert contents == [b"\x89PNG whatever", b"\x89PNG waee"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e12, float("inf"), float("nan")])
def test_a_call_has_a_time(seconds):
    with pytest.raises(UsageError, match="above 0 and finite"):
        Client("grpc://localhost:1", timeout_s=seconds)


def test_nothing_there_is_unavailable():
    for url in ("grpc://127.0.0.1:9", "http://127.0.0.1:9"):
        with Client(url, timeout_s=0.5) as client:
            assert client.health()["live"] is False
            with pytest.raises(ServerUnavailable):
                client.locate(PIXELS)


def test_health_takes_no_longer_than_a_call_may():
    transport = Scripted(pause_s=0.2)
    with pytest.raises(DeadlineExceeded, match="within 0.5 s"):
        _run(transport, lambda client: client.health(), timeout_s=0.5)
    assert len(transport.timeouts) <= 3
    assert transport.timeouts == sorted(transport.timeouts, reverse=True)


class Partly(Scripted):
    """A server that has all models but some."""

    def __init__(self, *missing):
        super().__init__()
        self.missing = missing

    async def ask(self, method, timeout_s, model_name=None):
        return model_name not in self.missing


def test_a_server_is_ready_when_all_models_are_that_every_server_has():
    health = _run(Partly("clr_refine"), lambda client: client.health())
    assert health["ready"] and all(health["models"].values())
    assert "clr_refine" not in health["models"]
    health = _run(Partly("align_network"), lambda client: client.health())
    assert health["live"] and not health["ready"] and not health["models"]["align_network"]
    assert health["models"]["clr_refine"]


def test_statistics_are_asked_for_within_the_time_of_a_call():
    transport = Scripted()
    transport.answer = {"model_stats": []}
    assert _run(transport, lambda client: client.stats(), timeout_s=0.5) == {}
    assert 0 < transport.timeouts[0] <= 0.5


def test_statistics_read_both_protocols():
    http = {"model_stats": [{
        "name": "m", "inference_count": 6, "execution_count": 2,
        "inference_stats": {"queue": {"count": 6, "ns": 3_000_000}},
    }]}  # fmt: skip
    message = pytest.importorskip("tritonclient.grpc").service_pb2.ModelStatisticsResponse()
    grpc = pytest.importorskip("google.protobuf.json_format").ParseDict(http, message)
    for answer in (http, grpc):
        line = model_statistics(answer)["m"]
        assert line["requests"] == 6 and line["executions"] == 2 and line["queue_ms"] == 3.0
        assert line["queue_count"] == 6 and line["fail_count"] == line["fail_ms"] == 0.0


def test_the_client_loads_no_image_library_and_no_runtime():
    code = "import sys, clr_infer.client; clr_infer.client.Client('grpc://localhost:1').close()"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(done.stdout.split()) & {"PIL", "onnxruntime", "torch", "tqdm"}
