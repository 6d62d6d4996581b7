"""From checkpoints to a folder of weights: calibrate, export, validate, describe."""

import logging
import platform
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from ..attacks.curriculum import draw_crop
from ..attacks.real import apply
from ..attacks.steps import Chain, parse_chain
from ..errors import WeightsError
from ..export import write_weights
from ..networks.served import build_served, load_served
from ..preprocess import resize_pixels, to_frame
from ..residual import merge_residual, residual_psnr_db
from ..weights import Weights
from .checkpoint import NOT_STATED, TRAINED, load_checkpoint, load_into
from .data import Photos
from .fg_jpeg import load_fg_jpeg

__all__ = ["calibrate", "collect", "package", "package_unexported", "recalibrate", "warn_of_few"]

_log = logging.getLogger(__name__)

_CALIBRATION_CHAINS = (
    "",
    "jpeg=90",
    "jpeg=80",
    "jpeg=70",
    "jpeg=60",
    "jpeg=50",
    "resize=0.75 jpeg=80",
    "resize=0.5 jpeg=80",
    "gaussian=5",
    "noise=0.04",
    "median=3",
)
_CHAINS_PER_PHOTO = 4
_FRAGMENTS_MIN = 100
"""Of one photograph's four, the threshold was seen to let pass ten times the false alarms."""

_FALSE_ALARM_WEIGHT = 10.0
"""A false alarm counts as many misses: most pictures were never protected."""

_FALSE_ALARM_RATE = 5e-4
"""Half of what is promised, for scores no fit foresees."""

_SLOPE_MAX = 1.0
"""The score is in log-odds already. Two sides that hardly overlap would have it surer of itself."""

_INT8_PHOTOS = 20
"""At most so many calibrate the int8 twins."""


def collect(checkpoint: Path, fg_jpeg: Path, size: int) -> tuple[nn.ModuleDict, dict[str, Any]]:
    """Put the averaged weights of two checkpoints into the served networks.

    Returns:
        The networks at frame size ``size``, and the facts for the manifest.

    Raises:
        WeightsError: a checkpoint is missing, damaged or something else.
    """
    state = load_checkpoint(checkpoint, torch.device("cpu"))
    jpeg = load_fg_jpeg(fg_jpeg)
    plan = state["plan"]
    manifest = {
        "size": size,
        "psnr_db": plan["psnr_db"],
        "width": plan["width"],
        "align_width": plan["align_width"],
        "seed": plan["seed"],
        "steps": state["total_steps"],
        "training": state["history"],
        "data": state.get("data") or NOT_STATED,
        "default_psnr_db": state.get("default_psnr_db"),
    }
    networks = build_served(manifest)
    for name in TRAINED:
        prefix = f"{name}."
        own = {
            k.removeprefix(prefix): v for k, v in state["average"].items() if k.startswith(prefix)
        }
        load_into(networks[name], own, checkpoint)
    load_into(networks["fg_jpeg"], jpeg["generator"], fg_jpeg)
    load_into(networks["qf_predictor"], jpeg["predictor"], fg_jpeg)
    return networks.requires_grad_(False), manifest


@torch.inference_mode()
def _scores(
    networks: nn.ModuleDict, photos: list[np.ndarray], quieter_db: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the localize network on protected fragments and on the same ones unprotected."""
    size = networks["protect"].size
    rng = np.random.default_rng(seed)
    chains: list[Chain] = [parse_chain(text) for text in _CALIBRATION_CHAINS]
    scores: tuple[list[float], list[float]] = ([], [])
    for photo in tqdm(photos, desc="calibration", unit="image"):
        frame = torch.from_numpy(to_frame(photo, size))[None]
        residual = networks["protect"](frame)[0].numpy()
        strength = residual_psnr_db(residual) + quieter_db
        protected, _ = merge_residual(photo, residual, strength)
        for chain in rng.permutation(np.arange(len(chains)))[:_CHAINS_PER_PHOTO]:
            crop = draw_crop(rng, 0.6)
            for image, into in ((protected, scores[0]), (photo, scores[1])):
                received = apply(image, (crop, *chains[chain]), rng)
                frame = torch.from_numpy(to_frame(received, size))[None]
                into.append(float(networks["localize"](frame)[2][0]))
    return np.array(scores[0]), np.array(scores[1])


def _rarely_exceeded(scores: np.ndarray) -> float:
    """The score that so few unprotected images reach: their maxima have a Gumbel distribution."""
    scale = float(scores.std()) * 6**0.5 / np.pi
    tail = -np.log(-np.log1p(-_FALSE_ALARM_RATE)) - np.euler_gamma
    return float(scores.mean()) + scale * float(tail)


def warn_of_few(photos: int) -> None:
    """Say so where photographs are too few to calibrate on: it decides how often it errs."""
    asked = -(-_FRAGMENTS_MIN // _CHAINS_PER_PHOTO)
    if photos < asked:
        _log.warning(
            "few photographs to calibrate on (%d): pictures that were never protected may be taken "
            "for protected far more often than promised; %d or more are asked for",
            photos,
            asked,
        )


def calibrate(
    networks: nn.ModuleDict, photos: list[np.ndarray], psnr_db: float, seed: int = 7
) -> dict[str, float]:
    """Fit the confidence, a logistic function of the score, on real post-processing.

    The verdict turns at a score that unprotected fragments hardly ever reach; how fast, is what
    both sides say of it. Few photographs are warned of, see :func:`warn_of_few`.

    Args:
        networks: the served networks; the localize network's calibration is replaced.
        photos: photographs that nobody trained on, HxWx3 uint8.
        psnr_db: strength to protect them at.
        seed: of crops and post-processing.

    Returns:
        Slope and offset, and the shares of protected and unprotected fragments that the verdict
        (confidence of at least 0.5) gets right.
    """
    warn_of_few(len(photos))
    yes, no = _scores(networks, photos, psnr_db - networks["protect"].nominal_psnr_db, seed)
    score = torch.tensor(np.concatenate([yes, no]), dtype=torch.float64)
    truth = torch.cat([torch.ones(len(yes)), torch.zeros(len(no))]).double()
    weights = torch.where(truth > 0, 1.0, _FALSE_ALARM_WEIGHT)
    middle = float(score.median())
    slope = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    offset = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([slope, offset], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = slope * (score - middle) + offset
        # The small penalty keeps the slope finite when the two sides do not overlap.
        loss = F.binary_cross_entropy_with_logits(logits, truth, weights) + 1e-4 * slope.square()
        loss.backward()
        return loss

    optimizer.step(closure)
    # Where the verdict turns is for what was never protected to say: it is used against somebody.
    threshold = _rarely_exceeded(no)
    gain = min(float(slope.detach()), _SLOPE_MAX)
    bias = -gain * threshold
    networks["localize"].calibration.copy_(torch.tensor([gain, bias]))
    return {
        "slope": gain,
        "offset": bias,
        "true_positive_rate": float((gain * yes + bias >= 0).mean()),
        "false_positive_rate": float((gain * no + bias >= 0).mean()),
        "fragments": len(yes),
    }


def _at_least(pixels: np.ndarray, side: int) -> np.ndarray:
    """Enlarge a photograph, HxWx3 uint8, whose short side is under ``side`` to it."""
    height, width = pixels.shape[:2]
    scale = max(1.0, side / min(height, width))
    return resize_pixels(np.ascontiguousarray(pixels), round(width * scale), round(height * scale))


def package(
    checkpoint: Path,
    fg_jpeg: Path,
    size: int,
    photos: Photos,
    folder: Path,
    data: str = "",
    default_psnr_db: float | None = None,
) -> dict[str, Any]:
    """Calibrate, export, validate and write a folder of weights.

    Args:
        checkpoint: of the protect, align and recover networks.
        fg_jpeg: of FG-JPEG.
        size: side of the served networks' frame in pixels.
        photos: photographs that nobody trained on, for calibration and validation; those smaller
            than the frame are enlarged to it.
        folder: where to.
        data: what the training data was, in words, for the manifest and the model card; empty
            takes what the checkpoint says.
        default_psnr_db: strength to protect at unless told otherwise; ``None`` takes that of
            what was trained further, or else that of training.

    Returns:
        The manifest.

    Raises:
        WeightsError: a checkpoint is missing, damaged or something else.
        ModelError: an export is not the network it was exported from; nothing was written.
        OutputError: the folder cannot be written.
    """
    networks, manifest = collect(checkpoint, fg_jpeg, size)
    kept = manifest["default_psnr_db"] or manifest["psnr_db"]
    manifest["default_psnr_db"] = default_psnr_db or kept
    manifest |= _made_here(data or manifest["data"])
    return _calibrate_and_write(networks, manifest, photos, folder)


def recalibrate(
    weights: Weights, photos: Photos, folder: Path, size: int | None = None
) -> dict[str, Any]:
    """Calibrate a folder of weights anew and export it: after a change to the localize network.

    Or for another frame: what was protected at one is not found at another.

    What was learned stays as it is, to the bit.

    Args:
        weights: from where.
        photos: as for :func:`package`.
        folder: where to; may be that of the weights.
        size: side of the networks' frame in pixels; ``None`` leaves it as it is.

    Returns:
        The manifest.

    Raises:
        WeightsError: the weights do not fit these networks.
        ModelError: an export is not the network it was exported from; nothing was written.
        OutputError: the folder cannot be written.
    """
    derived = ("format", "files", "validation")
    manifest = {key: value for key, value in weights.manifest.items() if key not in derived}
    manifest["size"] = size or weights.size
    return _calibrate_and_write(load_served(weights, size=size), manifest, photos, folder)


def _calibrate_and_write(
    networks: nn.ModuleDict, manifest: dict[str, Any], photos: Photos, folder: Path
) -> dict[str, Any]:
    size = manifest["size"]
    pixels = [_at_least(image.permute(1, 2, 0).cpu().numpy(), size) for image in photos.images]
    manifest["calibration"] = calibrate(networks, pixels, manifest["default_psnr_db"])
    frames = np.stack([to_frame(image, size) for image in (pixels * 3)[:3]])
    # The last ones, so that what is validated on is not what was calibrated on.
    int8 = np.stack([to_frame(image, size) for image in pixels[3:][-_INT8_PHOTOS:] or pixels])
    write_weights(folder, networks, manifest, frames, int8)
    return manifest


def _made_here(data: str) -> dict[str, Any]:
    """When, where and from what weights were made, for the manifest."""
    hardware = f"{platform.machine()}, {torch.get_num_threads()} CPU threads"
    if torch.cuda.is_available():
        hardware = torch.cuda.get_device_name()
    return {"data": data, "date": date.today().isoformat(), "hardware": hardware}


def package_unexported(
    checkpoint: Path, fg_jpeg: Path, base: Weights, folder: Path
) -> dict[str, Any]:
    """Write a folder of weights without ONNX files: small, quick, and for the torch runtime alone.

    Args:
        checkpoint: of the protect, align and recover networks.
        fg_jpeg: of FG-JPEG.
        base: weights of the same codes, whose calibration and frame size are kept, and their
            strength where the checkpoint has none.
        folder: where to.

    Returns:
        The manifest.

    Raises:
        WeightsError: a checkpoint is damaged, or of other codes.
        OutputError: the folder cannot be written.
    """
    networks, manifest = collect(checkpoint, fg_jpeg, base.size)
    if manifest["seed"] != base.manifest["seed"]:
        raise WeightsError(f"{checkpoint} has codes that {base.folder} is not calibrated for")
    networks["localize"].load_state_dict(load_served(base)["localize"].state_dict())
    manifest["calibration"] = base.manifest["calibration"]
    manifest["default_psnr_db"] = manifest["default_psnr_db"] or base.default_psnr_db
    manifest |= _made_here(manifest["data"])
    write_weights(folder, networks, manifest, None)
    return manifest
