"""A folder of weights: safetensors, ONNX files, manifest; all of it or nothing."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.torch import save as save_safetensors
from torch import nn

from ..errors import ModelError
from ..specs import SPECS
from ..staging import staged_folders
from ..weights import INT8_PREFIX, MANIFEST, SAFETENSORS
from .inputs import pipeline_inputs
from .quantize import quantised_layers, to_int8
from .to_onnx import export_onnx
from .validate import validate_onnx

__all__ = ["write_weights"]

_log = logging.getLogger(__name__)


def write_weights(
    folder: Path,
    networks: nn.ModuleDict,
    manifest: dict[str, Any],
    frames: np.ndarray | None,
    calibration: np.ndarray | None = None,
) -> None:
    """Export all networks, validate each, and put the folder in place.

    A folder that is new appears whole. In one that exists each file is renamed to its place, the
    manifest last, and ``int8`` as a whole: whatever else lies there stays, and if that fails or is
    interrupted, what was there comes back. Only a process that is killed within those renames
    leaves files that do not fit their manifest, which :class:`.Weights` refuses; those that were
    replaced are then in ``.partial-*/.replaced``.

    Args:
        folder: created or, with respect to the files of these weights, replaced.
        networks: as :func:`clr_infer.networks.served.build_served` builds them.
        manifest: the facts; ``files`` and ``validation`` are filled in here.
        frames: real images, Bx3xSxS float32 in [0, 1], for the validation; ``None`` leaves the
            ONNX files out: weights for the torch runtime, and to train on.
        calibration: other real images like ``frames``; with them the networks that have learned
            convolutions get an int8 twin. One that fails its validation is left out with a
            warning, and the network itself is used in its place.

    Raises:
        ModelError: an export failed its validation; nothing was written.
        OutputError: the folder cannot be written; what was there is there still.
    """
    facts = {k: manifest[k] for k in ("size", "psnr_db", "width", "align_width", "seed", "steps")}
    tensors = {k: v.contiguous() for k, v in networks.state_dict().items()}
    files = {SAFETENSORS: save_safetensors(tensors)}
    facts["weights_sha256"] = hashlib.sha256(files[SAFETENSORS]).hexdigest()
    inputs = {} if frames is None else pipeline_inputs(networks, frames)
    validation = {}
    calibrating = None if calibration is None else pipeline_inputs(networks, calibration, 1)
    for name, spec in SPECS.items() if inputs else ():
        graph = export_onnx(networks[name], spec, manifest["size"], facts)
        validation[name] = validate_onnx(networks[name], spec, graph, inputs[name])
        files[f"{name}.onnx"] = graph
        model = onnx.load_from_string(graph)
        if calibrating is not None and quantised_layers(model):
            twin = to_int8(model, calibrating[name]).SerializeToString()
            try:
                differences = validate_onnx(networks[name], spec, twin, inputs[name], "int8")
            except ModelError as error:
                _log.warning("no int8 twin of %s: %s", name, error)
                continue
            validation[INT8_PREFIX + name] = differences
            files[f"{INT8_PREFIX}{name}.onnx"] = twin
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    whole = {"format": 1, **manifest, "files": digests, "validation": validation}
    files[MANIFEST] = (json.dumps(whole, indent=1) + "\n").encode()
    _put_in_place(folder, files)


def _put_in_place(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder, or the entries of one that exists: it may be a mount, or hold a training."""
    exists = folder.exists()
    parent = folder if exists else folder.parent
    names = list(dict.fromkeys(Path(name).parts[0] for name in files)) if exists else [folder.name]
    with staged_folders(parent, names, force=True) as staging:
        for name, content in files.items():
            path = staging / name if exists else staging / folder.name / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
