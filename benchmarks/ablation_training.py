"""Ablations that need training: small sets of networks, side by side for the same time.

    python benchmarks/ablation_training.py --images photos/ --val held_out/ \
        --runs runs/ablation -o benchmarks/results/ablation_alignment.json

The arms differ in one thing each: the feature-alignment loss; what stands in for JPEG (the exact
core, or FG-JPEG; the gradient goes straight through in both); a payload at all, without which the
recover network learns to outpaint. They take turns in
short slices, so that what else the machine does falls on all of them; each gets the same time, not
the same number of steps, as a better training would. Scored with true boxes (the localizer is not
trained) and the real codec on photographs that nobody trained on. Kodak has no place here.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from clr_infer import pipeline
from clr_infer.attacks import real
from clr_infer.attacks.curriculum import draw_crop
from clr_infer.attacks.simulate import JpegModel
from clr_infer.attacks.steps import parse_chain
from clr_infer.bench.facts import commit
from clr_infer.evaluate.case import recover_with_true_box
from clr_infer.evaluate.metrics import psnr_outside
from clr_infer.geometry import Box, box_to_pixels, crop_mask
from clr_infer.networks.served import load_served
from clr_infer.session import Session
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.train.data import Photos
from clr_infer.train.in_memory import TrainedNetworks
from clr_infer.train.loop import Plan, Trainer
from clr_infer.weights import Weights

CONDITIONS = {"clean": "", "jpeg80": "jpeg=80", "jpeg60": "jpeg=60"}
KEPT = (0.6, 0.95)
CPU = torch.device("cpu")


class FgJpeg(JpegModel):
    """The shipped FG-JPEG in place of the plain core."""

    def __init__(self) -> None:
        self._network = load_served(Weights())["fg_jpeg"]

    def __call__(self, images: torch.Tensor, qf: Sequence[float], subsampling: str) -> torch.Tensor:
        """Simulate JPEG on Bx3xHxW in [0, 1]."""
        return self._network(images, torch.tensor(qf, dtype=torch.float32), subsampling)


@dataclass(frozen=True)
class Arm:
    """What an arm has: the weight of the alignment loss, FG-JPEG or the plain core, a payload."""

    name: str
    alignment: float
    fg_jpeg: bool = False
    payload: bool = True


ARMS = (
    Arm("without alignment loss", 0.0),
    Arm("with alignment loss", Plan.alignment),
    Arm("without, FG-JPEG in the codec's place", 0.0, fg_jpeg=True),
    Arm("outpainting, no protection", 0.0, payload=False),
)
_NO_PAYLOAD_DB = 100.0
"""Eight bits hold nothing so weak."""


@dataclass(frozen=True)
class Setting:
    """What all arms share, see :class:`clr_infer.train.loop.Plan`; ``frame`` is that of scoring."""

    minutes: float = 16.0
    slice_minutes: float = 1.0
    seeds: int = 2
    size: int = 96
    batch: int = 8
    width: int = 32
    align_width: int = 16
    psnr_db: float = 38.5
    frame: int = 256

    def plan(self, arm: Arm, seed: int) -> Plan:
        """The plan of one run."""
        start_db = Plan.psnr_start_db if arm.payload else _NO_PAYLOAD_DB
        return Plan(
            psnr_start_db=start_db,
            minutes=self.minutes,
            size=self.size,
            batch=self.batch,
            width=self.width,
            align_width=self.align_width,
            psnr_db=self.psnr_db if arm.payload else _NO_PAYLOAD_DB,
            alignment=arm.alignment,
            seed=seed,
        )


def score(
    arm: Arm, trainer: Trainer, setting: Setting, images: list[np.ndarray]
) -> dict[str, float]:
    """Mean PSNR of the cropped-out area by condition, the same crops for every arm."""
    session = Session(TrainedNetworks(trainer, setting.frame), Weights(), DEFAULT_SETTINGS)
    found: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for index, image in enumerate(images):
        size = image.shape[1], image.shape[0]
        protected = image
        if arm.payload:
            strength = setting.psnr_db, session.settings
            protected = pipeline.protect(session.runtime, [image], *strength)[0].image
        rng = np.random.default_rng([11, index])
        crop = draw_crop(rng, *KEPT)
        x0, y0, x1, y1 = box_px = box_to_pixels(Box(*crop.values), *size)
        box = Box(x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1])
        seen = crop_mask(box_px, *size) > 0
        for name, words in CONDITIONS.items():
            received = real.apply(protected, (crop, *parse_chain(words)), rng)
            recovered = recover_with_true_box(session, received, box, size)
            found[name].append(psnr_outside(image, recovered, seen))
    return {name: float(np.mean(values)) for name, values in found.items()}


def train_side_by_side(
    setting: Setting, photos: Photos, folder: Path, arms: Sequence[Arm] = ARMS
) -> list[tuple[Arm, Trainer]]:
    """Train every arm with every seed, in turns, to the end of the schedule."""
    jpeg = FgJpeg()
    runs = []
    for seed in range(setting.seeds):
        for arm in arms:
            number = ARMS.index(arm)
            plan = setting.plan(arm, seed)
            trainer = Trainer(plan, photos, folder / f"arm{number}-seed{seed}", CPU)
            if arm.fg_jpeg:
                trainer.jpeg = jpeg
            runs.append((arm, trainer))
    budget_s = setting.minutes * 60.0
    while any(trainer.seconds < budget_s for _, trainer in runs):
        for _, trainer in runs:
            if trainer.seconds < budget_s:
                trainer.run(setting.slice_minutes)
    return runs


def measure(
    setting: Setting, photos: Photos, val: Photos, folder: Path, chosen: Sequence[Arm] = ARMS
) -> dict:
    """Train and score; returns the content of the result file."""
    images = [np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in val.images]
    runs = train_side_by_side(setting, photos, folder, chosen)
    arms = []
    for arm in chosen:
        own = []
        for trainer in (trainer for one, trainer in runs if one == arm):
            scores = score(arm, trainer, setting, images)
            rounded = {name: round(value, 3) for name, value in scores.items()}
            own.append(
                {"seed": trainer.plan.seed, "steps": trainer.step, "cropped_out_psnr_db": rounded}
            )
        by_name = {name: [one["cropped_out_psnr_db"][name] for one in own] for name in CONDITIONS}
        arms.append(
            asdict(arm)
            | {
                "steps": round(float(np.mean([one["steps"] for one in own]))),
                "cropped_out_psnr_db": {n: round(float(np.mean(v)), 3) for n, v in by_name.items()},
                "spread_db": {n: round(max(v) - min(v), 3) for n, v in by_name.items()},
                "runs": own,
            }
        )
    facts = {
        "images": f"{len(images)} held-out photographs, short side 512 pixels at most",
        "photographs": len(photos),
        "kept": f"{KEPT[0]:g} to {KEPT[1]:g}",
        "box": "true",
        "threads": torch.get_num_threads(),
    }
    return {
        "kind": "ablation_alignment",
        "commit": commit(),
        "setting": asdict(setting) | facts,
        "arms": arms,
    }


def main() -> None:
    """Read the options, train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="to train on")
    parser.add_argument("--val", type=Path, required=True, metavar="DIR", help="to score on")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--runs", type=Path, required=True, metavar="DIR", help="checkpoints; resumed if there"
    )
    parser.add_argument("--minutes", type=float, default=Setting.minutes, help="of each run")
    parser.add_argument("--seeds", type=int, default=Setting.seeds)
    parser.add_argument("--size", type=int, default=Setting.size, help="frame in training")
    numbers = range(1, len(ARMS) + 1)
    text = ", ".join(f"{number} {arm.name}" for number, arm in zip(numbers, ARMS, strict=True))
    parser.add_argument("--arms", type=int, nargs="+", choices=numbers, default=numbers, help=text)
    parser.add_argument("--limit", type=int, default=33, help="images to score on (default: 33)")
    args = parser.parse_args()
    setting = Setting(minutes=args.minutes, seeds=args.seeds, size=args.size)
    photos = Photos(args.images, CPU, side_min=args.size // 2)
    val = Photos(args.val, CPU, limit=args.limit)
    chosen = [ARMS[number - 1] for number in args.arms]
    result = measure(setting, photos, val, args.runs, chosen)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
