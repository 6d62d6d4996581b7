"""Is an exported network the one it was exported from?"""

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..specs import NetworkSpec

__all__ = ["TOLERANCES", "validate_onnx"]

TOLERANCES = {
    # (network, output): largest absolute difference between eager and exported, fp32
    ("protect", "residual"): 1e-4,
    ("align", "aligned"): 1e-4,
    ("localize", "crop_box"): 1e-3,  # an argmax over a grid of 0.04 pixels may fall next door
    ("localize", "confidence"): 1e-3,
    ("localize", "score"): 1e-2,
    ("recover", "recovered"): 1e-3,
    ("fg_jpeg", "simulated"): 0.5,  # a coefficient on the edge of two levels; see the mean below
}
_MEAN_TOLERANCE = 2e-3


def validate_onnx(
    network: nn.Module, spec: NetworkSpec, graph: bytes, inputs: dict[str, np.ndarray]
) -> dict[str, float]:
    """Run a network eagerly and through ONNX Runtime on the same real inputs.

    Returns:
        The largest absolute difference of each output.

    Raises:
        ModelError: a difference is over its tolerance.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    exported = session.run([t.name for t in spec.outputs], inputs)
    with torch.inference_mode():
        eager = network(*(torch.from_numpy(inputs[t.name]) for t in spec.inputs))
    eager = eager if isinstance(eager, tuple) else (eager,)
    differences: dict[str, float] = {}
    for tensor, ours, theirs in zip(spec.outputs, eager, exported, strict=True):
        difference = np.abs(ours.numpy() - theirs)
        differences[tensor.name] = float(difference.max())
        limit = TOLERANCES[spec.name, tensor.name]
        if difference.max() > limit or difference.mean() > _MEAN_TOLERANCE:
            raise ModelError(
                f"{spec.name}.{tensor.name} differs by up to {difference.max():.2g} "
                f"(mean {difference.mean():.2g}) from the network it was exported from; "
                f"at most {limit:g} is allowed"
            )
    return differences
