"""One training pass: protect, attack, align, recover, and the losses.

Nothing in it waits for the device: the host only queues work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..attacks import simulate
from ..attacks.curriculum import Attack, draw_alike
from ..attacks.simulate import JpegModel, beside, crop_all, crops_alike, quantise, resize
from ..kernels.reference import place
from ..networks import LocalizeNetwork, Networks
from ..networks.blocks import CELL
from ..networks.recover import Reading
from ..visibility import ssim_lost
from .data import Photos

__all__ = [
    "Batch",
    "Stage",
    "Views",
    "attack_alike",
    "forward_pass",
    "make_batch",
    "merge_residual",
    "protection_loss",
    "recovery_loss",
]

_BOX_JITTER_PX = 0.3
_LOG_FLOOR = 2e-3
_DECIBELS = 0.3
"""Weight of the logarithm of the squared error."""

_FINDING = 0.1
"""Weight of the logarithm of the log-odds that say where the fragment lay."""

_ODDS_FLOOR = 1e-3

_SURPRISE_WEIGHT = 0.05
"""Of the loss of the uncertainty; it moves nothing else."""

_CODEC = JpegModel()  # libjpeg's own values
_SURROGATE = JpegModel("soft")


@dataclass(frozen=True)
class Stage:
    """Where training stands.

    Attributes:
        psnr_db: strength of the residual now.
        hardness: of the post-processing, 0 to 1.
        alignment: weight of the feature-alignment loss and of the restored pixels'; 0 switches
            both off.
        jpeg: what compresses what the recover network is trained on.
        visibility: weight of what the residual costs in SSIM. At 4 the networks moved their
            strength from luma to chroma, where JPEG takes it.
    """

    psnr_db: float
    hardness: float
    alignment: float = 0.1
    jpeg: JpegModel = _CODEC
    visibility: float = 1.5


@dataclass
class Views:
    """What became of protected images, and where they were cropped.

    Attributes:
        received: post-processed with the real codec's values, Bx3xHxW.
        clean: cropped only; ``None`` where nothing is aligned.
        simulated: post-processed with a surrogate of the codec, without a gradient; likewise.
        crop_box: Bx4, in whole pixels of each frame; on the host.
    """

    received: torch.Tensor
    clean: torch.Tensor | None
    simulated: torch.Tensor | None
    crop_box: np.ndarray


def merge_residual(native: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Add residuals, Bx3xSxS, to images of any size without loss of strength, in 8 bits.

    The differentiable twin of :func:`clr_infer.residual.merge_residual`.
    """
    stretched = resize(residual, native.shape[-2], native.shape[-1], "bilinear")
    power = residual.square().mean((1, 2, 3), keepdim=True)
    gain = (power / stretched.square().mean((1, 2, 3), keepdim=True)).sqrt()
    return quantise(native + gain * stretched)


def attack_alike(
    protected: torch.Tensor,
    attacks: Sequence[Attack],
    rng: np.random.Generator,
    with_alignment: bool = False,
    jpeg: JpegModel = _CODEC,
) -> Views:
    """Attack protected images of one size, Bx3xHxW, by attacks of the same kinds.

    Args:
        protected: on 8-bit levels.
        attacks: one for each, see :func:`.curriculum.draw_alike`.
        rng: of the noise.
        with_alignment: make the views that the feature-alignment loss needs as well.
        jpeg: compresses what is received.
    """
    frame_h, frame_w = protected.shape[-2:]
    crops = [attack.crop for attack in attacks]
    corners, width, height = crops_alike(crops, frame_w, frame_h)
    before, after = [a.before for a in attacks], [a.after for a in attacks]

    def attacked(images: torch.Tensor, jpeg: JpegModel) -> torch.Tensor:
        images = simulate.apply(images, before, rng, jpeg)
        return simulate.apply(crop_all(images, corners, width, height), after, rng, jpeg)

    clean, simulated = None, None
    if with_alignment:
        with torch.no_grad():
            clean = crop_all(protected, corners, width, height)
            simulated = attacked(protected, _SURROGATE)
    spans = [(x, y, x + width, y + height) for x, y in corners]
    crop_box = np.array(spans) / (frame_w, frame_h, frame_w, frame_h)
    return Views(attacked(protected, jpeg), clean, simulated, crop_box)


@dataclass
class Batch:
    """What the networks see of a batch: originals, residuals and views, Bx3xSxS."""

    original: torch.Tensor
    residual: torch.Tensor
    views: Views


def make_batch(
    networks: Networks,
    photos: Photos,
    batch_size: int,
    stage: Stage,
    rng: np.random.Generator,
    group: int = 1,
) -> Batch:
    """Protect a batch of photographs and attack each in its own way, ``group`` at once."""
    size = networks.protect.size
    counts = [min(group, batch_size - done) for done in range(0, batch_size, group)]
    natives = [photos.draw(rng, size, count) for count in counts]
    original = torch.cat([resize(n, size, size).clamp(0, 1) for n in natives])
    original = original.contiguous(memory_format=torch.channels_last)
    with networks.precision():
        payload = networks.protect.payload(original)
    residual = networks.protect.shape(payload.float(), original, stage.psnr_db)
    parts = []
    for native, own in zip(natives, residual.split(counts), strict=True):
        attacks = draw_alike(rng, stage.hardness, len(native))
        protected = merge_residual(native, own)
        parts.append(attack_alike(protected, attacks, rng, stage.alignment > 0, stage.jpeg))

    def whole(views: list[torch.Tensor | None]) -> torch.Tensor | None:
        kept = [resize(view, size, size) for view in views if view is not None]
        return torch.cat(kept) if kept else None

    received = whole([part.received for part in parts])
    assert received is not None
    clean, simulated = whole([p.clean for p in parts]), whole([p.simulated for p in parts])
    boxes = np.concatenate([part.crop_box for part in parts])
    return Batch(original, residual, Views(received, clean, simulated, boxes))


def _alignment_loss(networks: Networks, views: Views, features: torch.Tensor) -> torch.Tensor:
    """Draw the features of both attacked branches to those of the clean crop."""
    align = networks.align
    assert views.clean is not None and views.simulated is not None
    with networks.precision():
        with torch.no_grad():
            clean = align.features(views.clean).float()
        simulated = align.features(views.simulated).float()
    scale = clean.std() + 1e-3
    distances = [(f.float() - clean).abs().mean() / scale for f in (features, simulated)]
    return distances[0] + distances[1]


def _surprise(
    uncertainty: torch.Tensor, error: torch.Tensor, outside: torch.Tensor
) -> torch.Tensor:
    """The negative log-likelihood of what was reconstructed wrong, as if it were Gaussian.

    It is least where each cell's uncertainty is the deviation that its error has on average (Nix
    and Weigend, "Estimating the mean and variance of the target probability distribution", 1994).
    """
    weight = F.avg_pool2d(outside, CELL)
    squared = (error.detach().square() * outside).mean(1, keepdim=True)
    squared = F.avg_pool2d(squared, CELL) / weight.clamp(min=1e-3)
    variance = uncertainty.square()
    return ((variance.log() + squared / variance) * weight).sum() / (weight.sum() + 1e-3)


def protection_loss(
    localize: LocalizeNetwork,
    residual: torch.Tensor,
    original: torch.Tensor,
    received: torch.Tensor,
    crop_box: torch.Tensor,
    visibility: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What residuals cost in SSIM, and how hard the template is to find in their midst.

    Args:
        localize: the network that finds it.
        residual: Bx3xSxS.
        original: Bx3xSxS.
        received: what became of the protected images, Bx3xSxS.
        crop_box: Bx4, where they were cropped.
        visibility: weight of what is lost in SSIM.

    Returns:
        The loss, a scalar, and ``ssim_lost`` and ``log_odds``, see :func:`forward_pass`.
    """
    lost = ssim_lost(residual, original)
    found = (localize.odds_of(received, crop_box) + _ODDS_FLOOR).log().mean()
    numbers = {"ssim_lost": lost.detach(), "log_odds": found.detach()}
    return visibility * lost - _FINDING * found, numbers


def recovery_loss(
    reading: Reading, original: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """How far recovered frames are from their originals, and from what the network says of it.

    Args:
        reading: of the recover network.
        original: Bx3xSxS.
        mask: Bx1xSxS, 1 inside the crop.

    Returns:
        The loss, a scalar, and ``out_db``, ``thumb_db`` and ``surprise``, see
        :func:`forward_pass`.
    """
    outside = 1.0 - mask
    error = reading.recovered.float() - original
    outside_n, inside_n = 3 * outside.sum() + 1, 3 * mask.sum() + 1
    squared = (error.square() * outside).sum() / outside_n
    # The logarithm weighs images by what they still can gain: its mean is a PSNR.
    area = outside.mean((1, 2, 3))
    own = (error.square() * outside).mean((1, 2, 3)) / (area + 1e-3)
    loss = _DECIBELS * (((own + _LOG_FLOOR) / _LOG_FLOOR).log() * (area > 0.02)).mean()
    loss = loss + 0.5 * (error.abs() * outside).sum() / outside_n
    loss = loss + 0.1 * (error.abs() * mask).sum() / inside_n
    thumb = torch.zeros((), device=loss.device)
    factors = (CELL, 2 * CELL, 4 * CELL, 8 * CELL)
    for factor in factors:
        truth = F.avg_pool2d(original, factor)
        guess = F.avg_pool2d(reading.thumbnail, factor // CELL)
        weight = F.avg_pool2d(outside, factor) + 0.15
        thumb = thumb + ((guess - truth).square() * weight).sum() / (3 * weight.sum())
    surprise = _surprise(reading.uncertainty, error, outside)
    numbers = {
        "out_db": -10 * squared.detach().clamp(min=1e-6).log10(),
        "thumb_db": -10 * (thumb.detach() / len(factors)).clamp(min=1e-6).log10(),
        "surprise": surprise.detach(),
    }
    return loss + 5 * thumb + _SURPRISE_WEIGHT * surprise, numbers


def forward_pass(
    networks: Networks,
    photos: Photos,
    batch_size: int,
    stage: Stage,
    rng: np.random.Generator,
    group: int = 1,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run one batch and return its loss and the numbers worth watching.

    Args:
        networks: trained together.
        photos: to draw from.
        batch_size: images.
        stage: of the curriculum.
        rng: source of randomness.
        group: images that are attacked at once; they share sizes and kinds of post-processing.

    Returns:
        The loss, a scalar, and ``out_db`` (PSNR of the cropped-out area), ``thumb_db`` (of the
        thumbnails there), ``surprise`` (of the uncertainty, nats a cell), ``ssim_lost`` (to the
        residual), ``log_odds`` (logarithm of those of the crop box, up to a constant) and
        ``align`` (feature distance), scalars without a gradient.
    """
    batch = make_batch(networks, photos, batch_size, stage, rng, group)
    size, views = networks.protect.size, batch.views
    jitter = rng.normal(0, _BOX_JITTER_PX / size, (batch_size, 4))
    with networks.precision():
        features = networks.align.features(views.received)
        aligned = networks.align.apply_features(views.received, features).float()
    placed = place(aligned, beside(aligned, views.crop_box + jitter))
    with networks.precision():
        reading = networks.recover.read(*placed)
    crop_box = beside(aligned, views.crop_box)
    _, mask = place(views.received[:, :1].detach(), crop_box)
    loss, numbers = recovery_loss(reading, batch.original, mask)
    cost, of_residual = protection_loss(
        networks.localize,
        batch.residual,
        batch.original,
        views.received,
        crop_box,
        stage.visibility,
    )
    loss, numbers = loss + cost, numbers | of_residual
    if views.clean is not None:
        alignment = _alignment_loss(networks, views, features)
        restoration = (aligned - views.clean).abs().mean()
        loss = loss + stage.alignment * (alignment + restoration)
        numbers["align"] = alignment.detach()
    return loss, numbers
