"""Folders of ONNX files, one per precision: built, validated, measured, then put in place.

A folder ``DIR/fp16`` is a folder of weights: ``clr_infer.load(weights="DIR/fp16")`` opens it, the
engine builder and the server repository read it. Its manifest has the sha256 of every file, the
differences to the eager networks, and the quality lost end to end.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import nn
from tqdm import tqdm

from ..errors import UsageError
from ..specs import SPECS
from ..staging import staged_folders
from ..weights import MANIFEST, SAFETENSORS, Weights
from .inputs import NetworkInputs, pipeline_inputs
from .precision import HALVES, emulate_half, to_half
from .quantize import to_int8
from .to_onnx import OPSET, export_onnx
from .validate import QUALITY_LIMITS, check_quality, validate_onnx

__all__ = ["PRECISIONS", "QualityCheck", "write_folder", "write_onnx"]

PRECISIONS = ("fp32", *HALVES, "int8")

QualityCheck = Callable[[Path, str], dict[str, Any]]
"""Measures a folder of weights of a precision. The result has what was lost under ``"lost"``."""

_FACTS = ("size", "psnr_db", "width", "align_width", "seed", "steps")


def write_onnx(
    folder: Path,
    weights: Weights,
    networks: nn.ModuleDict,
    precisions: Sequence[str],
    frames: np.ndarray,
    check: QualityCheck,
    *,
    calibration: np.ndarray | None = None,
    force: bool = False,
) -> dict[str, dict[str, Any]]:
    """Export all served networks in one or several precisions; all of it or nothing.

    Args:
        folder: gets one folder of weights per precision, named like it.
        weights: whose facts go into the manifests.
        networks: the same weights as eager modules.
        precisions: some of :data:`PRECISIONS`.
        frames: real images, Bx3xSxS float32 in [0, 1], to validate on.
        check: measures the quality end to end of each precision.
        calibration: real images like ``frames``, not the same ones; for int8 only.
        force: replace folders that exist.

    Returns:
        The manifest of each precision.

    Raises:
        UsageError: an unknown or repeated precision, or int8 without images to calibrate on.
        ModelError: an export missed a tolerance, or its quality a limit; nothing was written.
        OutputError: a folder exists or cannot be written; nothing was.
    """
    _check_precisions(precisions, calibration)
    with staged_folders(folder, precisions, force=force) as staging:
        graphs = _float_graphs(weights, networks)
        inputs = pipeline_inputs(networks, frames)
        calibrating = None if calibration is None else pipeline_inputs(networks, calibration, 1)
        manifests = {}
        for precision in precisions:
            models = _in_precision(graphs, precision, calibrating)
            validation = {
                name: validate_onnx(
                    networks[name], SPECS[name], model.SerializeToString(), inputs[name], precision
                )
                for name, model in models.items()
            }
            quality = _measure(staging, weights, models, precision, check)
            facts = {
                "precision": precision,
                "opset": OPSET,
                "source_sha256": weights.manifest["files"][SAFETENSORS],
                "validation": validation,
                "quality": quality,
            }
            files = {f"{name}.onnx": model.SerializeToString() for name, model in models.items()}
            manifests[precision] = write_folder(staging / precision, weights, facts, files)
    return manifests


def _check_precisions(precisions: Sequence[str], calibration: np.ndarray | None) -> None:
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown or not precisions or len(set(precisions)) < len(precisions):
        raise UsageError(
            f"choose each precision once, from {', '.join(PRECISIONS)}; not {list(precisions)}"
        )
    if "int8" in precisions and calibration is None:
        raise UsageError("int8 needs photographs to calibrate on: --calibration DIR")


def _float_graphs(weights: Weights, networks: nn.ModuleDict) -> dict[str, onnx.ModelProto]:
    facts = {key: weights.manifest[key] for key in _FACTS}
    facts["weights_sha256"] = weights.manifest["files"][SAFETENSORS]
    return {
        name: onnx.load_from_string(export_onnx(networks[name], spec, weights.size, facts))
        for name, spec in tqdm(SPECS.items(), desc="export", unit="network", disable=None)
    }


def _in_precision(
    graphs: Mapping[str, onnx.ModelProto], precision: str, calibration: NetworkInputs | None
) -> dict[str, onnx.ModelProto]:
    models = {}
    for name, graph in graphs.items():
        if precision in HALVES:
            model = to_half(graph, precision)
        elif precision == "int8":
            assert calibration is not None
            model = to_int8(graph, calibration[name])
        else:
            model = onnx.ModelProto.FromString(graph.SerializeToString())
        model.metadata_props.add(key="clr_infer.precision", value=json.dumps(precision))
        models[name] = model
    return models


def _measure(
    staging: Path,
    weights: Weights,
    models: Mapping[str, onnx.ModelProto],
    precision: str,
    check: QualityCheck,
) -> dict[str, Any]:
    """Let ``check`` measure a folder that the CPU runs, and hold the result to the limits."""
    emulated = precision in HALVES
    files = {
        f"{name}.onnx": (emulate_half(model) if emulated else model).SerializeToString()
        for name, model in models.items()
    }
    runnable = staging / f".{precision}-on-cpu"
    write_folder(runnable, weights, {}, files)
    quality = check(runnable, precision)
    for lost in (quality["lost"], quality.get("lost_in_openvino")):
        if lost is not None:
            check_quality(lost, precision)
    return {**quality, "limits": QUALITY_LIMITS[precision], "emulated": emulated}


def write_folder(
    folder: Path, weights: Weights, facts: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Write files and a manifest with their sha256.

    Args:
        folder: made here.
        weights: whose manifest is the base of the new one.
        facts: more keys for it.
        files: content by name.

    Returns:
        The manifest.
    """
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    base = {k: v for k, v in weights.manifest.items() if k not in ("files", "validation")}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = {**base, **facts, "files": digests}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest
