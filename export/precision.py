"""Lower precision written into an ONNX graph: casts around the layers that bear it.

The learned convolutions and linear layers hold nearly all of the arithmetic and bear 16 bits;
what follows them alone (activations, sums, rearrangements) stays in 16 bits with them. All else
is left in float32: blurs and high passes, which weigh a residual of a few levels against the whole
image, the placing of the fragment, the DCT, the matched filter, every mean and every norm. Inputs
and outputs are float32 in every precision, so that runtimes and servers need not know it.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError

__all__ = ["HALVES", "emulate_half", "learned_layers", "to_half"]

HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

_FOLLOWERS = {
    "Add",
    "AveragePool",
    "Concat",
    "DepthToSpace",
    "LeakyRelu",
    "Reshape",
    "Resize",
    "Tile",
    "Transpose",
}
_DATA_INPUTS = {"Reshape": 1, "Resize": 1, "Tile": 1}
"""How many of a node's inputs carry the data; the others are shapes and the like."""


def learned_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The convolutions and linear layers whose weights were trained, in the graph's order.

    A trained convolution takes its weights under their name in the network, ``*.weight``; a linear
    layer is a product with a constant to which a ``*.bias`` is added.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    biased = {
        name
        for node in model.graph.node
        if node.op_type == "Add" and any(_is_bias(word, constants) for word in node.input)
        for name in node.input
    }
    return [
        node
        for node in model.graph.node
        if (node.op_type == "Conv" and node.input[1].endswith(".weight"))
        or (node.op_type == "MatMul" and node.input[1] in constants and node.output[0] in biased)
    ]


def _is_bias(name: str, constants: Iterable[str]) -> bool:
    return name.endswith(".bias") and name in constants


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    return list(node.input)[: _DATA_INPUTS.get(node.op_type, len(node.input))]


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    """What the learned layers make, and whatever is made of nothing else."""
    constants = {tensor.name for tensor in model.graph.initializer}
    half = {node.output[0] for node in learned_layers(model)}
    for node in model.graph.node:  # in topological order
        if node.op_type in _FOLLOWERS and all(
            name in half or _is_bias(name, constants) for name in _data_inputs(node)
        ):
            half.add(node.output[0])
    return half


def to_half(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Put the learned layers of a float32 graph into 16 bits.

    Args:
        model: as :func:`.to_onnx.export_onnx` makes it; left as it is.
        precision: ``"fp16"`` or ``"bf16"``.

    Returns:
        The same graph with casts; its inputs and outputs are float32.

    Raises:
        InputError: the precision is neither of the two.
    """
    if precision not in HALVES:
        raise InputError(f"16-bit precisions are {', '.join(HALVES)}, not {precision!r}")
    dtype, made = HALVES[precision], _half_tensors(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    casts: set[str] = set()
    halved: dict[str, TensorProto] = {}

    def cast(name: str, to: int, suffix: str) -> str:
        if (target := f"{name}.{suffix}") not in casts:
            casts.add(target)
            nodes.append(helper.make_node("Cast", [name], [target], f"cast_{target}", to=to))
        return target

    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        inside = node.output[0] in made
        for index, name in enumerate(_data_inputs(node) if inside else node.input):
            if inside and name in constants:
                halved[name] = _half_constant(constants[name], dtype)
                node.input[index] = halved[name].name
            elif inside and name not in made:
                node.input[index] = cast(name, dtype, precision)
            elif not inside and name in made:
                node.input[index] = cast(name, TensorProto.FLOAT, "fp32")
        nodes.append(node)
        name = node.output[0]
        if inside and name in outputs:
            node.output[0] = f"{name}.{precision}"
            nodes.append(helper.make_node("Cast", [node.output[0]], [name], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(halved.values())
    _forget_types(graph, made)
    _drop_unused(graph)
    return result


def _half_constant(tensor: TensorProto, dtype: int) -> TensorProto:
    values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(dtype))
    return helper.make_tensor(f"{tensor.name}.half", dtype, tensor.dims, values.tobytes(), raw=True)


def _forget_types(graph: onnx.GraphProto, names: set[str]) -> None:
    kept = [value for value in graph.value_info if value.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def emulate_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run a 16-bit graph with float32 kernels: what it would give, where no such kernel exists.

    Every constant and every tensor of the graph that has 16 bits is rounded to them and held in
    float32, so that sums within a layer are float32, as they are on tensor cores. ONNX Runtime's
    CPU has no bfloat16 layers at all, and runs chains of float16 ones without rounding between
    them: only so is either precision seen as it is.

    Args:
        model: as :func:`to_half` makes it; left as it is.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    half: dict[str, int] = {}
    for tensor in graph.initializer:
        if tensor.data_type in HALVES.values():
            half[tensor.name] = tensor.data_type
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        name, to = node.output[0], next((a.i for a in node.attribute if a.name == "to"), 0)
        dtype = next((half[n] for n in _data_inputs(node) if n in half), 0)
        if node.op_type == "Cast" and dtype and to == TensorProto.FLOAT:
            nodes.append(helper.make_node("Identity", node.input, node.output, node.name))
            continue
        if node.op_type == "Cast" and to in HALVES.values():
            node, dtype = helper.make_node("Identity", node.input, node.output, node.name), to
        nodes.append(node)
        if dtype:
            half[name] = dtype
            node.output[0] = f"{name}.exact"
            nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.16"], to=dtype))
            nodes.append(helper.make_node("Cast", [f"{name}.16"], [name], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    return result
