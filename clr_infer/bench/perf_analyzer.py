"""NVIDIA's ``perf_analyzer``, the yardstick of Triton server's users.

It comes in an old wheel of tritonclient, which is unpacked beside the embedded server, and takes
the libraries that it misses from there.
"""

import csv
import os
import subprocess
import tempfile
from pathlib import Path

from ..errors import RuntimeUnavailable, ServerError
from ..serving.distribution import cache_folder, ensure_distribution, unpack_wheel

__all__ = ["measure", "perf_analyzer"]

_VERSION = "2.50.0"
_WHEEL = (
    f"tritonclient=={_VERSION} "
    "--hash=sha256:421fbb69ae6ab8cdb2c35b82134fcef2fe11e7af7718b1fcbc53335ab9bfe889"
)
_LIBRARIES = {"libb64.so.0d": "libb64-*.so*", "libcudart.so.12": "libcudart-*.so*"}


def perf_analyzer() -> tuple[Path, dict[str, str]]:
    """The tool, downloaded on first use, and the environment to run it in.

    Raises:
        RuntimeUnavailable: it cannot be had here.
    """
    server = ensure_distribution()
    binary = unpack_wheel(_WHEEL, f"perf_analyzer-{_VERSION}") / "bin" / "perf_analyzer"
    if not binary.exists():
        raise RuntimeUnavailable(f"{binary} is missing; remove {binary.parents[1]} and try again")
    libraries = cache_folder() / f"perf_analyzer-{_VERSION}" / "lib"
    libraries.mkdir(exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        link = libraries / name
        if not link.exists():
            (found,) = server.libraries.glob(pattern)
            link.unlink(missing_ok=True)
            link.symlink_to(found)
    return binary, {**os.environ, "LD_LIBRARY_PATH": str(libraries)}


def measure(
    url: str,
    model: str,
    *,
    shared_memory: bool,
    batch: int,
    concurrency: int,
    seconds: float,
    output_bytes: int,
) -> dict[str, float]:
    """Measure a network-level model in a closed loop.

    Args:
        url: ``grpc://`` or ``http://``.
        model: its name on the server.
        shared_memory: pass tensors through system shared memory.
        batch: images in a request.
        concurrency: requests under way.
        seconds: of each of three measurements, 1 at least.
        output_bytes: room for the outputs in shared memory.

    Raises:
        ServerError: the tool failed; its last words are in the message.
    """
    binary, environment = perf_analyzer()
    scheme, _, address = url.partition("://")
    command = [str(binary), "-m", model, "-u", address, "-i", scheme]
    command += [
        "-b",
        str(batch),
        "--concurrency-range",
        f"{concurrency}:{concurrency}",
        "--percentile",
        "50",
    ]
    command += ["--measurement-interval", str(max(int(seconds * 1000), 1000))]
    command += ["-s", "99999", "-r", "3"]  # three windows, whose spread is in the percentiles
    command += ["--input-data", "zero"]
    if shared_memory:
        command += ["--shared-memory", "system", "--output-shared-memory-size", str(output_bytes)]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        done = subprocess.run(
            [*command, "-f", str(table)], env=environment, capture_output=True, text=True
        )
        if not table.exists():
            words = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise ServerError(f"perf_analyzer: {' | '.join(words)}")
        with table.open(newline="") as stream:
            row = next(csv.DictReader(stream))
    return {
        "p50_ms": round(float(row["p50 latency"]) / 1000.0, 3),
        "p95_ms": round(float(row["p95 latency"]) / 1000.0, 3),
        "p99_ms": round(float(row["p99 latency"]) / 1000.0, 3),
        "images_per_s": round(float(row["Inferences/Second"]), 3),
        "server_queue_ms": round(float(row["Server Queue"]) / 1000.0, 3),
        "server_compute_ms": round(float(row["Server Compute Infer"]) / 1000.0, 3),
    }
