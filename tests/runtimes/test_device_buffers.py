"""Which library reaches the GPU; the libraries themselves, where there is one."""

import sys

import numpy as np
import pytest

from clr_infer.engine_files import device_capability
from clr_infer.errors import RuntimeUnavailable
from clr_infer.runtimes.device_buffers import BACKENDS, choose_backend

HAS_GPU = device_capability() is not None


class _Works:
    def release(self):
        pass


def _missing():
    raise ImportError("not installed")


def _no_gpu():
    raise OSError("no driver")


def test_the_first_that_works_is_taken():
    backends = {"a": _missing, "b": _no_gpu, "c": _Works, "d": _Works}
    assert choose_backend(backends=backends) is _Works
    assert choose_backend("d", backends) is _Works


def test_the_stream_that_was_opened_to_try_is_freed():
    freed = []

    class Noted(_Works):
        def release(self):
            freed.append(self)

    assert choose_backend(backends={"a": Noted, "b": _Works}) is Noted and len(freed) == 1


def test_each_reason_is_given_when_none_works():
    with pytest.raises(RuntimeUnavailable, match="a: not installed; b: no driver"):
        choose_backend(backends={"a": _missing, "b": _no_gpu})


def test_a_wish_that_cannot_be_met_is_refused():
    backends = {"a": _Works, "b": _no_gpu}
    with pytest.raises(RuntimeUnavailable, match="b: no driver"):
        choose_backend("b", backends)
    with pytest.raises(RuntimeUnavailable, match="no device library 'c'"):
        choose_backend("c", backends)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.parametrize("name", BACKENDS)
def test_without_a_gpu_each_library_says_why(name):
    with pytest.raises(RuntimeUnavailable, match=f"{name}: "):
        choose_backend(name)


@pytest.mark.parametrize(
    ("name", "module"),
    [("cuda-python", "cuda.bindings"), ("torch", "torch"), ("pycuda", "pycuda")],
)
def test_missing_libraries_are_no_crash(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeUnavailable, match=name):
        choose_backend(name)


def test_cuda_python_waits_for_no_default_stream(monkeypatch):
    made = []

    def create(flags):
        made.append(flags)
        return runtime.cudaError_t.cudaSuccess, 7

    runtime = pytest.importorskip("cuda.bindings.runtime", exc_type=ImportError)
    monkeypatch.setattr(runtime, "cudaSetDevice", lambda _: (runtime.cudaError_t.cudaSuccess,))
    monkeypatch.setattr(runtime, "cudaStreamCreateWithFlags", create)
    assert BACKENDS["cuda-python"]().stream == 7
    assert made == [runtime.cudaStreamNonBlocking]


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
@pytest.mark.parametrize("name", BACKENDS)
def test_what_goes_up_comes_down_and_graphs_replay(name):
    try:
        buffers = choose_backend(name)()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    pair = buffers.pair(values.shape, values.dtype)
    pair.host[:] = values

    def up() -> None:
        buffers.upload(pair)

    up()
    buffers.synchronize()
    pair.host[:] = 0
    buffers.download(pair)
    buffers.synchronize()
    np.testing.assert_array_equal(pair.host, values)
    launch = buffers.capture(up)
    assert (launch is None) == (name == "pycuda")
    if launch is not None:
        pair.host[:] = -values
        launch()
        buffers.synchronize()
        pair.host[:] = 0
        buffers.download(pair)
        buffers.synchronize()
        np.testing.assert_array_equal(pair.host, -values)
    buffers.release()
