"""INT8: where the nodes are, what their scales are like, and that nothing else changed."""

import numpy as np
import onnx
import pytest
from clr_infer.export.precision import learned_layers
from clr_infer.export.quantize import quantised_layers, to_int8
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from clr_infer.errors import InputError
from clr_infer.specs import FRAME_PX
from clr_infer.weights import Weights


@pytest.fixture(scope="module")
def align():
    return onnx.load_from_string(Weights().read("align.onnx"))


@pytest.fixture(scope="module")
def quantised(align, coffee):
    from clr_infer.preprocess import to_frame

    return to_int8(align, {"received": to_frame(coffee, FRAME_PX)[None]})


def test_each_learned_convolution_reads_8_bits_on_both_sides(align, quantised):
    producers = {node.output[0]: node for node in quantised.graph.node}
    convolutions = [n for n in quantised.graph.node if n.name in quantised_layers(align)]
    assert len(convolutions) == len(learned_layers(align)) == 6
    for node in convolutions:
        assert [producers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert producers[producers[node.input[0]].input[0]].op_type == "QuantizeLinear"


def test_scales_are_symmetric_and_per_channel_for_weights(quantised):
    constants = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    weights = {name: value for name, value in constants.items() if value.dtype == np.int8}
    zero_points = [value for name, value in weights.items() if name.endswith("zero_point")]
    assert zero_points and all(not value.any() for value in zero_points)
    for name, value in weights.items():
        if value.ndim == 4:
            scale = constants[name.replace("_quantized", "_scale")]
            assert scale.shape == (value.shape[0],) and np.abs(value).max() == 127


def test_names_and_facts_survive(align, quantised):
    assert [v.name for v in quantised.graph.output] == [v.name for v in align.graph.output]
    assert list(quantised.metadata_props) == list(align.metadata_props)
    onnx.checker.check_model(quantised)


def test_values_that_hardly_differ_are_covered_whole():
    weights = np.ones((2, 1, 1, 1), np.float32)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "conv.weight"], ["y"], name="conv")],
            "one convolution",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 32, 32])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 32, 32])],
            [numpy_helper.from_array(weights, "conv.weight")],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
    )
    noise = np.random.default_rng(0).normal(size=(1, 1, 32, 32)) * 1e-5
    x = (5.0 + noise).astype(np.float32)
    quantised = to_int8(model, {"x": x})
    assert [n.op_type for n in quantised.graph.node].count("DequantizeLinear") == 2
    (y,) = ReferenceEvaluator(quantised).run(None, {"x": x})
    np.testing.assert_allclose(y, 5.0, atol=0.05)


def test_networks_without_convolutions_are_left_alone():
    for name in ("localize", "fg_jpeg"):
        model = onnx.load_from_string(Weights().read(f"{name}.onnx"))
        assert to_int8(model, {}) == model


def test_calibration_needs_images(align):
    with pytest.raises(InputError, match="photographs"):
        to_int8(align, {"received": np.zeros((0, 3, FRAME_PX, FRAME_PX), np.float32)})
