"""What each precision costs: files, differences to eager, quality end to end; engines' sizes.

    python benchmarks/precision.py PHOTOS -o benchmarks/results/precision.json

Runs the two export commands on a folder of photographs, twenty to validate on and twenty others to
calibrate int8 on, and collects what their manifests and sidecars say.
"""

import argparse
import json
import tempfile
from pathlib import Path

from clr_infer.export import PRECISIONS

from clr_infer.bench.facts import commit
from clr_infer.cli import main as clr_infer
from clr_infer.engine_files import Sidecar, sidecar_name
from clr_infer.env import describe_environment
from clr_infer.specs import SPECS
from clr_infer.weights import Weights

FLAVOUR = "tensorrt-rtx"


def _onnx(folder: Path) -> dict:
    weights = Weights(folder)
    return {
        "opset": weights.manifest["opset"],
        "bytes": {name: (folder / f"{name}.onnx").stat().st_size for name in SPECS},
        "largest_difference": weights.manifest["validation"],
        "quality": weights.manifest["quality"],
    }


def _engines(folder: Path) -> dict:
    weights = Weights(folder)
    facts = {name: Sidecar.from_json(weights.read(sidecar_name(name))) for name in SPECS}
    return {
        "version": facts["protect"].version,
        "compute_capabilities": facts["protect"].compute_capabilities,
        "bytes": {name: one.plan_bytes for name, one in facts.items()},
        "build_s": {name: one.build_s for name, one in facts.items()},
    }


def main() -> None:
    """Export everything to a temporary folder and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        models, engines = Path(temporary) / "models", Path(temporary) / "engines"
        photos = ["--validate-on", str(args.photos), "--calibration", str(args.photos)]
        target = ["export", "onnx", "-o", str(models), "--precision", *PRECISIONS, *photos]
        if clr_infer(target):
            raise SystemExit("the ONNX export failed")
        target = ["export", "tensorrt", "-o", str(engines), "--flavour", FLAVOUR]
        if clr_infer([*target, "--from", str(models), "--precision", *PRECISIONS]):
            raise SystemExit("the engines could not be built")
        result = {
            "kind": "precision",
            "commit": commit(),
            "environment": describe_environment(),
            "weights": Weights().manifest["files"],
            "flavour": FLAVOUR,
            "onnx": {one: _onnx(models / one) for one in PRECISIONS},
            "engines": {one: _engines(engines / one) for one in PRECISIONS},
        }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
