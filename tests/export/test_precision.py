"""16 bits where the network bears it, float32 elsewhere; and what such a graph computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from clr_infer.export.precision import HALVES, emulate_half, learned_layers, to_half
from onnx import TensorProto, helper, numpy_helper

from clr_infer.errors import InputError
from clr_infer.networks.served import load_served
from clr_infer.specs import SPECS
from clr_infer.weights import Weights

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def graphs():
    weights = Weights()
    return {name: onnx.load_from_string(weights.read(f"{name}.onnx")) for name in SPECS}


def test_every_trained_layer_of_the_networks_is_found(graphs):
    networks = load_served(Weights())
    for name in ("protect", "align", "recover"):
        convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in networks[name].modules())
        assert len(learned_layers(graphs[name])) == convolutions
    assert len(learned_layers(graphs["fg_jpeg"])) == 6  # stem, middle, head of luma and chroma
    assert learned_layers(graphs["localize"]) == []


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("network", SPECS)
def test_only_what_bears_it_has_16_bits(graphs, network, precision):
    before = graphs[network].SerializeToString()
    model = to_half(graphs[network], precision)
    onnx.checker.check_model(model)
    assert graphs[network].SerializeToString() == before
    types = {t.name: t.data_type for t in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    for node in model.graph.node:
        if node.op_type == "Conv":
            learned = node.input[1].endswith(".weight.half")
            assert types[node.input[1]] == (HALVES[precision] if learned else TensorProto.FLOAT)
    learned = {node.output[0] for node in learned_layers(graphs[network])}
    weights = {n.input[1] for n in model.graph.node if n.output[0] in learned}
    assert len(weights) == len(learned)
    assert all(types[name] == HALVES[precision] for name in weights)


def test_a_graph_with_nothing_to_halve_stays_what_it_is(graphs):
    model = to_half(graphs["localize"], "fp16")
    assert list(model.graph.node) == list(graphs["localize"].graph.node)


def test_16_bits_halve_the_files_of_the_learned_networks(graphs):
    for name in ("protect", "align", "recover"):
        assert to_half(graphs[name], "bf16").ByteSize() < 0.55 * graphs[name].ByteSize()


def _small_graph() -> tuple[onnx.ModelProto, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "a.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator),
        "b.weight": torch.randn(2, 4, 1, 1, generator=generator),
        "b.bias": torch.randn(2, generator=generator),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["a"], ["r"], alpha=0.1),
        helper.make_node("Conv", ["r", "b.weight", "b.bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 7, 9))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 2, 7, 9))],
        [numpy_helper.from_array(value.numpy(), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), tensors


@pytest.mark.parametrize("precision", HALVES)
def test_emulation_rounds_every_tensor_once(precision):
    model, tensors = _small_graph()
    x = torch.randn(3, 3, 7, 9, generator=torch.Generator().manual_seed(1))

    def rounded(value: torch.Tensor) -> torch.Tensor:
        return value.to(DTYPES[precision]).float()

    w = {name: rounded(value) for name, value in tensors.items()}
    a = rounded(F.conv2d(rounded(x), w["a.weight"], w["a.bias"], padding=1))
    expected = rounded(F.conv2d(rounded(F.leaky_relu(a, 0.1)), w["b.weight"], w["b.bias"]))
    emulated = emulate_half(to_half(model, precision))
    session = onnxruntime.InferenceSession(emulated.SerializeToString())
    (found,) = session.run(None, {"x": x.numpy()})
    step = 2.0 ** (-10 if precision == "fp16" else -7)  # of one rounding, where sums tie
    np.testing.assert_allclose(found, expected.numpy(), rtol=step, atol=step)
    assert (found == expected.numpy()).mean() > 0.99
    full = F.conv2d(
        F.leaky_relu(F.conv2d(x, tensors["a.weight"], tensors["a.bias"], padding=1), 0.1),
        tensors["b.weight"],
        tensors["b.bias"],
    )
    assert not np.array_equal(found, full.numpy())


def test_unknown_precisions_are_refused():
    with pytest.raises(InputError, match="fp16, bf16"):
        to_half(_small_graph()[0], "fp12")
