"""Engines: what is checked before one is opened, and how calls share one.

There is no running an engine without a GPU. The checks run on real engines; the sharing runs on
host memory in place of the device's, with ONNX Runtime in place of the engine, writing to the very
addresses that an engine would.
"""

import ctypes
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

import clr_infer
from clr_infer.engine_files import Sidecar, device_capability, plan_name, sidecar_name
from clr_infer.errors import EngineMismatch, ModelError, RuntimeUnavailable, WeightsError
from clr_infer.preprocess import to_frame
from clr_infer.runtimes.device_buffers import BACKENDS, Pair
from clr_infer.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from clr_infer.runtimes.tensorrt_engine import EngineLanes, TensorRtEngines
from clr_infer.specs import FRAME_PX, SPECS
from clr_infer.weights import MANIFEST, Weights

pytest.importorskip("tensorrt_rtx", exc_type=ImportError)

HAS_GPU = device_capability() is not None
SPEC = SPECS["align"]


@pytest.fixture
def engines(engine_folders, tmp_path):
    return shutil.copytree(engine_folders / "fp16", tmp_path / "fp16")


def _rewrite(folder, name, content):
    """Replace a file and, like a careful forger, its digest in the manifest."""
    import hashlib

    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def _edit_sidecar(folder, changes):
    path = folder / sidecar_name("localize")
    _rewrite(folder, path.name, json.dumps(json.loads(path.read_bytes()) | changes).encode())


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_engines_that_fit_still_need_a_gpu(engines):
    with pytest.raises(RuntimeUnavailable, match="NVIDIA GPU"):
        clr_infer.load("tensorrt-rtx", weights=engines)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": "1.0.0.0"}, "version 1.0.0.0"),
        ({"flavour": "tensorrt"}, "built by tensorrt,"),
        ({"network": "align"}, "engine of align"),
        ({"onnx_sha256": "00" * 32}, "another ONNX file"),
        ({"platform": "win32-amd64"}, "win32-amd64"),
        ({"plan_sha256": "00" * 32}, "sha256 differs"),
        ({"surprise": 1}, "fields"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(engines, changes, word):
    _edit_sidecar(engines, changes)
    with pytest.raises(EngineMismatch, match=word):
        clr_infer.load("tensorrt-rtx", weights=engines)


def test_a_changed_plan_is_refused_twice(engines):
    name = plan_name("recover")
    plan = bytearray((engines / name).read_bytes())
    plan[len(plan) // 2] ^= 1
    (engines / name).write_bytes(plan)
    with pytest.raises(WeightsError, match="sha256"):
        clr_infer.load("tensorrt-rtx", weights=engines)
    _rewrite(engines, name, bytes(plan))
    with pytest.raises(EngineMismatch, match="sha256"):
        clr_infer.load("tensorrt-rtx", weights=engines)


def test_another_onnx_file_beside_the_engine_is_refused(engines):
    _rewrite(engines, "align.onnx", Weights().read("align.onnx"))
    with pytest.raises(EngineMismatch, match="another ONNX file"):
        clr_infer.load("tensorrt-rtx", weights=engines)


def test_weights_without_engines_say_how_to_build_them():
    with pytest.raises(WeightsError, match="clr-infer export tensorrt"):
        clr_infer.load("tensorrt-rtx")


def test_a_missing_engine_is_named(engines):
    (engines / plan_name("protect")).unlink()
    with pytest.raises(WeightsError, match=r"protect\.plan"):
        clr_infer.load("tensorrt-rtx", weights=engines)


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_library_says_what_to_install(engines, monkeypatch, flavour):
    import sys

    monkeypatch.setitem(sys.modules, flavour.replace("-", "_"), None)
    with pytest.raises(RuntimeUnavailable, match=rf"clr_infer\[{flavour}\]"):
        clr_infer.load(flavour, weights=engines)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_without_a_gpu_the_library_itself_opens_nothing(engines):
    import tensorrt_rtx as trt

    runtime = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))
    assert runtime.deserialize_cuda_engine((engines / plan_name("align")).read_bytes()) is None


class HostBuffers:
    """Host memory on both sides, and a graph that is the work itself."""

    name = "host"
    stream = 7

    def __init__(self, room=1 << 30):
        self.room, self.captured, self.launched, self.released = room, 0, 0, False

    def pair(self, shape, dtype):
        self.room -= 2 * int(np.prod(shape)) * dtype.itemsize
        if self.room < 0:
            raise MemoryError("the device is full")
        device = np.full(shape, np.nan, dtype)
        return Pair(np.full(shape, np.nan, dtype), device.ctypes.data, device)

    def upload(self, pair):
        pair.owner[:] = pair.host

    def download(self, pair):
        pair.host[:] = pair.owner

    def synchronize(self):
        pass

    def capture(self, work):
        self.captured += 1

        def launch():
            self.launched += 1
            work()

        return launch

    def release(self):
        self.released = True


class HostContext:
    """Reads and writes addresses as an execution context does."""

    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.busy = engine, {}, {}, threading.Lock()

    def set_input_shape(self, name, shape):
        if not self.engine.batch_min <= shape[0] <= self.engine.batch_max:
            return False
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def _array(self, name, shape):
        count = int(np.prod(shape))
        raw = (ctypes.c_float * count).from_address(self.addresses[name])
        return np.ctypeslib.as_array(raw).reshape(shape)

    def execute_async_v3(self, stream):
        assert stream == HostBuffers.stream
        if self.engine.fails:
            return False
        assert self.busy.acquire(blocking=False), "two threads share a context"
        feeds = {name: self._array(name, shape) for name, shape in self.shapes.items()}
        names = [tensor.name for tensor in SPEC.outputs]
        for name, value in zip(names, self.engine.session.run(names, feeds), strict=True):
            self._array(name, value.shape)[:] = value
        self.busy.release()
        return True


class HostEngine:
    """Makes contexts."""

    def __init__(self, batch_max=4, batch_min=1):
        graph = Weights().read("align.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph, options)
        self.batch_min, self.batch_max = batch_min, batch_max
        self.fails, self.contexts = False, 0

    def create_execution_context(self):
        self.contexts += 1
        return HostContext(self)


@pytest.fixture(scope="module")
def frames(coffee, rocket):
    return np.stack([to_frame(image, FRAME_PX) for image in (coffee, rocket)])


class Bench:
    """An engine on the host with its lanes and every stream that was opened."""

    def __init__(self, batch_max=4, lanes=2, room=1 << 30, batch_min=1):
        self.engine, self.streams, self.room = HostEngine(batch_max, batch_min), [], room
        self.lanes = EngineLanes(self.engine, SPEC, FRAME_PX, batch_max, self._open, lanes)

    def _open(self):
        self.streams.append(HostBuffers(self.room))
        return self.streams[-1]

    def run(self, received):
        return self.lanes.run({"received": received})["aligned"]


def _expected(received):
    return OnnxRuntimeCpu(Weights(), 1).run("align", {"received": received})["aligned"]


def test_results_are_the_networks_and_belong_to_the_caller(frames):
    bench = Bench()
    first = bench.run(frames)
    np.testing.assert_allclose(first, _expected(frames), atol=1e-6)
    kept = first.copy()
    bench.run(1.0 - frames)
    np.testing.assert_array_equal(first, kept)


def test_each_batch_size_is_captured_once_after_its_first_run(frames):
    bench = Bench()
    for _ in range(3):
        np.testing.assert_allclose(bench.run(frames[:1]), _expected(frames[:1]), atol=1e-6)
    assert [(s.captured, s.launched) for s in bench.streams] == [(1, 2)]
    bench.run(frames)
    assert bench.engine.contexts == len(bench.streams) == 2


def test_large_batches_are_run_in_pieces(frames):
    bench = Bench(batch_max=2)
    many = np.concatenate([frames, frames[::-1], frames[:1]])
    np.testing.assert_allclose(bench.run(many), _expected(many), atol=1e-6)
    assert bench.engine.contexts == 2  # of two and of one


def test_memory_is_bounded_by_lanes_and_batch_sizes(frames):
    bench = Bench(batch_max=6, lanes=1)
    for batch in range(1, 7):
        bench.run(np.repeat(frames[:1], batch, axis=0))
    assert [stream.released for stream in bench.streams] == [True] * 2 + [False] * 4
    bench.lanes.close()
    assert all(stream.released for stream in bench.streams)


def test_threads_never_share_a_context(frames):
    bench = Bench(lanes=2)
    inputs = [np.clip(frames[i % 2][None] * (0.5 + 0.1 * i), 0, 1) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(bench.run, inputs))
    for received, result in zip(inputs, results, strict=True):
        np.testing.assert_allclose(result, _expected(received), atol=1e-6)
    assert bench.engine.contexts <= 2


def test_a_failed_run_is_a_typed_error_and_the_next_one_works(frames):
    bench = Bench(lanes=1)
    bench.engine.fails = True
    with pytest.raises(ModelError, match="align failed on the GPU"):
        bench.run(frames)
    assert bench.streams[0].released
    bench.engine.fails = False
    np.testing.assert_allclose(bench.run(frames), _expected(frames), atol=1e-6)


def test_a_lane_that_cannot_be_freed_is_given_up_all_the_same(frames, monkeypatch):
    """As PyCUDA in a broken context: every call raises, also those that free."""

    def broken(_):
        raise OSError("the context is broken")

    bench = Bench(lanes=1)
    bench.run(frames[:1])
    bench.run(frames)
    bench.engine.fails = True
    with monkeypatch.context() as patch:
        patch.setattr(bench.streams[0], "release", broken.__get__(bench.streams[0]))
        with pytest.raises(ModelError, match="TensorRT could not run align"):
            bench.run(frames)
    assert bench.streams[1].released
    bench.engine.fails = False
    np.testing.assert_allclose(bench.run(frames), _expected(frames), atol=1e-6)
    assert len(bench.streams) == 3


def test_a_batch_that_the_engine_does_not_take_is_a_typed_error(frames):
    bench = Bench(batch_min=2)
    with pytest.raises(ModelError, match="no batch of 1; build it with a least batch of 1"):
        bench.run(frames[:1])
    np.testing.assert_allclose(bench.run(frames), _expected(frames), atol=1e-6)


def test_out_of_memory_says_to_use_smaller_batches(frames):
    bench = Bench(lanes=1, room=16 * 2**20)
    with pytest.raises(ModelError, match="smaller batches"):
        bench.run(frames)
    assert bench.streams[0].released
    assert bench.run(frames[:1]).shape == (1, 3, FRAME_PX, FRAME_PX)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
@pytest.mark.parametrize("library", BACKENDS)
def test_real_engines_agree_with_onnx_runtime(engine_folders, raccoon, library):
    weights = Weights(engine_folders / "fp32")
    try:
        runtime = TensorRtEngines(weights, "tensorrt-rtx", library)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    reference = OnnxRuntimeCpu(weights)
    frame = to_frame(raccoon, runtime.size)[None]
    for batch in (1, 1, 1, 3):
        inputs = {"image": np.repeat(frame, batch, axis=0)}
        ours = runtime.run("protect", inputs)["residual"]
        np.testing.assert_allclose(ours, reference.run("protect", inputs)["residual"], atol=1e-3)
    runtime.close()


def test_sidecars_of_real_engines_can_be_read_by_people(engines):
    text = (engines / sidecar_name("protect")).read_text("utf-8")
    assert Sidecar.from_json(text.encode()).precision == "fp16"
    assert text.count("\n") > 10
