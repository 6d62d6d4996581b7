"""What looks after a server, on processes that stand in for it: nothing is served here."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from clr_infer.errors import ServerError
from clr_infer.serving import embedded
from clr_infer.serving.embedded import EmbeddedServer, ServeOptions
from clr_infer.serving.heartbeat import Failure
from clr_infer.serving.shared_memory import SERVER_PREFIX
from clr_infer.serving.stubs import stub_processes

PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
SLEEP = "import time; print(flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def _process(code):
    """A process, once it does what it should."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    return process


@contextmanager
def _server(code=SLEEP, **options):
    server = EmbeddedServer(ServeOptions(**PORTS, **options))
    server._process = process = _process(code)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        server.stop()


def test_a_server_that_dies_too_often_is_not_started_again(monkeypatch):
    started = []
    monkeypatch.setattr(EmbeddedServer, "_launch", lambda server: started.append(1))
    with _server("raise SystemExit(7)", restarts=2) as server:
        server._process.wait()
        server.log.write_text("fine\nE1128 no memory\nan Error\nfine\n")
        region = Path(f"/dev/shm/{SERVER_PREFIX}{os.getpid()}_x")
        region.touch()
        server._heart._failure = Failure("locate", "late", 1)
        for _ in range(2):
            assert server.watch() == ["the server ended (7) and was started again"]
        with pytest.raises(
            ServerError, match=r"ended again \(7\); its log: E1128 no memory \| an Error$"
        ):
            server.watch()
        assert len(started) == 2 and server._heart.take() is None
        assert not region.exists()


def test_models_are_loaded_again_of_which_a_process_is_missing(monkeypatch):
    reloaded = []
    monkeypatch.setattr(embedded.Admin, "reload", lambda admin, model: reloaded.append(model))
    monkeypatch.setattr(embedded, "stub_processes", lambda pid: {"a": [1], "b": [2, 3]})
    with _server() as server:
        server._expected = {"a": 2, "b": 2, "c": 1}
        server._heart._failure = Failure("locate", "late", 1)
        assert [said.split()[3] for said in server.watch()] == reloaded == ["a", "c"]
        server._expected = {"a": 1}
        assert server.watch() == []  # what was found before does not count


def test_a_server_that_cannot_load_a_model_is_ended(monkeypatch):
    def refuse(admin, model):
        raise ServerError("no")

    monkeypatch.setattr(embedded.Admin, "reload", refuse)
    with _server() as server:
        server._expected = {"a": 1}
        assert server.watch() == ["a cannot be loaded again (no); the server was ended"]
        assert server._process.poll() is not None


def test_what_does_not_answer_is_ended_and_then_the_server(monkeypatch):
    with _server() as server:
        part, other, gone = _process(SLEEP), _process(SLEEP), _process("")
        gone.wait()
        running = {"protect_network": [other.pid], "localize_network": [gone.pid, part.pid]}
        monkeypatch.setattr(embedded, "stub_processes", lambda pid: running)
        try:
            server._heart._failure = Failure("locate", "late", 1)
            (said,) = server.watch()
            assert "failed at locate (late)" in said
            assert part.wait(5) == -signal.SIGKILL
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.2)
            assert server.watch() == [] and server._process.poll() is None
            server._heart._failure = Failure("locate", "late", 2)
            assert server.watch()[0].endswith("again; the server was ended")
            assert server._process.poll() is not None
        finally:
            for process in (part, other):
                process.kill()
                process.wait()


@pytest.mark.parametrize(("code", "gentle"), [(SLEEP, True), (STUBBORN, False)])
def test_a_server_that_does_not_end_is_killed_and_that_is_said(monkeypatch, code, gentle):
    monkeypatch.setattr(embedded, "_KILL_AFTER_S", 5.0 if gentle else 0.2)
    with _server(code, drain_s=0.0) as server:
        folder = server.log.parent
        assert server.stop() == gentle
        assert server._process.poll() == -(signal.SIGTERM if gentle else signal.SIGKILL)
        assert not folder.exists() and server._heart._ended.is_set()


@pytest.mark.parametrize(
    ("verbose", "words"), [(False, r"line 4 \| .* \| line 8"), (True, "see above")]
)
def test_a_server_that_is_never_ready_is_ended_and_its_log_shown(monkeypatch, verbose, words):
    monkeypatch.setattr(embedded, "_START_S", 0.0)
    with _server(verbose=verbose) as server:
        server.log.write_text("".join(f"line {i}\n" for i in range(9)))
        with pytest.raises(ServerError, match=f"not ready within 0 s; its log ends: {words}$"):
            server._wait_until_ready()
        assert server._process.wait(5) == -signal.SIGKILL


def test_a_server_that_ends_at_once_is_not_waited_for():
    with _server("raise SystemExit(3)") as server:
        server._process.wait()
        server.log.write_text("E1128 a port is taken\n")
        with pytest.raises(ServerError, match="did not start; its log ends: E1128 a port"):
            server._wait_until_ready()


def test_the_processes_of_models_are_those_of_that_server_alone(tmp_path):
    model = tmp_path / "clr_locate" / "1" / "model.py"
    model.parent.mkdir(parents=True)
    model.write_text(SLEEP)
    words = ["/bin/triton_python_backend_stub", str(model)]
    code = f"""
from subprocess import DEVNULL, Popen
Popen(["/bin/other", {str(model)!r}], executable={sys.executable!r}, stdout=DEVNULL)
Popen({words!r}, executable={sys.executable!r}).wait()
"""
    server = _process(code)  # whose first line is that of its model
    own = subprocess.Popen(words, executable=sys.executable, stdout=subprocess.DEVNULL)
    try:
        (found,) = stub_processes(server.pid).items()
        assert found[0] == "clr_locate" and len(found[1]) == 1 and own.pid not in found[1]
    finally:
        own.kill()
        own.wait()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_addresses_of_ipv6_stand_in_brackets():
    server = EmbeddedServer(ServeOptions("::1", **PORTS))
    try:
        ports = [server.http_port, server.grpc_port, server.metrics_port]
        assert all(ports) and len(set(ports)) == 3
        assert server.grpc_url == f"grpc://[::1]:{ports[1]}"
    finally:
        server.stop()
