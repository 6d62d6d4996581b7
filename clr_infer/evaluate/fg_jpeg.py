"""How close simulated JPEG comes to libjpeg: FG-JPEG beside the plain roundings of the codec."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from ..attacks.real import libjpeg
from ..bench.facts import commit
from ..errors import RuntimeUnavailable
from ..weights import SAFETENSORS, Weights
from .metrics import psnr
from .report import gather_versions
from .tables import table

__all__ = [
    "SIMULATORS",
    "evaluate_fg_jpeg",
    "fg_jpeg_digest",
    "fg_jpeg_markdown",
    "fidelity",
]

SIMULATORS = ("FG-JPEG", "soft rounding", "straight-through")
_QUALITIES = tuple(range(10, 100, 5))
_OTHER_QUALITIES = (10, 35, 60, 80, 95)
_CASES = (
    *(("4:2:0", qf) for qf in _QUALITIES),
    *(("4:2:2", qf) for qf in _OTHER_QUALITIES),
    *(("4:4:4", qf) for qf in _OTHER_QUALITIES),
)


def fg_jpeg_digest(weights: Weights) -> str:
    """The sha256 of FG-JPEG's own parameters: other networks may change without it."""
    from safetensors.numpy import load, save

    tensors = load(weights.read(SAFETENSORS))
    own = {k: v for k, v in tensors.items() if k.startswith(("fg_jpeg.", "qf_predictor."))}
    return hashlib.sha256(save(own)).hexdigest()


def evaluate_fg_jpeg(
    weights: Weights,
    images: Sequence[tuple[str, np.ndarray]],
    *,
    threads: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compare simulators with the real codec on whole images.

    Args:
        weights: with FG-JPEG's.
        images: names and pixels, HxWx3 uint8.
        threads: of the CPU; ``None`` takes what PyTorch takes.
        progress: draw a bar on standard error.

    Returns:
        Facts of the run and, per subsampling and QF, the mean over the images of the PSNR in dB
        of each simulator to libjpeg, the share of exact values, and the QF predictor's mean
        answer. FG-JPEG was trained at even quality factors only.

    Raises:
        RuntimeUnavailable: PyTorch is not installed.
    """
    try:
        import torch

        from ..kernels import jpeg_simulate
        from ..networks.served import load_served
        from ..runtimes.torch_eager import cpu_threads
    except ImportError as error:
        message = 'FG-JPEG needs PyTorch here: pip install "clr_infer[train]"'
        raise RuntimeUnavailable(message) from error

    networks, made_at = load_served(weights), commit()
    rows = []
    for subsampling, qf in tqdm(_CASES, desc="FG-JPEG", unit="quality", disable=not progress):
        quality = torch.tensor([float(qf)])
        values: dict[str, list[float]] = {name: [] for name in SIMULATORS}
        exact: dict[str, list[float]] = {name: [] for name in SIMULATORS}
        predicted = []
        for _, image in images:
            real = libjpeg(image, qf, subsampling)
            tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255.0
            truth = torch.from_numpy(real.copy()).permute(2, 0, 1)[None] / 255.0
            with cpu_threads(threads), torch.inference_mode():
                simulated = (
                    networks["fg_jpeg"](tensor, quality, subsampling),
                    jpeg_simulate(tensor, quality, subsampling, rounding="soft"),
                    jpeg_simulate(tensor, quality, subsampling, rounding="ste"),
                )
                predicted.append(float(networks["qf_predictor"].predict(truth)))
            for name, result in zip(SIMULATORS, simulated, strict=True):
                pixels = (result[0] * 255).round().byte().permute(1, 2, 0).numpy()
                values[name].append(psnr(pixels, real))
                exact[name].append(float((pixels == real).mean()))
        rows.append(
            {
                "subsampling": subsampling,
                "qf": qf,
                "trained": qf % 2 == 0,
                "psnr_db": {name: round(float(np.mean(v)), 3) for name, v in values.items()},
                "exact": {name: round(float(np.mean(v)), 4) for name, v in exact.items()},
                "predicted_qf": round(float(np.mean(predicted)), 2),
            }
        )
    return {
        "kind": "fg_jpeg",
        "commit": made_at,
        "threads": threads,
        "versions": gather_versions(),
        "parameters_sha256": fg_jpeg_digest(weights),
        "images": [name for name, _ in images],
        "rows": rows,
    }


def fidelity(row: dict[str, Any], simulator: str) -> str:
    """PSNR to libjpeg in dB of a row of the report, or that every value is equal."""
    return "exact" if row["exact"][simulator] == 1.0 else f"{row['psnr_db'][simulator]:.1f}"


def fg_jpeg_markdown(report: dict[str, Any]) -> str:
    """The table of a report: PSNR to libjpeg in dB."""
    header = ["chroma", "QF", "trained at", *SIMULATORS, "QF read off the real file"]
    rows = [
        [
            row["subsampling"],
            str(row["qf"]),
            "yes" if row["trained"] else "no",
            *(fidelity(row, name) for name in SIMULATORS),
            f"{row['predicted_qf']:.1f}",
        ]
        for row in report["rows"]
    ]
    return table(header, rows)
