"""``export``: networks to weights, ONNX files and TensorRT engines."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..engine_files import FLAVOURS, import_flavour
from ..errors import RuntimeUnavailable, UsageError
from ..samples import SAMPLE
from ..settings import Settings
from ..specs import FRAME_PX
from ..staging import refuse_existing
from ..weights import MANIFEST, Weights
from .inputs import expand_inputs, load_input
from .repository import add_repository_command
from .work import package_run

__all__ = ["add_commands"]

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Those of :mod:`clr_infer.export`, which is not imported for ``--help``."""

_NEEDS = 'export needs PyTorch and ONNX: pip install "clr_infer[export]"'
_FRAMES = 3
_IMAGES_MAX = 20

_ONNX = """\
Write every served network (protect, align, localize, recover, fg_jpeg) as a single-file ONNX model
with float32 inputs and outputs and a dynamic batch, one folder of weights per precision. The
precision lives in the graph: learned layers in 16 or 8 bits, what weighs faint signals in float32.

Each network is held against eager PyTorch on real photographs, and each precision is measured end
to end (protected PSNR, box IoU, cropped-out PSNR). If a limit is missed, nothing is written."""

_ONNX_EXAMPLES = """examples:
  clr-infer export onnx -o models
  clr-infer export onnx -o models --precision fp16 bf16 int8 --calibration photos/
  clr-infer recover received.jpg -o recovered.png --weights models/int8"""

_TENSORRT = """\
Build one engine per network from the ONNX files, with a sidecar that says what it was built from
and for. tensorrt-rtx builds without a GPU, for Ampere and later; tensorrt builds on the GPU that
the engine is for. An engine is opened only where its sidecar fits."""

_TENSORRT_EXAMPLES = """examples:
  clr-infer export tensorrt -o engines --flavour tensorrt-rtx --precision fp16
  clr-infer export onnx -o models --precision fp16 && \\
    clr-infer export tensorrt -o engines --flavour tensorrt --from models --precision fp16
  clr-infer protect photo.jpg -o p.png --runtime tensorrt-rtx --weights engines/fp16"""

_WEIGHTS = """\
Calibrate and export the checkpoints of a training folder to a folder of weights. Of a folder of
weights, do so with the weights in it: after a change to a network's code, or for another frame.
What was protected at one frame is not found at another: both sides need the same."""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``export`` and its targets."""
    text = "export networks: weights of a training run, ONNX files, TensorRT engines"
    export = commands.add_parser("export", help=text, description=text)
    targets = export.add_subparsers(dest="target", required=True, metavar="TARGET")
    _add_weights(targets)
    _add_onnx(targets)
    _add_tensorrt(targets)
    add_repository_command(targets)


def _add_weights(targets: argparse._SubParsersAction) -> None:
    weights = targets.add_parser(
        "weights", help="calibrated weights from checkpoints", description=_WEIGHTS
    )
    weights.set_defaults(run=_export_weights)
    weights.add_argument("folder", type=Path, metavar="RUN", help="the output of train, or weights")
    weights.add_argument("--val", type=Path, required=True, metavar="DIR", help="to calibrate on")
    weights.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    text = f"side of the networks' frame (default: that of the weights, {FRAME_PX} for a training)"
    weights.add_argument("--frame", type=int, metavar="PX", help=text)
    weights.add_argument(
        "--strength",
        type=float,
        metavar="DB",
        help="default strength of the result (default: what was fine-tuned has, or training)",
    )
    weights.add_argument("--data-note", default="", help="what the photographs are, for the card")


def _add_onnx(targets: argparse._SubParsersAction) -> None:
    onnx = targets.add_parser(
        "onnx",
        help="ONNX files in one or several precisions, validated",
        description=_ONNX,
        epilog=_ONNX_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    onnx.set_defaults(run=_export_onnx)
    _add_output(onnx, "gets one folder per precision")
    _add_source(onnx)


def _add_tensorrt(targets: argparse._SubParsersAction) -> None:
    engines = targets.add_parser(
        "tensorrt",
        help="TensorRT or TensorRT-RTX engines with sidecars",
        description=_TENSORRT,
        epilog=_TENSORRT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    engines.set_defaults(run=_export_tensorrt)
    _add_output(engines, "gets one folder per precision: ONNX files, engines, sidecars")
    engines.add_argument("--flavour", choices=tuple(FLAVOURS), required=True, help="which library")
    engines.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="the output of export onnx (default: export and validate them now)",
    )
    _add_source(engines)
    engines.add_argument(
        "--batches",
        type=int,
        nargs=3,
        default=(1, 8, 32),
        metavar=("1", "OPT", "MAX"),
        help="least, best and largest batch of the profile; the least is 1 (default: 1 8 32)",
    )
    engines.add_argument(
        "--compute-capability",
        nargs="+",
        default=(),
        metavar="X.Y",
        help="tensorrt-rtx: only for these GPUs, such as 8.9 12.0 (default: Ampere and later)",
    )
    engines.add_argument(
        "--hardware-compatible",
        action="store_true",
        help="tensorrt: for every GPU from Ampere on, not only the one here",
    )
    engines.add_argument(
        "--version-compatible",
        action="store_true",
        help="tensorrt: for later versions of the same major version, too",
    )
    engines.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="tensorrt: makes the next build faster"
    )


def _add_output(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help=text)
    parser.add_argument("--force", action="store_true", help="replace folders that exist")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=["fp32"],
        help="one or several (default: fp32); int8 needs --calibration",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="weights other than our own, with safetensors"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help=f"photographs to calibrate int8 on, {_IMAGES_MAX} at most",
    )
    parser.add_argument(
        "--validate-on",
        type=Path,
        metavar="DIR",
        help=f"photographs to validate on, {_IMAGES_MAX} at most (default: one in the package)",
    )


def _pictures(folder: Path, *, other: bool = False) -> list[np.ndarray]:
    """Up to so many photographs of a folder, evenly spread over its names.

    ``other`` takes those in the middle between the first choice, where the folder has enough, so
    that nothing is calibrated and validated on the same ones.
    """
    words = expand_inputs([str(folder)], recursive=False)
    step = -(-len(words) // _IMAGES_MAX)
    chosen = words[step // 2 if other else 0 :: step]
    return [load_input(word, Settings(), None).pixels for word in chosen]


def _frames(pictures: list[np.ndarray], size: int) -> np.ndarray:
    from ..preprocess import to_frame

    return np.stack([to_frame(picture, size) for picture in pictures])


def _write_onnx(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        from ..evaluate.precision import PrecisionCheck
        from ..export import write_onnx
        from ..networks.served import load_served
    except ImportError as error:
        raise RuntimeUnavailable(f"{_NEEDS} ({error})") from error
    weights = Weights(args.weights)
    pictures = _pictures(args.validate_on or SAMPLE)
    calibration = None
    if "int8" in args.precision and args.calibration is not None:
        calibration = _frames(_pictures(args.calibration, other=True), weights.size)
    return write_onnx(
        folder,
        weights,
        load_served(weights),
        args.precision,
        _frames(pictures[:_FRAMES], weights.size),
        PrecisionCheck(weights, pictures),
        calibration=calibration,
        force=args.force,
    )


def _export_weights(args: argparse.Namespace) -> int:
    package_run(args, args.folder, args.output, args.strength)
    return 0


def _export_onnx(args: argparse.Namespace) -> int:
    manifests = _write_onnx(args, args.output)
    for precision, manifest in manifests.items():
        lost = ", ".join(f"{k} {v:+.4f}" for k, v in manifest["quality"]["lost"].items())
        print(f"{args.output / precision}: validated; lost end to end: {lost}", file=sys.stderr)
    return 0


def _export_tensorrt(args: argparse.Namespace) -> int:
    try:
        from ..export import EngineOptions, write_engines
    except ImportError as error:
        extras = f'pip install "clr_infer[export,{args.flavour}]"'
        raise RuntimeUnavailable(f"engines need PyTorch and ONNX: {extras} ({error})") from error
    options = EngineOptions(
        args.flavour,
        batches=tuple(args.batches),
        compute_capabilities=tuple(args.compute_capability),
        hardware_compatible=args.hardware_compatible,
        version_compatible=args.version_compatible,
        timing_cache=args.timing_cache,
    )
    options.check()
    import_flavour(args.flavour)
    refuse_existing(args.output, args.precision, args.force)
    if args.source is not None and (args.weights or args.calibration or args.validate_on):
        raise UsageError("--from takes ONNX files as they are; leave the other sources out")
    with tempfile.TemporaryDirectory() as temporary:
        source = args.source
        if source is None:
            source = Path(temporary) / "onnx"
            _write_onnx(args, source)
        sources = [_source(source, precision) for precision in args.precision]
        built = write_engines(args.output, sources, options, force=args.force)
    for precision, sidecars in built.items():
        size = sum(one.plan_bytes for one in sidecars) / 2**20
        spent = sum(one.build_s for one in sidecars)
        text = f"{len(sidecars)} engines, {size:.1f} MiB, built in {spent:.1f} s"
        print(f"{args.output / precision}: {text}", file=sys.stderr)
    return 0


def _source(folder: Path, precision: str) -> Weights:
    weights = Weights(folder / precision)
    if weights.manifest.get("precision") != precision:
        said = json.dumps(weights.manifest.get("precision"))
        raise UsageError(f"{folder / precision / MANIFEST} says precision {said}, not {precision}")
    return weights
