"""ONNX Runtime on the CPU and, as far as that goes without one, on a GPU."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest

import clr_infer
from clr_infer.errors import ModelError, RuntimeUnavailable, WeightsError
from clr_infer.runtimes import onnx_sessions, onnxruntime_cuda
from clr_infer.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from clr_infer.runtimes.onnxruntime_cuda import BoundSession, OnnxRuntimeCuda
from clr_infer.specs import FRAME_PX, SPECS
from clr_infer.weights import MANIFEST, Weights, default_folder

CPU = ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def align():
    return onnx_sessions.open_session(Weights(), "align", onnxruntime.SessionOptions(), CPU)


@pytest.fixture
def copied(tmp_path):
    for path in default_folder().glob("*.*"):
        if path.suffix in (".onnx", ".json"):
            shutil.copy(path, tmp_path / path.name)
    return tmp_path


def _frames(count, seed=0):
    return np.random.default_rng(seed).random((count, 3, FRAME_PX, FRAME_PX), np.float32)


def _replace(folder, name, content):
    """Put a file into a folder of weights, and its sha256 into the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_batch_gives_what_its_images_give_alone():
    runtime = OnnxRuntimeCpu(Weights())
    frames, boxes = _frames(3), np.array([[0.1, 0.1, 0.9, 0.9]] * 3, np.float32)
    together = runtime.run("recover", {"aligned": frames, "crop_box": boxes})["recovered"]
    for i in range(3):
        inputs = {"aligned": frames[i : i + 1], "crop_box": boxes[i : i + 1]}
        np.testing.assert_array_equal(together[i], runtime.run("recover", inputs)["recovered"][0])


def test_threads_share_a_runtime():
    runtime, frames = OnnxRuntimeCpu(Weights()), _frames(4)
    alone = [runtime.run("align", {"received": f[None]})["aligned"] for f in frames]
    found = [None] * len(frames)

    def work(i):
        found[i] = runtime.run("align", {"received": frames[i : i + 1]})["aligned"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, got in zip(alone, found, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_memory_does_not_grow_with_the_batch():
    """Beyond what goes in and comes out, in a process of its own."""
    code = """
import resource, numpy as np, clr_infer
from clr_infer.specs import FRAME_PX
run = clr_infer.load("onnxruntime").runtime.run
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
frames = np.zeros((16, 3, FRAME_PX, FRAME_PX), np.float32)
run("protect", {"image": frames[:2]}); few = peak()
run("protect", {"image": frames}); print(peak() - few, 3 * frames.nbytes // 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    grown_mb, tensors_mb = map(int, done.stdout.split())
    assert grown_mb <= tensors_mb


@pytest.mark.parametrize("left_mb", [1, 5, 20])
def test_out_of_memory_is_a_typed_error(left_mb):
    """Address space is capped for real, in a process of its own: on reading, opening, running."""
    code = (
        f"left_mb = {left_mb}"
        + """
import resource, numpy as np, clr_infer
from clr_infer.specs import FRAME_PX
from clr_infer.errors import ModelError
run = clr_infer.load("onnxruntime", threads=1).runtime.run
frame = {"image": np.zeros((1, 3, FRAME_PX, FRAME_PX), np.float32)}
run("protect", frame)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + left_mb * 2**20, resource.RLIM_INFINITY))
try:
    run("recover", {"aligned": frame["image"], "crop_box": np.ones((1, 4), np.float32)})
except ModelError as error:
    print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
run("protect", frame)
"""
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("ModelError") and "memory" in done.stdout


def test_damaged_graphs_with_a_right_sha256_are_refused(copied):
    _replace(copied, "align.onnx", (copied / "align.onnx").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot load align"):
        OnnxRuntimeCpu(Weights(copied)).run("align", {"received": _frames(1)})


def test_the_graph_of_another_network_is_refused(copied):
    _replace(copied, "align.onnx", (copied / "protect.onnx").read_bytes())
    with pytest.raises(WeightsError, match="another network"):
        OnnxRuntimeCpu(Weights(copied)).run("align", {"received": _frames(1)})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Failed to allocate memory for a buffer"), ".*a buffer; .*smaller batches"),
        (RuntimeError("std::bad_alloc"), "std::bad_alloc; .*smaller batches"),
        (MemoryError(), "MemoryError; .*smaller batches"),
        (RuntimeError("a node has no kernel"), "a node has no kernel$"),
    ],
)
def test_a_failing_run_is_a_typed_error(error, words):
    def fail():
        raise error

    with pytest.raises(ModelError, match=f"failed on align: {words}"):
        onnx_sessions.outputs_of("align", fail)


def test_bound_tensors_agree_with_plain_runs(align):
    bound = BoundSession(align, SPECS["align"], FRAME_PX, "cpu")
    kept = []
    for batch, seed in ((1, 0), (2, 1), (1, 2)):
        frames = _frames(batch, seed)
        (expected,) = align.run(None, {"received": frames})
        kept.append((bound.run({"received": frames})["aligned"], expected))
    for got, expected in kept:  # at the end: an earlier result must not have been overwritten
        np.testing.assert_array_equal(got, expected)


def test_bound_batch_sizes_are_bounded(align, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "_BATCH_SIZES_MAX", 2)
    bound = BoundSession(align, SPECS["align"], FRAME_PX, "cpu")
    for batch in (1, 2, 3):
        bound.run({"received": _frames(batch)})
    assert list(bound._bound) == [2, 3]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has the provider"
)
@pytest.mark.parametrize("name", onnxruntime_cuda.PROVIDERS)
def test_a_missing_provider_says_what_to_install(name):
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime-gpu"):
        clr_infer.load(name)


@pytest.mark.gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs a GPU"
)
def test_the_gpu_agrees_with_the_cpu():
    frames, cpu = _frames(2), OnnxRuntimeCpu(Weights())
    runtime = OnnxRuntimeCuda(Weights())
    for batch in (1, 1, 2, 1):
        inputs = {"image": frames[:batch]}
        ours, expected = runtime.run("protect", inputs), cpu.run("protect", inputs)
        np.testing.assert_allclose(ours["residual"], expected["residual"], atol=1e-3)
    runtime.close()
