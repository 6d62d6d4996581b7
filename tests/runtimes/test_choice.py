"""Which runtime is taken, what the others say, and how one is ended."""

import gc
import logging
import weakref
from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch

import clr_infer
from clr_infer import runtimes
from clr_infer.engine_files import device_capability
from clr_infer.env import describe_environment
from clr_infer.errors import ModelError, RuntimeUnavailable, UsageError
from clr_infer.pixels import HostPixels
from clr_infer.runtimes import RUNTIMES, open_runtime, why_not
from clr_infer.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from clr_infer.runtimes.onnxruntime_cuda import PROVIDERS
from clr_infer.runtimes.torch_eager import TorchEager
from clr_infer.specs import FRAME_PX
from clr_infer.weights import Weights


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch):
    monkeypatch.setattr(runtimes, "_logged", set())


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(runtimes, "device_capability", lambda: None)
    monkeypatch.setattr(runtimes, "multiplies_int8", lambda: False)


@pytest.mark.parametrize("name", ["auto", "onnxruntime", "torch"])
def test_there_must_be_a_thread(name):
    with pytest.raises(UsageError, match="threads must be at least 1, not 0"):
        open_runtime(name, Weights(), 0)


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
def test_the_embedded_runtime_takes_as_many_threads_as_are_asked_for(no_gpu, name):
    assert open_runtime(name, Weights(), 3)._options().intra_op_num_threads == 3
    assert open_runtime(name, Weights())._options().intra_op_num_threads == 0  # all cores


def test_auto_takes_the_embedded_runtime_without_a_gpu_and_says_so_once(no_gpu, caplog):
    with caplog.at_level(logging.INFO, logger="clr_infer"):
        assert open_runtime("auto", Weights()).name == "onnxruntime"
        open_runtime("auto", Weights())
    assert [r.message for r in caplog.records if "runtime:" in r.message] == [
        "runtime: onnxruntime"
    ]


def test_auto_asks_for_the_fastest_first_on_a_gpu(monkeypatch):
    monkeypatch.setattr(runtimes, "device_capability", lambda: "9.0")
    monkeypatch.setattr(runtimes, "multiplies_int8", lambda: False)
    weights = Weights()
    assert list(runtimes._by_speed(weights)) == ["torch", "onnxruntime-cuda", "onnxruntime"]
    weights.manifest["precision"] = "fp16"
    weights.manifest["files"].update({f"{n}.plan": "" for n in runtimes.SPECS})
    names = ["tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "onnxruntime"]
    assert list(runtimes._by_speed(weights)) == names


def test_auto_passes_over_what_does_not_work(monkeypatch):
    monkeypatch.setattr(runtimes, "_by_speed", lambda weights: ["tensorrt", "onnxruntime"])
    from clr_infer.runtimes import tensorrt_engine

    def missing(*_):
        raise RuntimeUnavailable("no such library here")

    monkeypatch.setattr(tensorrt_engine, "TensorRtEngines", missing)
    assert open_runtime("auto", Weights()).name == "onnxruntime"


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_auto_takes_no_torch_that_does_not_see_the_gpu(monkeypatch):
    monkeypatch.setattr(runtimes, "device_capability", lambda: "9.0")
    monkeypatch.setattr(runtimes, "multiplies_int8", lambda: False)
    assert open_runtime("auto", Weights()).name == "onnxruntime"
    with pytest.raises(RuntimeUnavailable, match="sees no GPU"):
        TorchEager(Weights(), "cuda")


@pytest.mark.skipif(device_capability() is not None, reason="has a GPU")
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_that_is_listed_but_does_not_start_is_passed_over(monkeypatch, name):
    listed = [PROVIDERS[name], "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    assert "does not start here" in why_not(name, Weights())
    monkeypatch.setattr(runtimes, "_by_speed", lambda weights: [name, "onnxruntime"])
    assert open_runtime("auto", Weights()).name == "onnxruntime"


def test_env_says_which_runtimes_work_and_why_others_do_not(no_gpu):
    found = describe_environment()["runtimes"]
    assert set(found) == set(RUNTIMES)
    assert found["onnxruntime"] == "works" == found["torch"]
    if found["onnxruntime-cuda"] != "works":
        assert "pip install" in found["onnxruntime-cuda"]
    assert why_not("tensorrt-rtx", Weights()) == found["tensorrt-rtx"]


def test_warming_up_opens_every_network_of_the_pipeline():
    session = clr_infer.load("onnxruntime")
    session.warm_up(2)
    assert set(session.runtime._sessions) == {"protect", "align", "localize", "recover"}


def test_warming_up_runs_networks_twice_and_touches_pixels(monkeypatch):
    """Engines record their graphs in the second run; a device compiles kernels for pixels."""
    session, done = clr_infer.load("onnxruntime"), []
    pixels = HostPixels()

    def noted(owner, name):
        inner = getattr(owner, name)

        def call(*given):
            done.append(given[0] if name == "run" else name)
            return inner(*given)

        monkeypatch.setattr(owner, name, call)

    monkeypatch.setattr(session.runtime, "pixels", pixels)
    noted(session.runtime, "run")
    for name in ("preprocess", "residual_merge", "composite"):
        noted(pixels, name)
    session.warm_up()
    networks = {"protect", "align", "localize", "recover"}
    assert Counter(done) == {
        **dict.fromkeys(networks, 2),
        **dict.fromkeys(("preprocess", "residual_merge", "composite"), 1),
    }


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_closing_frees_the_networks(name):
    with clr_infer.load(name) as session:
        runtime = session.runtime
        session.locate(np.zeros((64, 64, 3), np.uint8))
        held = runtime._sessions if name == "onnxruntime" else runtime._networks
        network = weakref.ref(held["localize"])
    session.close()
    gc.collect()
    assert network() is None


def test_torch_says_that_it_was_closed():
    session = clr_infer.load("torch")
    session.close()
    with pytest.raises(ModelError, match="load it again"):
        session.locate(np.zeros((64, 64, 3), np.uint8))


def test_the_embedded_runtime_may_be_used_again_after_closing():
    runtime = OnnxRuntimeCpu(Weights(), 1)
    inputs = {"received": np.zeros((1, 3, FRAME_PX, FRAME_PX), np.float32)}
    before = runtime.run("localize", inputs)["score"]
    runtime.close()
    np.testing.assert_array_equal(runtime.run("localize", inputs)["score"], before)
