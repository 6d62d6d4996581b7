"""``train``, ``demo`` and ``env``."""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ClrError, InputError, RuntimeUnavailable, UsageError
from ..samples import SAMPLE
from ..settings import Settings
from ..specs import FRAME_PX
from ..staging import refuse_unwritable
from ..train.extras import WHOLE, require_extras
from ..weights import MANIFEST, Weights, default_folder
from .images import add_networks, check_numbers, open_session
from .inputs import load_input

if TYPE_CHECKING:
    import torch

    from ..train.data import Photos
    from ..train.plan import Plan

__all__ = ["add_commands", "check_above_zero", "package_run"]

_RESUMED = (
    "Called again for the same folder it goes on where it was, as it was told to at first but for "
    "what it is told anew."
)
_MINUTES, _FG_MINUTES = 90.0, 12.0
_WIDTH_MIN = 3
"""Of fewer channels the recover network makes none for its uncertainty."""

_SEED_MAX = 2**63 - 1
"""The largest that PyTorch takes."""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that are not about single images."""
    text = "protect, crop, save as JPEG, locate and recover one photograph; show the result"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.set_defaults(run=_demo)
    demo.add_argument("image", nargs="?", default=str(SAMPLE), help="default: a sample picture")
    demo.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo_out"),
        metavar="DIR",
        help="default: demo_out",
    )
    demo.add_argument(
        "--steps", help="what happens to it, as for attack, a crop first (default: crop, JPEG 80)"
    )
    demo.add_argument("--turned", action="store_true", help="look for it on its sides and crooked")
    demo.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_networks(demo)

    text = "train the networks on a folder of photographs, from scratch to exported weights"
    train = commands.add_parser("train", help=text, description=f"{text}. {_RESUMED}")
    train.set_defaults(run=_train)
    train.add_argument("--images", type=Path, required=True, metavar="DIR", help="to train on")
    train.add_argument(
        "--val", type=Path, required=True, metavar="DIR", help="to calibrate and evaluate on"
    )
    train.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    _add_schedule(train)
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    train.add_argument("--data-note", default="", help="what the photographs are, for the card")

    text = "show versions and hardware (for bug reports)"
    env = commands.add_parser("env", help=text, description=text)
    env.set_defaults(run=_env)
    env.add_argument("--json", action="store_true")


def _add_schedule(train: argparse.ArgumentParser) -> None:
    text = f"of the main networks (default: {_MINUTES:g})"
    train.add_argument("--minutes", type=float, help=text)
    text = f"of FG-JPEG (default: {_FG_MINUTES:g}, or none where --start-from brings one along)"
    train.add_argument("--fg-minutes", type=float, help=text)
    train.add_argument("--size", type=int, help="frame in training (default: 128)")
    train.add_argument(
        "--frame", type=int, default=FRAME_PX, help=f"frame of the result (default: {FRAME_PX})"
    )
    train.add_argument("--batch", type=int, help="images a step (default: 8)")
    text = "channels (default: 48; fine-tuning keeps those of what it starts from)"
    train.add_argument("--width", type=int, help=text)
    text = (
        "PSNR trained for, and default of the result (default: 38; fine-tuning keeps both of "
        "what it starts from)"
    )
    train.add_argument("--strength", type=float, metavar="DB", help=text)
    text = "of the random stream and the codes; fine-tuning keeps that of what it starts from"
    train.add_argument("--seed", type=int, help=f"{text} (default: 0)")
    text = "a checkpoint or a folder of weights to fine-tune; 'package': those in the package"
    train.add_argument("--start-from", type=Path, metavar="PATH", help=text)
    train.add_argument("--no-alignment", action="store_true", help="leave its loss out (ablation)")


def _demo(args: argparse.Namespace) -> int:
    from ..demo import DEMO_STEPS, describe, run_demo, write_demo

    original = load_input(args.image, Settings(), None).pixels
    with open_session(args, Settings()) as session:
        demo = run_demo(session, original, args.steps or DEMO_STEPS, args.turned)
    written = write_demo(demo, args.output)
    if args.json:
        print(json.dumps(demo.numbers))
    else:
        print(describe(demo))
        print(f"written to {args.output}: {', '.join(written)}")
    return 0


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeUnavailable("--device cuda: PyTorch sees no GPU here")
    return torch.device(name)


def _check_frame(side: int) -> None:
    if side < 64 or side % 32:
        raise UsageError(f"--frame must be a multiple of 32, at least 64, not {side}")


def check_above_zero(args: argparse.Namespace, *options: str) -> None:
    """Refuse options that were given and are not above zero, or not finite.

    Raises:
        UsageError: one is so.
    """
    for option in options:
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            name = option.replace("_", "-")
            raise UsageError(f"--{name} must be above 0 and finite, not {value:g}")


def _check_training(args: argparse.Namespace) -> None:
    """Say before hours of training what would stop it, or what comes of it, later."""
    check_numbers(args)
    check_above_zero(args, "minutes", "fg_minutes", "size", "batch")
    if args.size is not None and args.size % 32:
        raise UsageError(f"--size must be a multiple of 32, not {args.size}")
    _check_frame(args.frame)
    if args.width is not None and args.width < _WIDTH_MIN:
        raise UsageError(f"--width must be at least {_WIDTH_MIN}, not {args.width}")
    if args.seed is not None and args.seed > _SEED_MAX:
        raise UsageError(f"--seed must be at most {_SEED_MAX}, not {args.seed}")


def _plan(args: argparse.Namespace, start: Path | None) -> "Plan":
    """The plan that was begun in the output folder, else that of what it starts from, else a new.

    What was given as an option goes first, where it can be another.
    """
    from ..train.checkpoint import CHECKPOINT, load_start
    from ..train.plan import Plan, plan_of, refuse_other

    options = {"size": args.size, "batch": args.batch, "width": args.width}
    options |= {"minutes": args.minutes, "psnr_db": args.strength}
    if start is None:  # what is fine-tuned keeps its codes
        options["seed"] = args.seed
    given = {name: value for name, value in options.items() if value is not None}
    if args.no_alignment:
        given["alignment"] = 0.0
    begun = args.output / CHECKPOINT
    if begun.exists():
        known = load_start(begun).plan
        plan = replace(plan_of(known, begun), **given)
        refuse_other(plan, known, begun)
        return plan
    if start is None:
        return Plan(**{"minutes": _MINUTES} | given)
    facts = load_start(start).plan
    if args.width not in (None, facts["width"]):
        raise UsageError(f"--width {args.width}: {start} has networks of {facts['width']} channels")
    kept = {name: facts[name] for name in ("width", "align_width", "psnr_db", "seed")}
    return Plan(**{"minutes": _MINUTES} | kept | given).fine_tuning()


def _train(args: argparse.Namespace) -> int:
    _check_training(args)
    require_extras(WHOLE)
    device = _device(args.device)
    from ..train.checkpoint import CHECKPOINT
    from ..train.data import Photos
    from ..train.fg_jpeg import FG_JPEG, FgJpegPlan, bring_fg_jpeg, load_fg_jpeg, train_fg_jpeg
    from ..train.finish import warn_of_few
    from ..train.loop import Trainer

    for path in (CHECKPOINT, f"weights/{MANIFEST}"):
        refuse_unwritable(args.output / path)
    start = default_folder() if args.start_from == Path("package") else args.start_from
    plan = _plan(args, start)
    fg_jpeg = args.output / FG_JPEG
    if fg_jpeg.exists():  # what is needed in the end is asked for now
        load_fg_jpeg(fg_jpeg)
    photos = Photos(args.images, device, side_min=plan.size // 2)
    held_out = Photos(args.val, _device("cpu"))
    warn_of_few(len(held_out))
    trainer = Trainer(plan, photos, args.output, device, start, data=args.data_note)
    trainer.default_psnr_db = args.strength or trainer.default_psnr_db
    if start is not None and args.fg_minutes is None and not fg_jpeg.exists():
        bring_fg_jpeg(start, args.output)
    trainer.run()
    if not fg_jpeg.exists():
        minutes = args.fg_minutes or _FG_MINUTES
        train_fg_jpeg(FgJpegPlan(minutes=minutes, seed=plan.seed), photos, args.output, device)
    _package(args.output, args.output / "weights", held_out, args.frame)
    return 0


def package_run(args: argparse.Namespace, run: Path, folder: Path, strength: float | None) -> None:
    """Calibrate and export the checkpoints of a training folder, and describe the result.

    A folder of weights, which has no checkpoints, is calibrated anew and exported as it is.
    """
    check_numbers(args)
    if args.frame is not None:
        _check_frame(args.frame)
    require_extras(WHOLE)
    from ..train.data import Photos

    refuse_unwritable(folder / MANIFEST)
    photos = Photos(args.val, _device("cpu"))
    _package(run, folder, photos, args.frame, args.data_note, strength)


def _package(
    run: Path,
    folder: Path,
    photos: "Photos",
    frame: int | None,
    data: str = "",
    strength: float | None = None,
) -> None:
    from ..evaluate import evaluate, markdown, write_report
    from ..session import load
    from ..train.checkpoint import CHECKPOINT
    from ..train.fg_jpeg import FG_JPEG
    from ..train.finish import package, recalibrate
    from ..train.model_card import write_model_card

    if (run / MANIFEST).exists():
        recalibrate(Weights(run), photos, folder, frame)
    else:
        checkpoints = (run / CHECKPOINT, run / FG_JPEG)
        package(*checkpoints, frame or FRAME_PX, photos, folder, data, strength)
    images = [
        (name, image.permute(1, 2, 0).numpy().copy())
        for name, image in zip(photos.names[:12], photos.images[:12], strict=True)
    ]
    report = evaluate(load(weights=folder), images, "quick")
    write_report(report, folder / "evaluation", force=True)
    write_model_card(folder, markdown(report.as_dict()))
    print(f"weights, model card and evaluation are in {folder}", file=sys.stderr)


def _env(args: argparse.Namespace) -> int:
    from ..env import describe_environment

    try:
        facts = describe_environment()
    except ClrError as error:
        raise InputError(f"cannot read the weights of this installation: {error}") from error
    if args.json:
        print(json.dumps(facts))
        return 0
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, inner in value.items():
                print(f"  {key}: {inner if inner is not None else 'not installed'}")
        else:
            print(f"{name}: {', '.join(value) or 'none' if isinstance(value, list) else value}")
    return 0
