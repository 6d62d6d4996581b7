"""One embedded server for all tests of this folder, and clients of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clr_infer
from clr_infer.client import Client
from clr_infer.samples import SAMPLE


@dataclass
class Serving:
    """``clr-infer serve`` in a process of its own."""

    process: subprocess.Popen
    urls: dict[str, str]
    events: list[str] = field(default_factory=list)

    @property
    def tritonserver(self) -> int:
        """The process of the server that it looks after."""
        pid = self.process.pid
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == pid and words[0].endswith(b"bin/tritonserver"):
                return int(folder.name)
        raise AssertionError("no tritonserver below clr-infer serve")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def start_serving(*options: str) -> Serving:
    """Start the command and wait for its addresses; no golden inferences come in between."""
    command = [sys.executable, "-m", "clr_infer.cli", "serve", "--golden-interval", "0", *options]
    for name in ("http", "grpc", "metrics"):
        command += [f"--{name}-port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None and process.stderr is not None
    serving = Serving(process, {})
    errors = process.stderr

    def follow() -> None:
        serving.events.extend(line.rstrip() for line in errors)

    threading.Thread(target=follow, daemon=True).start()
    for line in process.stdout:
        if found := re.match(r"  (http|grpc|metrics) +(\S+)", line):
            serving.urls[found[1]] = found[2]
        if line.startswith("try:"):
            return serving
    process.wait(10)
    raise AssertionError(f"serve ended with {process.returncode}: {serving.events}")


@pytest.fixture(scope="session")
def serving() -> Iterator[Serving]:
    started = start_serving()
    yield started
    assert started.stop() == 0
    assert not list(Path("/dev/shm").glob(f"clr_infer_server_{started.process.pid}_*"))


@pytest.fixture
def client(serving: Serving) -> Iterator[Client]:
    with Client(serving.urls["grpc"]) as opened:
        yield opened


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return np.asarray(Image.open(SAMPLE).convert("RGB").resize((320, 240)))


@pytest.fixture(scope="session")
def fragment(session: clr_infer.Session, photo: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(session.protect(photo).image[20:225, 30:300])
