"""Networks to ONNX files: one spec, dynamic batch, single files, facts in the metadata."""

import io
import json
import logging
import warnings
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..specs import NetworkSpec

__all__ = ["OPSET", "export_onnx"]

OPSET = 25
"""The newest that PyTorch's exporter writes itself and that ONNX Runtime (from 1.24) and the
parsers of TensorRT-RTX 1.7 take. bfloat16 convolutions need 22.

What comes out is folded as far as it pays: onnxslim 0.1 takes 3 of 106 nodes from protect, 23 of
248 from localize and 3 of 257 from FG-JPEG, and triples the files of the first two by writing out
what they repeat; it is not used.
"""


def _example(spec: NetworkSpec, size: int) -> tuple[torch.Tensor, ...]:
    """A batch of two inputs of a plausible range."""
    tensors = []
    for tensor in spec.inputs:
        shape = (2, *tensor.dims(size))
        if tensor.name == "crop_box":
            tensors.append(torch.tensor([[0.1, 0.2, 0.9, 0.95], [0.0, 0.0, 1.0, 1.0]]))
        elif tensor.name == "qf":
            tensors.append(torch.full(shape, 75.0))
        else:
            tensors.append(torch.rand(shape))
    return tuple(tensors)


def export_onnx(network: nn.Module, spec: NetworkSpec, size: int, facts: dict[str, Any]) -> bytes:
    """Export a network.

    Args:
        network: the module; its inputs and outputs are those of ``spec``.
        spec: names, shapes and the dynamic batch axis.
        size: side of the frame in pixels.
        facts: plain values for the model's metadata.

    Returns:
        The ONNX file's content.

    Raises:
        ModelError: the exported graph does not pass ONNX's checker.
    """
    import onnx

    batch = torch.export.Dim("batch", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        program = torch.onnx.export(
            network.eval(),
            _example(spec, size),
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            dynamic_shapes=tuple({0: batch} for _ in spec.inputs),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{spec.name}: the exporter returned nothing")
    model = program.model_proto
    for key, value in {"network": spec.name, **facts}.items():
        model.metadata_props.add(key=f"clr_infer.{key}", value=json.dumps(value))
    for node in model.graph.node:  # exporter chatter: machine paths and stack traces
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{spec.name}: the exported graph is not valid: {error}") from error
    buffer = io.BytesIO()
    onnx.save_model(model, buffer)
    return buffer.getvalue()
