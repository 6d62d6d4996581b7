"""A server's life: processes that die, a server that is killed, and an orderly end."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clr_infer.client import Client
from clr_infer.errors import ClrError, ServerError, ServerUnavailable, UsageError
from clr_infer.serving.addresses import check_loopback, free_ports
from clr_infer.serving.admin import Admin
from clr_infer.serving.embedded import EmbeddedServer, ServeOptions
from clr_infer.serving.shared_memory import remove_stale
from clr_infer.serving.stubs import stub_processes

from .conftest import start_serving


def _wait_for(serving, word, timeout_s=40.0):
    until = time.monotonic() + timeout_s
    while not any(word in line for line in serving.events):
        assert time.monotonic() < until, serving.events
        time.sleep(0.05)


@pytest.fixture(scope="module")
def own():
    """A server that may be hurt; its last test ends it."""
    started = start_serving("--drain", "20")
    yield started
    if started.process.poll() is None:
        started.stop()


def test_a_model_whose_process_was_killed_comes_back(own, session, fragment):
    expected = session.recover(fragment).image
    with Client(own.urls["grpc"], timeout_s=5.0) as client:
        for model in ("recover_network", "clr_recover"):
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                under_way = [pool.submit(client.recover, fragment) for _ in range(4)]
                time.sleep(0.1)
                (pid,) = stub_processes(own.tritonserver)[model]
                os.kill(pid, signal.SIGKILL)
            for request in under_way:
                error = request.exception()
                assert error is None or isinstance(error, ServerError)
                if error is None:
                    np.testing.assert_array_equal(request.result().image, expected)
            _wait_for(own, f"a process of {model} died")
            np.testing.assert_array_equal(client.recover(fragment).image, expected)


def test_nothing_is_lost_when_the_server_is_killed_under_load(own, session, fragment):
    expected = session.recover(fragment)
    orphans = [pid for pids in stub_processes(own.tritonserver).values() for pid in pids]
    killed = False
    with Client(own.urls["grpc"], timeout_s=60.0) as client:
        for index, result in client.stream("recover", [fragment] * 10, concurrency=4):
            if not killed:
                os.kill(own.tritonserver, signal.SIGKILL)
                killed = True
            assert not isinstance(result, ClrError), (index, result)
            assert result.located.confidence == expected.located.confidence
            np.testing.assert_array_equal(result.image, expected.image)
    _wait_for(own, "was started again")
    assert orphans and not any(Path(f"/proc/{pid}").exists() for pid in orphans)


def test_a_client_with_shared_memory_survives_a_restart(own, session, fragment):
    expected = session.recover(fragment).image
    with Client(own.urls["http"], shared_memory=True, timeout_s=60.0) as client:
        client.recover(fragment)
        own.events.clear()
        os.kill(own.tritonserver, signal.SIGKILL)
        _wait_for(own, "was started again")
        np.testing.assert_array_equal(client.recover(fragment).image, expected)


def test_an_end_that_comes_while_it_starts_again_is_not_waited_out(monkeypatch):
    server = EmbeddedServer(ServeOptions(golden_s=0.0))
    try:
        server.start()
        monkeypatch.setattr(Admin, "ready", lambda admin: False)  # it never will be again
        os.kill(server.pid, signal.SIGKILL)
        server._process.wait()
        threading.Timer(1.0, server.end).start()
        began = time.monotonic()
        (said,) = server.watch()
        assert "did not start again: it was ended" in said and time.monotonic() - began < 10
        assert server._process.poll() is not None
    finally:
        server.stop()


def test_sigterm_lets_requests_finish_and_leaves_nothing_behind(own, session, fragment):
    expected = session.recover(fragment).image
    with Client(own.urls["grpc"]) as client:
        before = client.stats()["clr_recover"]["requests"]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            under_way = [pool.submit(client.recover, fragment) for _ in range(3)]
            while client.stats()["localize_network"]["requests"] < before + 1:
                time.sleep(0.01)
            time.sleep(0.1)
            own.process.send_signal(signal.SIGTERM)
        for request in under_way:
            np.testing.assert_array_equal(request.result().image, expected)
    assert own.process.wait(40) == 0
    assert not list(Path("/dev/shm").glob(f"clr_infer_server_{own.process.pid}_*"))
    with Client(own.urls["grpc"], timeout_s=0.5) as client:
        assert client.health()["live"] is False
        with pytest.raises((ServerUnavailable, ServerError)):
            client.recover(fragment)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_public_addresses_are_refused(host):
    with pytest.raises(UsageError, match="deploy/"):
        EmbeddedServer(ServeOptions(host=host))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_addresses_of_this_machine_are_taken(host):
    check_loopback(host)


def test_a_port_of_connections_that_just_ended_is_free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with socket.create_connection((host, port)) as client:
            listener.accept()[0].close()  # first: the port has to remember it for a while
            assert client.recv(1) == b""
    assert free_ports(host, (port,)) == [port]


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            EmbeddedServer(ServeOptions(http_port=port))


def test_a_start_removes_what_others_left_and_when_interrupted_ends_quietly(monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedServer, "_wait_until_ready", interrupt)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = Path(f"/dev/shm/clr_infer_server_{ended.pid}_ab")
    stale.touch()
    server = EmbeddedServer(ServeOptions())
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert not stale.exists()
    assert server._process.poll() is None
    server.stop()
    assert server._process.poll() is not None
    assert "draining" not in capsys.readouterr().err


def test_what_cannot_be_removed_stops_nothing(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"clr_infer_{ended.pid}_ab_0_in").mkdir()  # as little to be unlinked as another's
    assert remove_stale(tmp_path) == []


def test_what_another_user_works_with_is_kept(tmp_path, monkeypatch):
    def refused(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    (tmp_path / "clr_infer_1_ab_0_in").touch()
    assert remove_stale(tmp_path) == [] and list(tmp_path.iterdir())


def test_stale_shared_memory_is_told_from_that_in_use(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = [f"clr_infer_{ended.pid}_ab_0_in", f"clr_infer_server_{ended.pid}_cd"]
    used = [f"clr_infer_{os.getpid()}_ab_0_in", f"clr_infer_server_{os.getpid()}_cd", "other_1_x"]
    for name in stale + used:
        (tmp_path / name).touch()
    assert sorted(remove_stale(tmp_path)) == sorted(stale)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(used)
