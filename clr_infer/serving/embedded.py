"""The embedded server: the real ``tritonserver`` on this machine alone, watched over."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ..client import Client, Retry
from ..errors import ServerError
from ..settings import DEFAULT_SETTINGS, Settings
from ..weights import Weights
from . import golden
from .addresses import check_loopback, free_ports
from .admin import Admin
from .distribution import ensure_distribution
from .heartbeat import Failure, Heartbeat
from .profiles import PROFILES, Profile
from .repository import image_models, write_repository
from .shared_memory import SERVER_PREFIX, remove_stale
from .stubs import stub_processes

__all__ = ["EmbeddedServer", "ServeOptions"]

_START_S = 120.0
_GOLDEN_S = 60.0
_KILL_AFTER_S = 5.0
# Becomes the server, which is asked to end (PR_SET_PDEATHSIG) when its parent does, whatever
# ended that.
_END_WITH_PARENT = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    Attributes:
        host: a loopback address.
        http_port: 0 takes a free one, as of the other two.
        grpc_port: of the gRPC service.
        metrics_port: of Prometheus' metrics.
        weights: whose networks to serve.
        profile: batching, instances, queues.
        settings: limits of the images that are taken.
        drain_s: how long requests under way may take after a signal to stop.
        golden_s: between golden inferences while it serves; 0 for none.
        golden_timeout_s: of each of their calls.
        restarts: how often a server that dies is started again.
        verbose: show the server's log.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    weights: Weights = field(default_factory=Weights)
    profile: Profile = PROFILES["latency"]
    settings: Settings = DEFAULT_SETTINGS
    drain_s: float = 30.0
    golden_s: float = 60.0
    golden_timeout_s: float = 60.0
    restarts: int = 5
    verbose: bool = False


class EmbeddedServer:
    """A server with its folder; a context manager that stops it.

    Args:
        options: how to serve.

    Raises:
        UsageError: the address is not of this machine alone, or a port is taken.
    """

    def __init__(self, options: ServeOptions) -> None:
        check_loopback(options.host)
        self.options = options
        ports = (options.http_port, options.grpc_port, options.metrics_port)
        self.http_port, self.grpc_port, self.metrics_port = free_ports(options.host, ports)
        self._folder = Path(tempfile.mkdtemp(prefix="clr_infer_serve_"))
        self._secret = secrets.token_hex(16)
        self._process: subprocess.Popen | None = None
        self._expected: dict[str, int] = {}
        self._restarted = 0
        self._ending = threading.Event()
        self._heart = Heartbeat(self.grpc_url, options.golden_s, options.golden_timeout_s)

    @property
    def http_url(self) -> str:
        """The address for HTTP."""
        return f"http://{self._address(self.http_port)}"

    @property
    def grpc_url(self) -> str:
        """The address for gRPC."""
        return f"grpc://{self._address(self.grpc_port)}"

    @property
    def metrics_url(self) -> str:
        """The address of the metrics."""
        return f"http://{self._address(self.metrics_port)}/metrics"

    @property
    def pid(self) -> int:
        """The process of ``tritonserver``."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._folder / "server.log"

    def start(self) -> dict[str, float]:
        """Start, and wait until a golden inference has come back.

        Returns:
            Milliseconds of its steps.

        Raises:
            RuntimeUnavailable: the server cannot run here.
            ServerError: it does not start, or does not do its job.
        """
        remove_stale()
        self._server = ensure_distribution()
        self._server.lay_out_backend(self._folder / "backends")
        write_repository(
            self._folder / "models",
            "python",
            self.options.weights,
            profile=self.options.profile,
            settings=self.options.settings,
        )
        timings_ms = self._launch()
        if self.options.golden_s:
            self._heart.start()
        return timings_ms

    def end(self) -> None:
        """Wait no longer for a server that is about to start; for signal handlers."""
        self._ending.set()

    def watch(self) -> list[str]:
        """Look after the server once.

        It is started again if it died, and models are loaded again whose process died. If golden
        inferences fail, those processes are ended that took part, and if that does not help, the
        server.

        Returns:
            What was done, one sentence each.

        Raises:
            ServerError: the server died too often.
        """
        assert self._process is not None
        if self._process.poll() is not None:
            code = self._process.returncode
            if self._restarted >= self.options.restarts:
                raise ServerError(f"the server ended again ({code}); its log: {self._log_tail()}")
            self._restarted += 1
            self._clean_up()
            try:
                self._launch()
            except ServerError as error:
                self._process.kill()
                self._process.wait()
                return [f"the server ended ({code}) and did not start again: {error}"]
            self._heart.forget()
            return [f"the server ended ({code}) and was started again"]
        running = stub_processes(self.pid)
        lost = [m for m, count in self._expected.items() if len(running.get(m, ())) < count]
        done: list[str] = []
        for model in lost:
            try:
                with self._admin() as admin:
                    admin.reload(model)
            except ServerError as error:
                self._process.kill()
                self._process.wait()
                return [*done, f"{model} cannot be loaded again ({error}); the server was ended"]
            done.append(f"a process of {model} died; the model was loaded again")
        if done:
            self._heart.forget()
        elif failure := self._heart.take():
            done.append(self._revive(failure, running))
        return done

    def _revive(self, failure: Failure, running: dict[str, list[int]]) -> str:
        """End what does not do its job; the next look starts it again."""
        assert self._process is not None
        words = f"the golden inference failed at {failure.step} ({failure.reason})"
        if failure.count > 1:
            self._process.kill()
            self._process.wait()
            return f"{words} again; the server was ended"
        for model in failure.models:
            for pid in running.get(model, ()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return f"{words}; the processes of {', '.join(sorted(failure.models))} were ended"

    def stop(self) -> bool:
        """Finish what is under way, take nothing new, stop, and clean up.

        Returns:
            ``False`` if the server had to be killed.
        """
        gentle = True
        self._heart.stop()
        if self._process is not None and self._process.poll() is None:
            until = time.monotonic() + self.options.drain_s
            if self._expected:  # it has been ready
                self._drain(until)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(max(until - time.monotonic(), 0.0) + _KILL_AFTER_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                gentle = False
        self._clean_up()
        shutil.rmtree(self._folder, ignore_errors=True)
        return gentle

    def _drain(self, until: float) -> None:
        try:
            # Image-level models first: what they work on still needs the networks.
            with self._admin() as admin:
                admin.drain([spec.name for spec in image_models(self.options.profile)], until)
        except Exception as error:  # whatever it is, the process has to end
            print(f"draining: {error}", file=sys.stderr)

    def __enter__(self) -> "EmbeddedServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self) -> dict[str, float]:
        self._expected = {}
        with open(self.log, "ab") as log:
            output = None if self.options.verbose else log
            self._process = subprocess.Popen(
                self._command(),
                env=self._server.environment(),
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # signals of the terminal come to us alone
            )
        self._wait_until_ready()
        retry = Retry(budget=1000.0)
        with Client(self.grpc_url, timeout_s=_GOLDEN_S, retry=retry) as client:
            timings_ms = golden.check(client)
        self._expected = {m: len(pids) for m, pids in stub_processes(self.pid).items()}
        return timings_ms

    def _command(self) -> list[str]:
        host, secret = self.options.host, f"admin={self._secret}"
        prefix = f"{SERVER_PREFIX}{os.getpid()}_"
        return [
            *(sys.executable, "-c", _END_WITH_PARENT),
            str(self._server.binary),
            f"--model-repository={self._folder / 'models'}",
            f"--backend-directory={self._folder / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            *("--model-control-mode=explicit", "--load-model=*", "--disable-auto-complete-config"),
            *("--strict-readiness=true", "--exit-on-error=true", "--allow-gpu-metrics=false"),
            *(f"--http-address={host}", f"--http-port={self.http_port}"),
            *(f"--grpc-address={host}", f"--grpc-port={self.grpc_port}"),
            *(f"--metrics-address={host}", f"--metrics-port={self.metrics_port}"),
            f"--exit-timeout-secs={max(round(self.options.drain_s), 1)}",
            f"--grpc-restricted-protocol=model-repository,trace,logging:{secret}",
            f"--http-restricted-api=model-repository,trace,logging:{secret}",
        ]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        until = time.monotonic() + _START_S
        while True:
            if self._process.poll() is not None:
                raise ServerError(f"the server did not start; its log ends: {self._log_tail()}")
            try:
                with self._admin() as admin:
                    if admin.ready():
                        return
            except ServerError:
                pass
            if time.monotonic() > until:
                self._process.kill()
                raise ServerError(
                    f"the server was not ready within {_START_S:g} s; its log ends: "
                    f"{self._log_tail()}"
                )
            if self._ending.wait(0.1):
                raise ServerError("it was ended while it started")

    def _admin(self) -> Admin:
        return Admin(self._address(self.grpc_port), self._secret)

    def _address(self, port: int) -> str:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{host}:{port}"

    def _log_tail(self) -> str:
        if self.options.verbose:
            return "see above"
        lines = self.log.read_text("utf-8", "replace").splitlines()
        telling = [line for line in lines if line.startswith("E") or "rror" in line]
        return " | ".join((telling or lines)[-5:])

    def _clean_up(self) -> None:
        """Remove what a server leaves that was killed: its models' processes and their memory."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # its session; all of it has ended
                os.killpg(self._process.pid, signal.SIGKILL)
        for path in Path("/dev/shm").glob(f"{SERVER_PREFIX}{os.getpid()}_*"):
            path.unlink(missing_ok=True)
