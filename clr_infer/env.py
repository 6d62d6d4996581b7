"""What is installed here: versions and hardware, for people and for bug reports."""

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .processor import processor_name
from .runtimes import RUNTIMES, why_not
from .weights import Weights

__all__ = ["command_line", "describe_environment"]

_PACKAGES = (
    "numpy",
    "pillow",
    "raptorq",
    "onnxruntime",
    "onnx",
    "openvino",
    "torch",
    "triton",
    "safetensors",
    "tritonclient",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-python",
    "pycuda",
)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def command_line(program: str | None = None) -> str:
    """The command that is running, for result files: absolute paths by their last name only.

    Args:
        program: what to call it; without it the name of the script.
    """

    def named(word: str) -> str:
        option, equals, value = word.rpartition("=")
        return option + equals + Path(value).name if Path(value).is_absolute() else word

    return shlex.join([program or Path(sys.argv[0]).name, *map(named, sys.argv[1:])])


def describe_environment() -> dict[str, Any]:
    """Versions, hardware, runtimes and weights; packages that are missing are ``None``.

    A runtime is ``"works"``, or the reason why it does not open the weights in the package.
    """
    from PIL import features

    weights = Weights()
    return {
        "clr_infer": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor_name(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "gpus": _gpus(),
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "packages": {package: _version(package) for package in _PACKAGES},
        "runtimes": {name: why_not(name, weights) or "works" for name in RUNTIMES},
        "weights": {
            "frame_px": weights.size,
            "steps": weights.manifest["steps"],
            "psnr_db": weights.default_psnr_db,
        },
    }
