"""One training pass: protect, attack, align, recover, and the losses."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..attacks import simulate
from ..attacks.curriculum import Attack, draw_attack
from ..attacks.simulate import JpegModel, quantise, resize
from ..geometry import Box, box_to_pixels
from ..kernels.reference import place
from ..networks import Networks
from .data import Photos

__all__ = ["Stage", "attack_one", "forward_pass", "merge_residual"]

_BOX_JITTER_PX = 0.3
_LOG_FLOOR = 2e-3


@dataclass(frozen=True)
class Stage:
    """Where training stands.

    Attributes:
        psnr_db: strength of the residual now.
        hardness: of the post-processing, 0 to 1.
        alignment: weight of the feature-alignment loss; 0 switches it off.
    """

    psnr_db: float
    hardness: float
    alignment: float = 0.1


@dataclass
class Batch:
    """What the networks see of a batch, all BxCxSxS, and what came of it."""

    original: torch.Tensor
    received: torch.Tensor
    simulated: torch.Tensor
    clean: torch.Tensor
    crop_box: torch.Tensor


def merge_residual(native: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Add a residual, 1x3xSxS, to an image of any size without loss of strength, in 8 bits.

    The differentiable twin of :func:`clr_infer.residual.merge_residual`.
    """
    stretched = resize(residual, native.shape[-2], native.shape[-1], "bilinear")
    gain = (residual.square().mean() / stretched.square().mean()).sqrt()
    return quantise(native + gain * stretched)


def attack_one(
    protected: torch.Tensor, attack: Attack, rng: np.random.Generator, jpeg: JpegModel
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Box]:
    """Attack one protected image, 1x3xHxW, three ways.

    Returns:
        The image as received with the real codec's values, as wholly simulated, and cropped
        without other post-processing; and the crop box in whole pixels of the frame.
    """
    height, width = protected.shape[-2:]
    x0, y0, x1, y1 = box_to_pixels(Box(*attack.crop.values), width, height)
    box = Box(x0 / width, y0 / height, x1 / width, y1 / height)
    clean = protected[..., y0:y1, x0:x1]
    real = simulate.apply_straight_through(protected, attack.before, rng, jpeg)
    real = simulate.apply_straight_through(real[..., y0:y1, x0:x1], attack.after, rng, jpeg)
    if not any(step.name == "jpeg" for step in attack.before + attack.after):
        return real, real, clean, box
    simulated = simulate.apply(protected, attack.before, rng, jpeg)
    simulated = simulate.apply(simulated[..., y0:y1, x0:x1], attack.after, rng, jpeg)
    return real, simulated, clean, box


def make_batch(
    networks: Networks,
    photos: Photos,
    batch_size: int,
    stage: Stage,
    rng: np.random.Generator,
    jpeg: JpegModel,
) -> Batch:
    """Protect a batch of photographs and attack each in its own way."""
    size = networks.protect.size
    natives = [photos.draw(rng, size) for _ in range(batch_size)]
    original = torch.cat([resize(n, size, size).clamp(0, 1) for n in natives])
    original = original.contiguous(memory_format=torch.channels_last)
    with networks.precision():
        payload = networks.protect.payload(original)
    residual = networks.protect.shape(payload.float(), original, stage.psnr_db)
    received: list[torch.Tensor] = []
    simulated: list[torch.Tensor] = []
    clean: list[torch.Tensor] = []
    boxes: list[Box] = []
    for native, own in zip(natives, residual.split(1), strict=True):
        protected = merge_residual(native, own)
        attack = draw_attack(rng, stage.hardness)
        real, sim, cropped, box = attack_one(protected, attack, rng, jpeg)
        for views, view in ((received, real), (simulated, sim), (clean, cropped)):
            views.append(resize(view, size, size))
        boxes.append(box)
    return Batch(
        original,
        torch.cat(received),
        torch.cat(simulated),
        torch.cat(clean),
        torch.tensor(boxes, dtype=torch.float32, device=original.device),
    )


def _alignment_loss(networks: Networks, batch: Batch, features: torch.Tensor) -> torch.Tensor:
    """Draw the features of both attacked branches to those of the clean crop."""
    align = networks.align
    with networks.precision():
        with torch.no_grad():
            clean = align.features(batch.clean).float()
        simulated = align.features(batch.simulated.detach()).float()
    scale = clean.std() + 1e-3
    distances = [(f.float() - clean).abs().mean() / scale for f in (features, simulated)]
    return distances[0] + distances[1]


def forward_pass(
    networks: Networks,
    photos: Photos,
    batch_size: int,
    stage: Stage,
    rng: np.random.Generator,
    jpeg: JpegModel,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Run one batch and return its loss and the numbers worth watching.

    Returns:
        The loss, a scalar, and ``out_db`` (PSNR of the cropped-out area), ``thumb_db`` (of the
        thumbnails there) and ``align`` (feature distance).
    """
    batch = make_batch(networks, photos, batch_size, stage, rng, jpeg)
    size = networks.protect.size
    jitter = torch.from_numpy(rng.normal(0, _BOX_JITTER_PX / size, (batch_size, 4)))
    with networks.precision():
        features = networks.align.features(batch.received)
        aligned = networks.align.apply_features(batch.received, features).float()
    placed = place(aligned, batch.crop_box + jitter.to(batch.crop_box))
    with networks.precision():
        recovered, thumbnail = networks.recover.read(*placed)
    _, mask = place(batch.received[:, :1].detach(), batch.crop_box)
    outside = 1.0 - mask
    error = recovered.float() - batch.original
    outside_n, inside_n = 3 * outside.sum() + 1, 3 * mask.sum() + 1
    squared = (error.square() * outside).sum() / outside_n
    # The logarithm weighs images by what they still can gain: its mean is a PSNR.
    area = outside.mean((1, 2, 3))
    own = (error.square() * outside).mean((1, 2, 3)) / (area + 1e-3)
    loss = 0.1 * (((own + _LOG_FLOOR) / _LOG_FLOOR).log() * (area > 0.02)).mean()
    loss = loss + 0.5 * (error.abs() * outside).sum() / outside_n
    loss = loss + 0.1 * (error.abs() * mask).sum() / inside_n
    thumb = torch.zeros((), device=loss.device)
    for factor in (8, 16, 32):
        truth = F.avg_pool2d(batch.original, factor)
        guess = F.avg_pool2d(thumbnail, factor // 8) if factor > 8 else thumbnail
        weight = F.avg_pool2d(outside, factor) + 0.15
        thumb = thumb + ((guess - truth).square() * weight).sum() / (3 * weight.sum())
    loss = loss + 5 * thumb
    numbers = {
        "out_db": -10 * float(squared.detach().clamp(min=1e-6).log10()),
        "thumb_db": -10 * float((thumb.detach() / 3).clamp(min=1e-6).log10()),
    }
    if stage.alignment:
        alignment = _alignment_loss(networks, batch, features)
        restoration = (aligned - batch.clean.detach()).abs().mean()
        loss = loss + stage.alignment * alignment + restoration
        numbers["align"] = float(alignment.detach())
    return loss, numbers
