"""Latency and memory of protect and recover on this machine: both CPU runtimes and their peer.

    python benchmarks/end_to_end.py -o benchmarks/results/end_to_end_cpu.json

Sizes from a web picture to 12 megapixels, each stage timed apart; PyTorch (eager) runs the same
pipeline on the same images in the same process run. Medians and percentiles after warm-up.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import clr_infer
from clr_infer.bench.facts import commit
from clr_infer.env import describe_environment
from clr_infer.geometry import Box, box_to_pixels
from clr_infer.samples import SAMPLE

SIZES = ((640, 480), (1920, 1080), (4000, 3000))
BOX = Box(0.1, 0.15, 0.85, 0.9)
CALLS = {False: ("protect", "recover"), True: ("protect with a copy", "recover from a copy")}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile in milliseconds, and the number of runs."""
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000.0, [50, 95, 99])
    return {
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "p99_ms": round(p99, 1),
        "runs": len(seconds),
    }


def measure(call, runs: int) -> dict[str, float]:  # noqa: ANN001
    """Time a call after two warm-ups."""
    for _ in range(2):
        call()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return percentiles(seconds)


def import_seconds(runs: int = 7) -> dict[str, float]:
    """Time ``import clr_infer`` in fresh processes, the interpreter's own start taken off."""

    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    empty = float(np.median([once("pass") for _ in range(runs)]))
    return percentiles([max(once("import clr_infer") - empty, 0.0) for _ in range(runs)])


def one_runtime(name: str, runs: int) -> dict:
    """All sizes in one runtime."""
    began = time.perf_counter()
    session = clr_infer.load(name)
    load_ms = (time.perf_counter() - began) * 1000
    photo = Image.open(SAMPLE).convert("RGB")
    rows = []
    for width, height in SIZES:
        image = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
        x0, y0, x1, y1 = box_to_pixels(BOX, width, height)
        for copy, calls in CALLS.items():
            protected = session.protect(image, copy=copy)
            fragment = np.ascontiguousarray(protected.image[y0:y1, x0:x1])
            recovered = session.recover(fragment)
            if not recovered.located.protected or recovered.from_copy != copy:
                raise SystemExit("the fragment was not read: these are not working weights")
            for call, function, result in (
                (calls[0], lambda i=image, c=copy: session.protect(i, copy=c), protected),
                (calls[1], lambda f=fragment: session.recover(f), recovered),
            ):
                row = {"call": call, "width": width, "height": height, **measure(function, runs)}
                row["stages_ms"] = result.timings_ms
                rows.append(row)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"runtime": name, "load_ms": round(load_ms, 1), "peak_mb": round(peak_mb), "rows": rows}


def main() -> None:
    """Measure each runtime in a process of its own, so that the peaks of memory are its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(one_runtime(args.only, args.runs)))
        return
    runtimes = []
    for name in ("onnxruntime", "openvino", "torch"):
        command = [sys.executable, __file__, "--only", name, "--runs", str(args.runs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runtimes.append(json.loads(done.stdout.splitlines()[-1]))
    result = {
        "kind": "end_to_end",
        "commit": commit(),
        "environment": describe_environment(),
        "import": import_seconds(),
        "runtimes": runtimes,
    }
    text = json.dumps(result, indent=1) + "\n"
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
