"""A graph that is not its network is refused, and so is a precision that loses too much."""

import numpy as np
import onnx
import pytest
import torch
from clr_infer.export import validate
from clr_infer.export.onnx_folder import PRECISIONS
from clr_infer.export.precision import to_half
from clr_infer.export.validate import QUALITY_LIMITS, TOLERANCES, check_quality, validate_onnx
from onnx import numpy_helper

from clr_infer.errors import ModelError
from clr_infer.networks.served import load_served
from clr_infer.preprocess import to_frame
from clr_infer.specs import SPECS
from clr_infer.weights import Weights


@pytest.fixture(scope="module")
def align(coffee):
    weights = Weights()
    graph = onnx.load_from_string(weights.read("align.onnx"))
    inputs = {"received": to_frame(coffee, weights.size)[None]}
    return load_served(weights)["align"], graph, inputs


def _changed(graph: onnx.ModelProto, change) -> bytes:  # noqa: ANN001
    copy = onnx.ModelProto.FromString(graph.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name == "head.bias":
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(change(values), tensor.name))
    return copy.SerializeToString()


def test_tolerances_cover_every_output_and_precision():
    assert set(TOLERANCES) == {(s.name, t.name) for s in SPECS.values() for t in s.outputs}
    assert all(tuple(table) == PRECISIONS for table in TOLERANCES.values())
    assert tuple(QUALITY_LIMITS) == PRECISIONS


@pytest.mark.parametrize("name", SPECS)
def test_the_shipped_graphs_are_their_networks(session, coffee, name):
    weights, received = Weights(), session.protect(coffee).image[20:380, 60:560]
    frame, part = (to_frame(image, weights.size)[None] for image in (coffee, received))
    box = np.array([[60 / 600, 20 / 400, 560 / 600, 380 / 400]], np.float32)
    inputs = {
        "protect": {"image": frame},
        "align": {"received": part},
        "localize": {"received": np.concatenate([part, frame])},
        "recover": {"aligned": part, "crop_box": box},
        "fg_jpeg": {"image": frame, "qf": np.array([60.0], np.float32)},
    }
    graph = weights.read(f"{name}.onnx")
    assert validate_onnx(load_served(weights)[name], SPECS[name], graph, inputs[name])


def test_what_differs_by_rounding_is_said(align):
    network, graph, inputs = align
    found = validate_onnx(network, SPECS["align"], graph.SerializeToString(), inputs)
    assert 0 <= found["aligned"] < 1e-5


@pytest.mark.parametrize("change", [lambda v: v + 0.01, lambda v: v * np.float32("nan")])
def test_another_graph_is_refused(align, change):
    network, graph, inputs = align
    with pytest.raises(ModelError, match=r"align\.aligned in fp32 differs"):
        validate_onnx(network, SPECS["align"], _changed(graph, change), inputs)


@pytest.mark.parametrize(
    ("everywhere", "somewhere", "refused"),
    [(0.0, 0.09, False), (0.0, 0.11, True), (0.009, 0.09, False), (0.02, 0.02, True)],
)
def test_the_largest_difference_and_their_mean_have_a_limit_each(
    monkeypatch, everywhere, somewhere, refused
):
    other = np.full((1, 3, 64, 64), everywhere, np.float32)
    other[0, 1, 20, 30] = -somewhere
    monkeypatch.setattr(validate, "_run", lambda *_: [other])
    monkeypatch.setitem(TOLERANCES, ("align", "aligned"), {"fp32": (0.1, 0.01)})
    given = (torch.zeros_like, SPECS["align"], b"", {"received": np.zeros_like(other)})
    if refused:
        with pytest.raises(ModelError, match=r"align\.aligned in fp32 differs"):
            validate_onnx(*given)
    else:
        assert validate_onnx(*given) == {"aligned": pytest.approx(somewhere)}


def test_16_bits_are_not_mistaken_for_32(align):
    network, graph, inputs = align
    half = to_half(graph, "bf16").SerializeToString()
    assert validate_onnx(network, SPECS["align"], half, inputs, "bf16")["aligned"] > 1e-5
    with pytest.raises(ModelError, match="cannot run align in fp32"):
        validate_onnx(network, SPECS["align"], half, inputs)
    with pytest.raises(ModelError, match="fp16 differs"):
        validate_onnx(network, SPECS["align"], half, inputs, "fp16")


def test_quality_limits_hold_each_measure():
    lost = dict.fromkeys(QUALITY_LIMITS["fp16"], 0.0)
    check_quality(lost, "fp16")
    for measure in lost:
        for bad in (1.0, float("nan")):
            with pytest.raises(ModelError, match=f"fp16 loses .* of {measure}"):
                check_quality(lost | {measure: bad}, "fp16")
