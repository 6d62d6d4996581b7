"""Golden inferences while a server serves: what counts as alive, and what is done if it is not."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from clr_infer.client import Client
from clr_infer.errors import DeadlineExceeded, ServerError, ServerUnavailable
from clr_infer.results import Located, Protected, Recovered, Simulated
from clr_infer.serving import golden, heartbeat
from clr_infer.serving.contract import QUEUE_FULL
from clr_infer.serving.heartbeat import Failure, Heartbeat
from clr_infer.serving.stubs import stub_processes

from .conftest import start_serving

RECOVER = ("localize_network", "align_network", "recover_network")


@pytest.fixture
def beat(monkeypatch):
    """A beat against a server that fails at recover and whose networks answered others or not."""

    def one(error=None, counts=(0, 0), at="recover", moving=RECOVER):
        counts = iter(counts)

        class Scripted:
            def __init__(self, url, **options):
                assert options["retry"].budget == 0 and options["timeout_s"] == 5.0

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def stats(self):
                count = next(counts)
                return {name: {"success_count": count * (name in moving)} for name in RECOVER}

        def check(client, done):
            done.update({"protect": 1.0, "locate": 1.0} if at == "recover" else {})
            if error:
                raise error

        monkeypatch.setattr(heartbeat, "Client", Scripted)
        monkeypatch.setattr(heartbeat.golden, "check", check)
        return Heartbeat("grpc://x:1", 60.0, 5.0).beat()

    return one


def test_what_counts_as_alive(beat):
    assert beat() is None
    assert beat(ServerUnavailable(QUEUE_FULL)) is None
    assert beat(DeadlineExceeded("late"), counts=(7, 8)) is None


def test_what_does_not(beat):
    step, reason = beat(DeadlineExceeded("late"), counts=(7, 7))
    assert step == "recover" and reason == "DeadlineExceeded: late"
    assert beat(DeadlineExceeded("late"), counts=(7, 8), moving=RECOVER[:2])[0] == "recover"
    assert beat(ServerUnavailable("connection refused"))[0] == "recover"
    assert beat(ServerError("golden inference: wrong"), at="protect")[0] == "protect"
    assert beat(KeyError("psnr_db"))[1] == "KeyError: 'psnr_db'"  # an answer nobody foresaw


@pytest.mark.parametrize("wrong", ["locate", "recover", "fg_jpeg"])
def test_a_wrong_answer_is_a_failure_of_the_step_that_gave_it(wrong, raccoon):
    class Scripted:
        """Does what it should, but for one thing: it finds nothing, or changes nothing."""

        def protect(self, content):
            return Protected(raccoon, 40.0)

        def locate(self, image):
            return Located(wrong != "locate", 0.5, golden._KEPT, None, None, None)

        def recover(self, image):
            return Recovered(None if wrong == "recover" else raccoon, self.locate(image))

        def fg_jpeg(self, image, qf):
            return Simulated(image if wrong == "fg_jpeg" else image ^ 1)

    done = {}
    with pytest.raises(ServerError, match="golden inference"):
        golden.check(Scripted(), done)
    assert tuple(done) == golden.STEPS[: golden.STEPS.index(wrong)]


def test_a_failure_names_the_models_that_took_part():
    assert Failure("recover", "late", 1).models == {"clr_recover", *RECOVER}
    assert Failure("fg_jpeg", "late", 1).models == {"fg_jpeg", "fg_jpeg_network"}


def _until(condition, timeout_s=5.0):
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


def test_only_two_failures_running_are_reported_and_counted(monkeypatch):
    script = [("locate", "late"), None, *[("locate", "late")] * 4]
    beats = []

    def beat(self):
        beats.append(1)
        return script.pop(0) if script else None

    monkeypatch.setattr(Heartbeat, "beat", beat)
    heart = Heartbeat("grpc://x:1", 0.01, 5.0)
    heart.start()
    first = _until(heart.take)
    assert first == Failure("locate", "late", 1) and len(beats) >= 4
    assert _until(heart.take) == Failure("locate", "late", 2)
    _until(lambda: not script and len(beats) > 8)
    heart.stop()
    assert heart.take() is None


def test_what_was_found_before_a_repair_does_not_count(monkeypatch):
    heart = Heartbeat("grpc://x:1", 0.01, 5.0)
    beats = []

    def beat(self):
        beats.append(1)
        if len(beats) <= 2:
            heart.forget()  # the server is put right meanwhile
            return "locate", "late"
        return None

    monkeypatch.setattr(Heartbeat, "beat", beat)
    heart.start()
    _until(lambda: len(beats) > 4)
    heart.stop()
    assert heart.take() is None


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_found_after_the_end_does_not_count(monkeypatch, count):
    heart, beats = Heartbeat("grpc://x:1", 0.001, 5.0), []

    def beat(self):
        beats.append(1)
        if len(beats) == count:
            self.stop()
        return "locate", "late"

    monkeypatch.setattr(Heartbeat, "beat", beat)
    heart.start()
    heart._thread.join(5)
    assert len(beats) == count and heart.take() is None


def test_a_failure_that_nobody_took_before_a_repair_does_not_count(monkeypatch):
    heart, beats, enough = Heartbeat("grpc://x:1", 0.01, 5.0), [], threading.Event()

    def beat(self):
        beats.append(1)
        if len(beats) > 2:
            enough.wait(5)
        return "locate", "late"

    monkeypatch.setattr(Heartbeat, "beat", beat)
    heart.start()
    _until(lambda: len(beats) > 2)
    heart.forget()
    heart.stop()
    enough.set()
    assert heart.take() is None


def test_a_model_that_no_longer_answers_is_ended_and_loaded_again(session, fragment):
    own = start_serving("--golden-interval", "1", "--golden-timeout", "6")
    try:
        before = stub_processes(own.tritonserver)
        os.kill(before["localize_network"][0], signal.SIGSTOP)
        until = time.monotonic() + 90
        while not any("localize_network died; the model was loaded" in e for e in own.events):
            assert time.monotonic() < until, own.events
            time.sleep(0.1)
        assert any("golden inference failed at locate" in event for event in own.events), own.events
        with Client(own.urls["grpc"], timeout_s=30.0) as client:
            found = client.recover(fragment)
        np.testing.assert_array_equal(found.image, session.recover(fragment).image)
        after = stub_processes(own.tritonserver)
        assert after["localize_network"] != before["localize_network"]
        assert after["protect_network"] == before["protect_network"]
    finally:
        assert own.stop() == 0
