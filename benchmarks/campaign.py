"""The quality campaign: measure everything that docs/quality.md is drawn from.

    python benchmarks/campaign.py --kodak kodak/ --val held_out/ --workers 2
    python benchmarks/report.py --pictures

Runs ``clr-infer evaluate`` for each part and puts its result into ``benchmarks/results``, then lays
out the galleries: failures, fragments that were set upright, copies, and the README's first screen.
Kodak is for reporting: nothing may be chosen on it. The threshold of detection is fixed on the
other folder, photographs that nobody trained on.
"""

import argparse
import gzip
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.cli import main as clr_infer
from clr_infer.cli.inputs import expand_inputs, load_input
from clr_infer.demo import run_demo, sheet
from clr_infer.evaluate.gallery import draw_gallery
from clr_infer.evaluate.report import REPORT_JSON, read_result
from clr_infer.samples import SAMPLE
from clr_infer.session import load
from clr_infer.settings import Settings
from clr_infer.sheet import contact_sheet

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PARTS = {
    "full": "kodak.json.gz",
    "refined": "kodak_refined.json.gz",
    "limits": "kodak_limits.json.gz",
    "copies": "kodak_copies.json.gz",
    "strength": "kodak_strength.json.gz",
    "refining": "kodak_refining.json.gz",
    "ablations": "kodak_ablations.json.gz",
    "detection": "val_detection.json.gz",
    "fg-jpeg": "fg_jpeg_kodak.json",
}
"""Sets of ``clr-infer evaluate`` and their results; the large ones are packed."""
_REFINED = ["--set", "targets", "--refine", "320"]
"""What the part ``refined`` measures."""
FAILURES, TURNED, COPIED, SHEET = GALLERIES = ("failures", "turned", "copied", "sheet")
_COFFEE = ROOT / "tests" / "images" / "coffee.jpg"
_SET_UPRIGHT = (
    (_COFFEE, "crop=0.1,0.12,0.86,0.9 rotate=1.5 jpeg=80", False),
    (SAMPLE, "crop=0.1,0.15,0.85,0.9 mirror rotate=3 jpeg=80", True),
)
"""Photographs that are not from Kodak, what was done to them, and whether they are looked for."""
_CROPPED = "crop=0.3,0.25,0.9,0.9"


def evaluate(part: str, photos: Path, options: list[str], output: Path) -> None:
    """Measure one part and keep its ``report.json``."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = _REFINED if part == "refined" else ["--set", part]
        words = ["evaluate", str(photos), "-o", f"{folder}/report", *chosen, *options]
        if clr_infer(words):
            raise SystemExit(f"{part} could not be measured")
        output.parent.mkdir(parents=True, exist_ok=True)
        found = Path(folder, "report", REPORT_JSON).read_bytes()
        output.write_bytes(gzip.compress(found, mtime=0) if output.suffix == ".gz" else found)


def draw_failures(
    kodak: Path, report: Path, weights: Path | None, limit: int | None, file: Path
) -> None:
    """Lay out the worst cases of a report."""
    words = expand_inputs([str(kodak)], recursive=False)[:limit]
    images = [(Path(word).name, load_input(word, Settings(), None).pixels) for word in words]
    _save(draw_gallery(load("onnxruntime", weights=weights), images, read_result(report)), file)


def draw_turned(weights: Path | None, file: Path) -> None:
    """Lay out fragments that did not lie upright."""
    session, rows = load("onnxruntime", weights=weights), []
    for photo, steps, turned in _SET_UPRIGHT:
        demo = run_demo(session, load_input(str(photo), Settings(), None).pixels, steps, turned)
        captions = {
            "received": f"received: {steps}",
            "located": "set upright and located (red), truth (green)",
            "recovered": "recovered from the fragment alone",
            "original": "original",
        }
        rows.append([(caption, demo.images[name]) for name, caption in captions.items()])
    _save(contact_sheet(rows), file)


def draw_copied(weights: Path | None, file: Path) -> None:
    """Lay out lossless fragments: what the networks show, and what a copy does."""
    session, rows = load("onnxruntime", weights=weights), []
    for photo in (_COFFEE, SAMPLE):
        original = load_input(str(photo), Settings(), None).pixels
        chain, rng = parse_chain(_CROPPED), np.random.default_rng(0)
        cut = [
            apply(session.protect(original, copy=copy).image, chain, rng) for copy in (False, True)
        ]
        without, copied = (session.recover(one).image for one in cut)
        tiles = {
            f"received, lossless: {_CROPPED}": cut[1],
            "recovered by the networks": without,
            "recovered from the copy in it": copied,
            "original": original,
        }
        rows.append(list(tiles.items()))
    _save(contact_sheet(rows, tile_px=340), file)


def draw_sheet(weights: Path | None, file: Path) -> None:
    """Lay out the whole job on two photographs."""
    session = load("onnxruntime", weights=weights)
    jobs = [
        run_demo(session, load_input(str(p), Settings(), None).pixels) for p in (_COFFEE, SAMPLE)
    ]
    _save(np.concatenate([sheet(job) for job in jobs]), file)


def _save(picture: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file, quality=85)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kodak", type=Path, required=True, metavar="DIR")
    parser.add_argument("--val", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=(*PARTS, *GALLERIES), help="default: all")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each worker")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights other than our own")
    parser.add_argument("--limit", type=int, metavar="N", help="rehearse on the first N images")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="for the galleries")
    args = parser.parse_args(words)
    parts = args.only or [*PARTS, *GALLERIES]
    written = {args.docs if part in GALLERIES else args.results for part in parts}
    if args.limit is not None and {folder.resolve() for folder in written} & {RESULTS, DOCS}:
        parser.error("--limit rehearses: give other --results and --docs than what is published")
    shared = ["--threads", str(args.threads)]
    for name in ("weights", "limit"):
        if getattr(args, name) is not None:
            shared += [f"--{name}", str(getattr(args, name))]
    for part in parts:
        began = time.monotonic()
        if part == TURNED:
            draw_turned(args.weights, args.docs / f"{TURNED}.jpg")
        elif part == COPIED:
            draw_copied(args.weights, args.docs / f"{COPIED}.jpg")
        elif part == SHEET:
            draw_sheet(args.weights, args.docs / f"{SHEET}.jpg")
        elif part == FAILURES:
            report = args.results / PARTS["full"]
            if not report.exists():
                raise SystemExit(f"there is no {report}: measure the part full first")
            file = args.docs / f"{FAILURES}.jpg"
            draw_failures(args.kodak, report, args.weights, args.limit, file)
        else:
            # The runtime is what the default install has.
            several = ["--workers", str(args.workers), "--runtime", "onnxruntime"]
            options = shared + ([] if part == "fg-jpeg" else several)
            photos = args.val if part == "detection" else args.kodak
            evaluate(part, photos, options, args.results / PARTS[part])
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
