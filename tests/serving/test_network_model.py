"""What a network-level model in Python takes, and what runs it."""

from types import SimpleNamespace

import numpy as np
import pytest

from clr_infer.errors import InputError, ModelError, RuntimeUnavailable
from clr_infer.serving import network_model
from clr_infer.serving.network_model import NetworkModel, network_inputs
from clr_infer.specs import SPECS
from clr_infer.weights import Weights

FRAMES = np.zeros((2, 3, 64, 64), np.float32)


def test_one_value_of_each_image_comes_as_an_axis_and_goes_without():
    given = {"image": FRAMES, "qf": np.array([[50.0], [60.0]], np.float32)}
    found = network_inputs(SPECS["fg_jpeg"], 64, given)
    assert found["qf"].tolist() == [50.0, 60.0] and found["image"].shape == FRAMES.shape


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_named(value):
    frames = FRAMES.copy()
    frames[1, 2, 3, 4] = value
    with pytest.raises(InputError, match=r"align\.received holds NaN"):
        network_inputs(SPECS["align"], 64, {"received": frames})


@pytest.mark.parametrize(
    ("runtime", "on_gpu", "opened"),
    [
        ("auto", False, [("onnxruntime", 2)]),
        ("auto", True, [("torch",)]),
        ("openvino", True, [("openvino", 2)]),
    ],
)
def test_it_runs_in_pytorch_on_a_gpu_and_else_as_it_is_told(monkeypatch, runtime, on_gpu, opened):
    asked = []
    monkeypatch.setattr(
        network_model,
        "open_runtime",
        lambda name, weights, *threads: asked.append((name, *threads)),
    )
    network_model._open(runtime, Weights(), 2, on_gpu)
    assert asked == opened


def test_a_gpu_without_pytorch_leaves_the_cpu(monkeypatch):
    def opened(name, weights, *threads):
        if name == "torch":
            raise RuntimeUnavailable("no PyTorch here")
        return name, *threads

    monkeypatch.setattr(network_model, "open_runtime", opened)
    assert network_model._open("auto", Weights(), 2, True) == ("onnxruntime", 2)


def test_a_batch_that_fails_fails_for_those_alone_that_were_in_it(monkeypatch):
    model = NetworkModel()
    model._backend = SimpleNamespace(TritonError=SimpleNamespace(INVALID_ARG=3, INTERNAL=13))
    monkeypatch.setattr(model, "_failure", lambda error, code: (type(error).__name__, code))

    def read(request):
        if request == "bad":
            raise InputError("no")
        return {}

    def run(batch):
        assert batch
        raise ModelError("memory ran out")

    monkeypatch.setattr(model, "_read", read)
    monkeypatch.setattr(model, "_run", run)
    bad, failed = ("InputError", 3), ("ModelError", 13)
    assert model.execute(["bad", "good", "bad", "good"]) == [bad, failed, bad, failed]
    assert model.execute(["bad"]) == [bad]
