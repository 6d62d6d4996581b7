"""PyTorch with options: what a CPU can run of them, held against the eager reference."""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import clr_infer
from clr_infer.errors import ModelError, RuntimeUnavailable, UsageError
from clr_infer.runtimes.torch_eager import TorchEager, cpu_threads
from clr_infer.runtimes.torch_graphs import GraphedNetwork
from clr_infer.runtimes.torch_options import TorchOptions
from clr_infer.specs import FRAME_PX
from clr_infer.weights import Weights

BOX = np.array([[0.1, 0.15, 0.9, 0.95]], np.float32)


@pytest.fixture(scope="module")
def eager():
    return TorchEager(Weights(), "cpu")


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).random((1, 3, FRAME_PX, FRAME_PX), np.float32)


def test_options_are_read_off_the_name():
    assert TorchOptions.from_name("torch") == TorchOptions()
    found = TorchOptions.from_name("torch+compile+channels-last+bf16")
    assert found == TorchOptions(compile=True, channels_last=True, precision="bf16")


@pytest.mark.parametrize("name", ["torch+", "torch+fast", "torch+bf16+bf16", "torch+bf16+fp16"])
def test_options_that_make_no_sense_are_refused(name):
    with pytest.raises(UsageError, match="options"):
        clr_infer.load(name)


def test_it_takes_as_many_threads_as_are_asked_for(frame, monkeypatch):
    runtime, before, seen = clr_infer.load("torch", threads=1).runtime, torch.get_num_threads(), []
    align = runtime._networks["align"]
    monkeypatch.setitem(
        runtime._networks,
        "align",
        lambda *given: (seen.append(torch.get_num_threads()), align(*given))[1],
    )
    runtime.run("align", {"received": frame})
    assert seen == [1] and torch.get_num_threads() == before


def test_threads_are_given_back_after_a_failure():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), cpu_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "tolerance"),
    # bfloat16 has 8 bits of mantissa: through some 20 layers, half a level of 255 is lost
    [("+channels-last", 1e-5), ("+bf16", 2e-2), ("+channels-last+fp16", 3e-3)],
)
def test_options_keep_what_eager_gives(eager, frame, options, tolerance):
    runtime = TorchEager(Weights(), "cpu", f"torch{options}")
    assert runtime.name == f"torch{options}"
    inputs = {"aligned": frame, "crop_box": BOX}
    ours, expected = runtime.run("recover", inputs), eager.run("recover", inputs)
    assert ours["recovered"].dtype == np.float32
    difference = np.abs(ours["recovered"] - expected["recovered"])
    assert difference.mean() < tolerance
    if "16" in options:
        assert difference.max() > 0  # it did compute in 16 bits


@pytest.mark.slow
def test_compiled_networks_agree_with_eager_ones(eager, frame):
    runtime = TorchEager(Weights(), "cpu", "torch+compile")
    ours = runtime.run("align", {"received": frame})["aligned"]
    np.testing.assert_allclose(ours, eager.run("align", {"received": frame})["aligned"], atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_graphs_need_a_gpu():
    with pytest.raises(RuntimeUnavailable, match=r"\+graphs"):
        clr_infer.load("torch+graphs")


@pytest.fixture
def modes(monkeypatch):
    """How each graph was recorded; they are recorded without a GPU, and replay nothing."""
    modes = []

    class Stream:
        def wait_stream(self, _):
            pass

    class Graph:
        def replay(self):
            pass

    def recording(graph, capture_error_mode="global"):
        modes.append(capture_error_mode)
        return contextlib.nullcontext()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    return modes


def test_a_graph_is_recorded_while_other_threads_go_on(modes):
    """Recorded globally, an allocation of another thread would break it."""
    (found,) = GraphedNetwork(torch.nn.ReLU())(torch.tensor([-1.0, 2.0]))
    assert found.tolist() == [0.0, 2.0] and modes == ["thread_local"]


def test_graphs_are_kept_for_the_batch_sizes_used_last(modes):
    graphed = GraphedNetwork(torch.nn.ReLU())
    for batch in (*range(1, 9), 1, 9):
        graphed(torch.zeros(batch))
    assert list(graphed._graphs) == [3, 4, 5, 6, 7, 8, 1, 9] and len(modes) == 9


def test_a_graph_reads_what_is_given_and_gives_results_of_their_own(modes):
    graphed = GraphedNetwork(torch.nn.ReLU())
    graphed(torch.tensor([1.0]))
    (found,) = graphed(torch.tensor([5.0]))
    _, (held,), (output,) = graphed._graphs[1]
    assert held.tolist() == [5.0] and found.data_ptr() != output.data_ptr()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", ["+graphs", "+graphs+channels-last", "+compile+graphs"])
def test_graphs_agree_with_eager_networks(frame, options):
    eager, graphed = (TorchEager(Weights(), "cuda", f"torch{o}") for o in ("", options))
    for batch in (1, 1, 2, 1):
        inputs = {"received": np.repeat(frame, batch, axis=0)}
        ours, expected = graphed.run("align", inputs), eager.run("align", inputs)
        np.testing.assert_allclose(ours["aligned"], expected["aligned"], atol=1e-3)


def test_out_of_memory_is_a_typed_error(eager, frame, monkeypatch):
    def take_too_much(received):
        return torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setitem(eager._networks, "align", take_too_much)
    with pytest.raises(ModelError, match="smaller batches"):
        eager.run("align", {"received": frame})


def test_a_compiler_that_is_missing_is_a_typed_error(frame, tmp_path):
    """In a process of its own, which finds no compiler and nothing compiled before."""
    code = """
import numpy as np, clr_infer
from clr_infer.specs import FRAME_PX
run = clr_infer.load("torch+compile").runtime.run
try:
    run("align", {"received": np.zeros((1, 3, FRAME_PX, FRAME_PX), np.float32)})
except clr_infer.ModelError as error:
    print(error)
"""
    empty = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "CXX": "missing"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **empty},
    )
    assert "leave +compile out" in done.stdout
