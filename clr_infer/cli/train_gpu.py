"""``train-gpu``."""

import argparse
import json
import math
import sys
import time
from pathlib import Path

from ..errors import InputError, OutputError, RuntimeUnavailable, UsageError
from ..samples import SAMPLE
from ..staging import refuse_unwritable
from ..train.extras import PIECE, require_extras
from ..weights import default_folder
from .work import check_above_zero

__all__ = ["add_command"]

_TEXT = """\
Train for some minutes on a GPU: from the newest of the checkpoints given, or from the weights in
the package. Leaves checkpoint.pt, fg_jpeg.pt, log, pictures, train.json and weights/, each small
enough to be carried; clr-infer export weights makes them whole."""

_RESULT = "train.json"
_GOAL_IMAGES_PER_S = 1000.0
_TOY = {"minutes": 0.0, "least_s": 3.0, "size": 64, "batch": 4, "group": 2}


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``train-gpu``."""
    text = "train for some minutes on a GPU, going on from a checkpoint or the package's weights"
    train = commands.add_parser("train-gpu", help=text, description=_TEXT)
    train.set_defaults(run=_train)
    train.add_argument("--images", type=Path, metavar="DIR", help="photographs to train on")
    train.add_argument("--val", type=Path, metavar="DIR", help="photographs to measure on")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    text = "checkpoints, of which the newest counts; that in the output folder is one of them"
    train.add_argument("--from", type=Path, nargs="+", default=(), dest="checkpoints", help=text)
    train.add_argument("--minutes", type=float, default=9.0, help="of the command (default: 9)")
    text = "minutes of a new schedule, over several commands (default: it ends with this one)"
    train.add_argument("--schedule", type=float, help=text)
    train.add_argument("--size", type=int, help="frame (default: 320)")
    train.add_argument("--batch", type=int, help="images a step (default: 64)")
    train.add_argument("--group", type=int, help="images attacked at once (default: 16)")
    train.add_argument("--learning-rate", type=float, help="its peak (default: 1e-3)")
    train.add_argument("--alignment", type=float, help="weight of its loss (default: 0)")
    text = "seconds at toy size on the CPU; the weights are worth nothing"
    train.add_argument("--rehearse", action="store_true", help=text)


def _check(args: argparse.Namespace) -> None:
    if args.rehearse:
        args.images = args.images or SAMPLE.parent
        args.val = args.val or SAMPLE.parent
    if args.output.resolve() == default_folder().resolve():
        raise UsageError("-o is the folder of the weights in the package: give another")
    if args.images is None:
        raise UsageError("--images is missing (make: IMAGES=photos/): a folder of photographs")
    for folder in (args.images, args.val):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder} is no folder of photographs")
    for checkpoint in args.checkpoints:
        if not checkpoint.is_file():
            raise InputError(f"--from {checkpoint}: there is no such file")
    check_above_zero(args, "minutes", "schedule", "size", "batch", "group", "learning_rate")
    if args.alignment is not None and not 0 <= args.alignment < math.inf:
        raise UsageError(f"--alignment must be at least 0 and finite, not {args.alignment:g}")
    if args.size is not None and args.size % 32:
        raise UsageError(f"--size must be a multiple of 32, not {args.size}")
    refuse_unwritable(args.output / _RESULT)


def _train(args: argparse.Namespace) -> int:
    began = time.monotonic()
    _check(args)
    require_extras(PIECE)
    import torch

    from ..bench.facts import facts
    from ..bench.goals import Goal, goal_rows, goal_table
    from ..train.checkpoint import CHECKPOINT
    from ..train.data import Photos
    from ..train.piece import Piece, newest_checkpoint, train_piece

    if not args.rehearse and not torch.cuda.is_available():
        raise RuntimeUnavailable("PyTorch sees no GPU here; --rehearse runs the same on the CPU")
    device = torch.device("cpu" if args.rehearse else "cuda")
    options = ("schedule", "size", "batch", "group", "learning_rate", "alignment")
    given = {name: value for name in options if (value := getattr(args, name)) is not None}
    piece = Piece(**{"minutes": args.minutes, **(_TOY if args.rehearse else {}), **given})
    photos = Photos(args.images, device, side_min=piece.size // 2)
    held_out = Photos(args.val, device, side_min=piece.size // 2) if args.val else None
    checkpoint = newest_checkpoint([args.output / CHECKPOINT, *args.checkpoints])

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    data = f"{len(photos)} photographs of {args.images.name}"
    if args.rehearse:
        data = f"a rehearsal of seconds on {data}: these weights are worth nothing"
    found = train_piece(piece, photos, held_out, args.output, device, checkpoint, began, say, data)
    speed = found["images_per_s_median"]
    size = found["plan"]["size"]
    goals = [Goal(f"training at {size}x{size}", "images/s", least=_GOAL_IMAGES_PER_S, found=speed)]
    result = {
        **facts("train_gpu"),
        "rehearsal": args.rehearse,
        **found,
        "goals": goal_rows(goals, args.rehearse),
    }
    _write(args.output / _RESULT, json.dumps(result, indent=1) + "\n")
    for name, count in found["files"].items():
        print(f"{count / 2**20:8.2f} MiB  {name}")
    for when, measured in found["held_out"].items():
        if measured is not None:
            numbers = f"{measured['out_db']:.2f} dB, SSIM lost {measured['ssim_lost']:.4f}"
            print(f"held out {when}: {numbers}, log-odds {measured['log_odds']:.2f}")
    print(f"{found['plan']['steps']} steps of this schedule, {found['images']} images now")
    print(goal_table(goals, args.rehearse))
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"the result cannot be written to {path}: {error}") from error
