"""Refined payloads from the real server, where it was told to serve them."""

import concurrent.futures
import io
import sys
import time

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

import clr_infer
from clr_infer.cli import main
from clr_infer.client import Client, Retry
from clr_infer.client.calls import pixels_call
from clr_infer.client.transports import _CHANNEL
from clr_infer.errors import (
    DeadlineExceeded,
    InputError,
    ModelNotServed,
    RuntimeUnavailable,
    ServerUnavailable,
)
from clr_infer.serving.contract import REFINE_MODEL
from clr_infer.serving.profiles import chosen_profile
from clr_infer.serving.repository import repository_texts, write_repository
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.weights import SAFETENSORS, Weights

from .conftest import start_serving

model_config_pb2 = pytest.importorskip("tritonclient.grpc").model_config_pb2


@pytest.fixture(scope="module")
def refining():
    started = start_serving("--refine", "--drain", "5")
    yield started
    assert started.stop() == 0


@pytest.fixture
def small(photo):
    return np.ascontiguousarray(photo[:128, :160])


def _stopwatch(do):
    began = time.monotonic()
    do()
    return time.monotonic() - began


@pytest.mark.parametrize(("transport", "shared_memory"), [("grpc", True), ("http", False)])
def test_it_is_what_a_session_refines(refining, small, transport, shared_memory):
    with clr_infer.load("onnxruntime", threads=1) as session:  # as the server has
        expected = session.protect(small, psnr_db=39.0, refine=2)
        plain = session.protect(small, psnr_db=39.0)
    with Client(refining.urls[transport], shared_memory=shared_memory, timeout_s=60.0) as client:
        found = client.protect(small, psnr_db=39.0, refine=2)
        np.testing.assert_array_equal(found.image, expected.image)
        assert found.psnr_db == expected.psnr_db and (found.image != plain.image).any()
        np.testing.assert_array_equal(client.protect(small, psnr_db=39.0).image, plain.image)
        file = client.protect_encoded(small, psnr_db=39.0, refine=2)
        with Image.open(io.BytesIO(file.content)) as picture:
            np.testing.assert_array_equal(np.asarray(picture), expected.image)
        (one,) = client.protect_batch([small], refine=1)
        ((_, other),) = client.stream("protect", [small], refine=1)
        np.testing.assert_array_equal(one.image, other.image)
        assert client.health()["models"][REFINE_MODEL.name]


def test_what_nobody_waits_for_any_more_is_not_refined_to_the_end(refining, small):
    none = Retry(budget=0)
    with Client(refining.urls["grpc"], timeout_s=60.0) as client:
        step_s = _stopwatch(lambda: client.protect(small, refine=4)) / 4
        for transport in ("grpc", "http"):
            with Client(refining.urls[transport], timeout_s=1.0, retry=none) as hasty:
                with pytest.raises(DeadlineExceeded):
                    hasty.protect(small, refine=1000)
            assert _stopwatch(lambda: client.protect(small, refine=1)) < 100 * step_s


def test_others_are_answered_meanwhile_and_a_full_queue_says_so(refining, session, small):
    expected = session.protect(small).image
    url = refining.urls["grpc"]
    options = {"timeout_s": 4.0, "retry": Retry(budget=0)}
    with Client(url, timeout_s=30.0) as client, Client(url, **options) as hasty:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:

            def refine():
                return list(hasty.stream("protect", [small] * 24, concurrency=24, refine=1000))

            under_way = pool.submit(refine)
            time.sleep(1.0)
            np.testing.assert_array_equal(client.protect(small).image, expected)
            outcomes = [type(one) for _, one in under_way.result()]
    assert outcomes.count(DeadlineExceeded) == 1 + 16 and outcomes.count(ServerUnavailable) == 7
    with Client(url, timeout_s=60.0) as client:
        assert client.protect(small, refine=1).psnr_db > 38


@pytest.mark.parametrize("refine", [-1, 1.5, 1001, "4"])
def test_senseless_steps_are_refused(refining, small, refine):
    with Client(refining.urls["grpc"]) as client, pytest.raises(InputError, match="refine"):
        client.protect(small, refine=refine)


@pytest.mark.parametrize("sent", [{}, {"refine": 0}, {"refine": "4"}, {"refine": True}])
def test_a_request_of_ones_own_making_has_to_name_steps(refining, small, sent):
    call = pixels_call("protect", small, DEFAULT_SETTINGS, {"refine": 1})
    call.parameters.clear()
    call.parameters.update(sent)
    with Client(refining.urls["http"]) as client, pytest.raises(InputError, match="'refine'"):
        client.call(call)


def test_the_command_takes_the_time_it_needs(refining, tmp_path, small):
    Image.fromarray(small).save(tmp_path / "in.png")
    words = ["protect", str(tmp_path / "in.png"), "--url", refining.urls["grpc"]]
    assert main([*words, "-o", str(tmp_path / "plain.png")]) == 0
    assert main([*words, "-o", str(tmp_path / "best.png"), "--refine", "2"]) == 0
    plain, best = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("plain", "best"))
    assert (plain != best).any()


def test_what_it_needs_is_asked_for_before_a_server_is_started(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["serve", "--refine"]) == RuntimeUnavailable.exit_code
    assert "refining needs torch" in capsys.readouterr().err


def test_a_connection_is_asked_after_less_often_than_servers_allow():
    # Theirs is five minutes while nothing else is said; refining may take longer.
    assert dict(_CHANNEL)["grpc.keepalive_time_ms"] > 5 * 60 * 1000


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_server_without_it_says_so(serving, small, transport):
    with Client(serving.urls[transport]) as client:
        with pytest.raises(ModelNotServed, match="does not refine"):
            client.protect(small, refine=4)
        assert REFINE_MODEL.name not in client.health()["models"]


@pytest.mark.parametrize("target", ["python", "onnxruntime"])
def test_a_repository_holds_it_where_it_is_asked_for(tmp_path, target):
    profile = chosen_profile("throughput", refine=True)
    path = f"{REFINE_MODEL.name}/config.pbtxt"
    assert path not in repository_texts(target, Weights())
    text = repository_texts(target, Weights(), profile)[path]
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == REFINE_MODEL.name and config.backend == "python"
    assert config.parameters["workers"].string_value == "1"
    assert config.parameters["threads"].string_value == "1"
    write_repository(tmp_path / "models", target, Weights(), profile=profile)
    version = Weights(tmp_path / "models" / REFINE_MODEL.name / "1")
    assert version.read(SAFETENSORS) == Weights().read(SAFETENSORS)
    words = ["export", "repository", "--target", target, "-o", str(tmp_path / "again")]
    assert main([*words, "--refine", "--profile", "throughput"]) == 0
    assert (tmp_path / "again" / path).read_text() == text
