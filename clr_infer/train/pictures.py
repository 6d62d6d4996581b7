"""What training looks like while it runs: curves and a contact sheet."""

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..attacks.curriculum import Attack
from ..attacks.simulate import beside, resize
from ..attacks.steps import Step
from ..networks import Networks
from ..sheet import contact_sheet, magnified_residual
from .data import Photos
from .forward import attack_alike, merge_residual

__all__ = ["draw_curves", "draw_sheet"]

_CROP = Step("crop", (0.12, 0.08, 0.82, 0.84))


def draw_curves(log: Path, picture: Path) -> None:
    """Plot every column of a training log that has numbers against the step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        return
    names = [n for n in rows[0] if n not in ("step", "seconds") and any(row[n] for row in rows)]
    steps = [int(row["step"]) for row in rows]
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 1.6 * len(names)), sharex=True)
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        axis.plot(steps, [float(row[name] or "nan") for row in rows], linewidth=1)
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    np.atleast_1d(axes)[-1].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(picture, dpi=90)
    plt.close(figure)


def _pixels(image: torch.Tensor) -> np.ndarray:
    image = (image[0].float().clamp(0, 1) * 255).round().byte()
    return image.permute(1, 2, 0).cpu().numpy()


@torch.no_grad()
def draw_sheet(networks: Networks, photos: Photos, psnr_db: float, picture: Path) -> None:
    """Protect, crop, save as JPEG 80 and recover a few photographs, at the training size."""
    rng = np.random.default_rng(1)
    size = networks.protect.size
    rows = []
    for _ in range(4):
        native = photos.draw(rng, size)
        original = resize(native, size, size).clamp(0, 1)
        residual = networks.protect.shape(networks.protect.payload(original), original, psnr_db)
        protected = merge_residual(native, residual)
        row = [
            ("original", _pixels(native)),
            ("protected", _pixels(protected)),
            ("residual x10", magnified_residual(_pixels(native), _pixels(protected))),
        ]
        for name, after in (("png", ()), ("JPEG 80", (Step("jpeg", (80.0,)),))):
            views = attack_alike(protected, [Attack((), _CROP, after)], rng)
            aligned = networks.align(resize(views.received, size, size))
            recovered, _ = networks.recover(aligned, beside(aligned, views.crop_box))
            row.append((f"recovered from {name}", _pixels(recovered)))
        rows.append(row)
    Image.fromarray(contact_sheet(rows, tile_px=256)).save(picture)
