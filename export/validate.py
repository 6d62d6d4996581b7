"""Is an exported network the one it was exported from?"""

import numpy as np
import onnx
import torch
from torch import nn

from ..errors import ModelError
from ..specs import NetworkSpec
from .precision import HALVES, emulate_half

__all__ = ["QUALITY_LIMITS", "TOLERANCES", "check_quality", "validate_onnx"]

_BOX, _SCORE, _SKEW = (1e-3, 1e-3), (5e-2, 1e-2), (1e-3, 1e-3)
"""An argmax over a grid of 0.04 pixels may fall next door. The score is in log-odds, up to 150.
The skew is in sides of the picture, a twentieth at most. Localize is float32 throughout."""

TOLERANCES: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    # (network, output): precision: largest and mean absolute difference to eager float32.
    # float32 was seen to differ by rounding only; the others by a third of this, at most, on
    # fifteen photographs.
    ("protect", "residual"): {
        "fp32": (1e-4, 1e-4),
        "fp16": (5e-4, 1e-5),
        "bf16": (4e-3, 1e-4),
        "int8": (2e-2, 6e-4),
    },
    ("align", "aligned"): {
        "fp32": (1e-4, 1e-4),
        "fp16": (1e-3, 2e-5),
        "bf16": (6e-3, 2e-4),
        "int8": (0.15, 3e-3),
    },
    ("localize", "crop_box"): dict.fromkeys(("fp32", "fp16", "bf16", "int8"), _BOX),
    ("localize", "confidence"): dict.fromkeys(("fp32", "fp16", "bf16", "int8"), _BOX),
    ("localize", "score"): dict.fromkeys(("fp32", "fp16", "bf16", "int8"), _SCORE),
    ("localize", "skew"): dict.fromkeys(("fp32", "fp16", "bf16", "int8"), _SKEW),
    ("recover", "recovered"): {
        "fp32": (1e-3, 1e-3),
        "fp16": (2e-3, 1e-4),
        "bf16": (1.5e-2, 1e-3),
        "int8": (0.25, 6e-3),
    },
    ("recover", "uncertainty"): {
        "fp32": (1e-4, 1e-4),
        "fp16": (1.5e-3, 1.5e-4),
        "bf16": (1.5e-2, 1.5e-3),
        "int8": (0.2, 1.1e-2),
    },
    ("fg_jpeg", "simulated"): {  # the largest: a coefficient on the edge of two levels
        "fp32": (0.5, 2e-3),
        "fp16": (0.5, 2e-4),
        "bf16": (0.5, 5e-4),
        "int8": (0.5, 2e-3),
    },
}

QUALITY_LIMITS: dict[str, dict[str, float]] = {
    # The most that a precision may lose end to end, against eager float32: dB, and IoU.
    "fp32": {
        "protected_psnr_db": 0.01,
        "box_iou": 0.001,
        "cropped_out_psnr_db": 0.01,
        "fg_jpeg_psnr_db": 0.05,
    },
    "fp16": {
        "protected_psnr_db": 0.02,
        "box_iou": 0.001,
        "cropped_out_psnr_db": 0.02,
        "fg_jpeg_psnr_db": 0.05,
    },
    "bf16": {
        "protected_psnr_db": 0.05,
        "box_iou": 0.002,
        "cropped_out_psnr_db": 0.05,
        "fg_jpeg_psnr_db": 0.1,
    },
    "int8": {
        "protected_psnr_db": 0.1,
        "box_iou": 0.002,
        "cropped_out_psnr_db": 0.1,
        "fg_jpeg_psnr_db": 0.05,
    },
}


def validate_onnx(
    network: nn.Module,
    spec: NetworkSpec,
    graph: bytes,
    inputs: dict[str, np.ndarray],
    precision: str = "fp32",
) -> dict[str, float]:
    """Run a network eagerly and through ONNX Runtime on the same real inputs.

    A 16-bit graph must load, and is then run as :func:`.precision.emulate_half` runs it.

    Args:
        network: the float32 module.
        spec: its inputs and outputs.
        graph: the ONNX file's content.
        inputs: float32, of one batch.
        precision: of the graph, a key of :data:`TOLERANCES`.

    Returns:
        The largest absolute difference of each output.

    Raises:
        ModelError: the graph does not run, or a difference is over its tolerance.
    """
    exported = _run(spec, graph, inputs, precision)
    with torch.inference_mode():
        eager = network(*(torch.from_numpy(inputs[t.name]) for t in spec.inputs))
    eager = eager if isinstance(eager, tuple) else (eager,)
    differences: dict[str, float] = {}
    for tensor, ours, theirs in zip(spec.outputs, eager, exported, strict=True):
        difference = np.abs(ours.numpy() - theirs)
        largest, mean = float(difference.max()), float(difference.mean())
        differences[tensor.name] = largest
        most, most_mean = TOLERANCES[spec.name, tensor.name][precision]
        if not (largest <= most and mean <= most_mean):  # so that NaN fails
            raise ModelError(
                f"{spec.name}.{tensor.name} in {precision} differs by up to {largest:.2g} "
                f"(mean {mean:.2g}) from the network it was exported from; "
                f"at most {most:g} (mean {most_mean:g}) is allowed"
            )
    return differences


def _run(
    spec: NetworkSpec, graph: bytes, inputs: dict[str, np.ndarray], precision: str
) -> list[np.ndarray]:
    import onnxruntime

    if precision in HALVES:
        graph = emulate_half(onnx.load_from_string(graph)).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return session.run([t.name for t in spec.outputs], inputs)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelError(f"ONNX Runtime cannot run {spec.name} in {precision}: {error}") from error


def check_quality(lost: dict[str, float], precision: str) -> None:
    """Hold what a precision loses end to end against :data:`QUALITY_LIMITS`.

    Args:
        lost: how far each measure lies under that of the eager networks.
        precision: a key of the limits.

    Raises:
        ModelError: a limit is missed.
    """
    for measure, limit in QUALITY_LIMITS[precision].items():
        if not lost[measure] <= limit:
            raise ModelError(
                f"{precision} loses {lost[measure]:.4f} of {measure} end to end; at most {limit:g} "
                "is allowed. Calibrate on more photographs, or use a wider precision"
            )
