"""The client's own rules, on a transport that answers what a test says."""

import asyncio
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

from clr_infer import errors
from clr_infer.client import AsyncClient, Client, Retry
from clr_infer.client.calls import Call
from clr_infer.client.failures import failure
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
REPLY = {"result": np.frombuffer(json.dumps({"located": LOCATED}).encode(), np.uint8)}


class Scripted:
    """Answers with what a script holds: replies, or errors to raise."""

    def __init__(self, *script: object, pause_s: float = 0.0) -> None:
        self.script, self.pause_s = list(script), pause_s
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
        return True

    async def close(self):
        pass


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
    budget.succeeded()
    assert budget.take()


def test_pauses_grow_to_their_limit():
    policy = Retry(first_s=0.1, most_s=0.4)
    for attempt, most in ((0, 0.1), (1, 0.2), (2, 0.4), (9, 0.4), (10_000, 0.4)):
        pauses = [policy.pause_s(attempt) for _ in range(200)]
        assert max(pauses) <= most and max(pauses) > most / 2


def test_a_late_answer_says_what_came_before():
    transport = Scripted(ServerUnavailable("no route"), DeadlineExceeded("late"))
    with pytest.raises(DeadlineExceeded, match="no route"):
        _run(transport, _locate, retry=Retry(first_s=0.001))


def test_batches_are_bounded_and_in_order():
    transport = Scripted(pause_s=0.002)

    async def work(client):
        return await client.locate_batch([PIXELS] * 20, concurrency=3)

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
    class Uneven(Scripted):
        async def infer(self, call, timeout_s, lease):
            await asyncio.sleep({50: 0.3, 40: 0.0, 45: 0.1}[call.inputs["pixels"].shape[1]])
            return REPLY

    async def work(client):
        images = [PIXELS, PIXELS[:, :40], PIXELS[:, :45]]
        return [index async for index, _ in client.stream("locate", images, concurrency=3)]

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


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("StatusCode.UNAVAILABLE", "socket closed", ServerUnavailable),
        ("503", "Exceeds maximum queue size", ServerUnavailable),
        ("StatusCode.NOT_FOUND", "no model x", errors.ModelNotServed),
        ("404", "no model x", errors.ModelNotServed),
        ("StatusCode.NOT_FOUND", "model x is not ready", ServerUnavailable),
        ("StatusCode.INVALID_ARGUMENT", "wrong shape", RequestRefused),
        ("400", "wrong shape", RequestRefused),
        ("400", "ImageError: too small", ImageError),
        ("StatusCode.INVALID_ARGUMENT", "InputError: too much", errors.InputError),
        ("400", "WeightsError: a server's own trouble", RequestRefused),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("StatusCode.UNAUTHENTICATED", "who?", errors.AccessDenied),
        ("403", "not you", errors.AccessDenied),
        ("UNAVAILABLE", "This protocol is restricted, expecting x", errors.AccessDenied),
        ("403", "This API is restricted, expecting x", errors.AccessDenied),
        ("500", "oh", errors.ServerError),
        (None, "", errors.ServerError),
    ],
)
def test_statuses_become_errors(status, message, kind):
    error = failure(status, message)
    assert type(error) is kind and str(error)
    if isinstance(error, errors.ServerError):
        assert error.exit_code == 4


@pytest.mark.parametrize("url", ["localhost:8001", "ftp://x:1", "grpc://", ""])
def test_strange_addresses_are_refused(url):
    with pytest.raises(UsageError, match="grpc://host:8001"):
        Client(url)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no address"):
        Client("grpc://[::1:8001")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_call_has_a_time(seconds):
    with pytest.raises(UsageError, match="above 0 and finite"):
        Client("grpc://localhost:1", timeout_s=seconds)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_certificates_are_not_left_out_silently(scheme, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="not encrypted"):
        Client(f"{scheme}://localhost:1", tls_ca=tmp_path / "ca.pem", token="secret")
    with pytest.raises(UsageError, match="certificates cannot be read"):
        Client("https://localhost:1", tls_ca=tmp_path / "ca.pem")


def test_tokens_and_headers_are_sent():
    with Client("grpc://localhost:1", token="secret", headers={"X-Team": "a"}) as client:
        sent = client._client._transport._headers
    assert sent == {"x-team": "a", "authorization": "Bearer secret"}


def test_no_packing_of_pixels_is_asked_for():
    with Client("http://localhost:1") as client:
        assert client._client._transport._headers["Accept-Encoding"] == "identity"
    with Client("http://localhost:1", headers={"Accept-Encoding": "gzip"}) as client:
        assert client._client._transport._headers["Accept-Encoding"] == "gzip"


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


class _Forgetful(BaseHTTPRequestHandler):
    """Answers every inference with no outputs."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        reply = b'{"model_name": "clr_locate", "model_version": "1", "outputs": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def test_an_answer_that_lacks_an_output_says_which():
    with HTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}", timeout_s=20) as client:
                with pytest.raises(errors.ServerError, match="clr_locate answered without result"):
                    client.locate(PIXELS)
        finally:
            server.shutdown()


def test_statistics_read_both_protocols():
    http = {"model_stats": [{
        "name": "m", "inference_count": 6, "execution_count": 2,
        "inference_stats": {"queue": {"count": 6, "ns": 3_000_000}},
    }]}  # fmt: skip
    line = model_statistics(http)["m"]
    assert line["requests"] == 6 and line["executions"] == 2 and line["queue_ms"] == 3.0


def test_the_client_loads_no_image_library_and_no_runtime():
    code = "import sys, clr_infer.client; clr_infer.client.Client('grpc://localhost:1').close()"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(done.stdout.split()) & {"PIL", "onnxruntime", "torch", "tqdm"}
