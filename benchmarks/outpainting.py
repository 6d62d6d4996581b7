"""What the same recover network guesses of pictures that were never protected.

    python benchmarks/outpainting.py --images photos/ --kodak kodak/ --run runs/outpainting \
        --minutes 30 -o benchmarks/results/outpainting_kodak.json

The network starts from the shipped weights and is trained on with the same photographs, crops,
post-processing and loss, but nothing is embedded: it learns to outpaint. It is then given the true
boxes of every crop of the main range in ``kodak.json.gz``; what protection is worth is the distance
between the two. Resumes in the folder of its run.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from clr_infer.attacks import real
from clr_infer.bench.facts import commit
from clr_infer.env import command_line
from clr_infer.evaluate.case import recover_with_true_box
from clr_infer.evaluate.metrics import psnr_outside
from clr_infer.evaluate.protocol import CONDITIONS, kept_range
from clr_infer.evaluate.report import read_result
from clr_infer.geometry import Box, box_to_pixels, crop_mask
from clr_infer.session import Session
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.train.data import Photos
from clr_infer.train.in_memory import TrainedNetworks
from clr_infer.train.loop import Plan, Trainer
from clr_infer.weights import Weights, default_folder

MEASURED = ("clean", "jpeg80", "jpeg60")
CPU = torch.device("cpu")


def train(args: argparse.Namespace) -> Trainer:
    """Train for the given time, or what is left of it."""
    facts = Weights().manifest
    plan = Plan(
        minutes=args.minutes,
        size=args.size,
        batch=4,
        width=facts["width"],
        align_width=facts["align_width"],
        alignment=0.0,
        seed=facts["seed"],
    ).fine_tuning()
    photos = Photos(args.images, CPU, side_min=args.size // 2)
    trainer = Trainer(plan, photos, args.run, CPU, default_folder())
    trainer.networks.protect.payload = lambda image: image
    # Eight bits hold nothing so weak.
    trainer.networks.protect.shape = lambda payload, image, db: torch.full_like(image, 1e-6)
    trainer.save_pictures = lambda: None  # they would show protected images
    trainer.run()
    return trainer


def score(session: Session, kodak: Path, cases: list[dict]) -> list[dict]:
    """Cropped-out PSNR of each case, the fragment unprotected and its box given."""
    rows, pixels = [], {}
    for case in tqdm(cases, unit="case"):
        if case["image"] not in pixels:
            pixels = {case["image"]: np.asarray(Image.open(kodak / case["image"]).convert("RGB"))}
        image, box = pixels[case["image"]], Box(*case["box"])
        size = image.shape[1], image.shape[0]
        chain = CONDITIONS[case["condition"]].chain(box)
        received = real.apply(image, chain, np.random.default_rng(case["index"]))
        guess = recover_with_true_box(session, received, box, size)
        seen = crop_mask(box_to_pixels(box, *size), *size) > 0
        kept = {key: case[key] for key in ("image", "condition", "kept", "box")}
        rows.append(kept | {"psnr_out": round(psnr_outside(image, guess, seen), 4)})
    return rows


def main() -> None:
    """Read the options, train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="to train on")
    parser.add_argument("--kodak", type=Path, required=True, metavar="DIR", help="to score on")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/kodak.json.gz"))
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="its checkpoint")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training (default: 30)")
    parser.add_argument("--size", type=int, default=192, help="frame in training (default: 192)")
    parser.add_argument("--limit", type=int, help="cases a condition")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    trainer, weights = train(args), Weights()
    runtime = TrainedNetworks(trainer, weights.size)
    session = Session(runtime, weights, DEFAULT_SETTINGS)
    report = read_result(args.report)
    main_range = [row for row in report["cases"] if kept_range(row["kept"]) == "main"]
    cases = []
    for name in MEASURED:
        cases += [row for row in main_range if row["condition"] == name][: args.limit]
    rows = score(session, args.kodak, sorted(cases, key=lambda row: row["image"]))
    means = {
        name: round(float(np.mean([r["psnr_out"] for r in rows if r["condition"] == name])), 4)
        for name in MEASURED
    }
    result = {
        "kind": "outpainting",
        "commit": commit(),
        "command": command_line(),
        "weights": weights.manifest["files"],
        "training": trainer.account(),
        "images": sorted({row["image"] for row in rows}),
        "cropped_out_psnr_db": means,
        "cases": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(means)


if __name__ == "__main__":
    main()
