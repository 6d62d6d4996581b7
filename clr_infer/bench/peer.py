"""The peer: the same pipeline and networks in a plain FastAPI + ONNX Runtime service."""

import io
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import RuntimeUnavailable, ServerError

__all__ = ["main", "peer"]

_START_S, _END_S = 60.0, 30.0


def main(port: int, threads: int | None) -> None:
    """Serve on the loopback address until killed."""
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.concurrency import run_in_threadpool

    from ..image_io import read_image
    from ..session import load

    session = load("onnxruntime", threads=threads)
    app = FastAPI()

    def work(call: str, content: bytes) -> Response:
        result = getattr(session, call)(read_image(content).pixels)
        if call == "locate":
            return Response(json.dumps(result.as_dict()), media_type="application/json")
        pixels = io.BytesIO()
        np.save(pixels, result.image if result.image is not None else np.zeros(0, np.uint8))
        return Response(pixels.getvalue(), media_type="application/octet-stream")

    async def endpoint(call: str, request: Request) -> Response:
        return await run_in_threadpool(work, call, await request.body())

    # Set by hand, as annotations of names that are imported here could not be resolved.
    endpoint.__annotations__ = {"call": str, "request": Request, "return": Response}
    app.post("/{call}", response_model=None)(endpoint)
    app.get("/")(lambda: "ready")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


@contextmanager
def peer(threads: int | None = None) -> Iterator[tuple[str, int]]:
    """Run the peer in a process of its own; gives its address and that process.

    Args:
        threads: CPU threads of each call, ``None`` for all cores.

    Raises:
        RuntimeUnavailable: FastAPI or uvicorn is not installed.
        ServerError: it does not start.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailable(
            f'the peer needs FastAPI: pip install "clr_infer[bench]" ({error})'
        ) from error
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from clr_infer.bench.peer import main; main({port}, {threads})"
    process = subprocess.Popen([sys.executable, "-c", code])
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url, process.pid
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise ServerError("the FastAPI peer did not start")
