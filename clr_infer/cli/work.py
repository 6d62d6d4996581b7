"""``train``, ``demo`` and ``env``."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from ..errors import ClrError, InputError, RuntimeUnavailable, UsageError
from ..samples import SAMPLE
from ..settings import Settings
from ..specs import FRAME_PX
from ..weights import default_folder
from .images import add_networks, open_session
from .inputs import load_input

__all__ = ["add_commands", "package_run"]


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
    train = commands.add_parser("train", help=text, description=text)
    train.set_defaults(run=_train)
    train.add_argument("--images", type=Path, required=True, metavar="DIR", help="to train on")
    train.add_argument(
        "--val", type=Path, required=True, metavar="DIR", help="to calibrate and evaluate on"
    )
    train.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    train.add_argument(
        "--minutes", type=float, default=90.0, help="of the main networks (default: %(default)g)"
    )
    train.add_argument(
        "--fg-minutes", type=float, default=12.0, help="of FG-JPEG (default: %(default)g)"
    )
    train.add_argument("--size", type=int, default=128, help="frame in training (default: 128)")
    train.add_argument(
        "--frame", type=int, default=FRAME_PX, help=f"frame of the result (default: {FRAME_PX})"
    )
    train.add_argument("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    train.add_argument("--width", type=int, default=48, help="channels (default: 48)")
    train.add_argument(
        "--strength",
        type=float,
        default=38.0,
        metavar="DB",
        help="PSNR trained for (default: %(default)g)",
    )
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    text = "of the random stream and the codes; fine-tuning keeps that of what it starts from"
    train.add_argument("--seed", type=int, default=0, help=text)
    train.add_argument(
        "--start-from", type=Path, metavar="PATH",
        help="a checkpoint or a folder of weights to fine-tune; 'package': those in the package",
    )  # fmt: skip
    train.add_argument("--no-alignment", action="store_true", help="leave its loss out (ablation)")
    train.add_argument("--data-note", default="", help="what the photographs are, for the card")

    text = "show versions and hardware (for bug reports)"
    env = commands.add_parser("env", help=text, description=text)
    env.set_defaults(run=_env)
    env.add_argument("--json", action="store_true")


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


def _device(name: str):  # noqa: ANN202 - the type belongs to a lazy import
    try:
        import torch
    except ImportError as error:
        raise RuntimeUnavailable(
            'training needs PyTorch: pip install "clr_infer[train]"'
        ) from error
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeUnavailable("--device cuda: PyTorch sees no GPU here")
    return torch.device(name)


def _check_frame(side: int) -> None:
    if side < 64 or side % 32:
        raise UsageError(f"--frame must be a multiple of 32, at least 64, not {side}")


def _train(args: argparse.Namespace) -> int:
    device = _device(args.device)
    from ..train.checkpoint import load_start
    from ..train.data import Photos
    from ..train.fg_jpeg import FgJpegPlan, train_fg_jpeg
    from ..train.loop import Plan, Trainer

    if args.size < 32 or args.size % 32:
        raise UsageError(f"--size must be a multiple of 32, not {args.size}")
    _check_frame(args.frame)
    if args.batch < 1:
        raise UsageError(f"--batch must be at least 1, not {args.batch}")
    plan = Plan(
        minutes=args.minutes,
        size=args.size,
        batch=args.batch,
        width=args.width,
        psnr_db=args.strength,
        alignment=0.0 if args.no_alignment else Plan.alignment,
        seed=args.seed,
    )
    start = default_folder() if args.start_from == Path("package") else args.start_from
    if start is not None:  # with another seed the synchronisation codes would be others
        plan = replace(plan.fine_tuning(), seed=load_start(start).plan["seed"])
    photos = Photos(args.images, device, side_min=args.size // 2)
    Photos(args.val, _device("cpu"))  # what is needed in the end is asked for now
    Trainer(plan, photos, args.output, device, start).run()
    if not (args.output / "fg_jpeg.pt").exists():
        jpeg_plan = FgJpegPlan(minutes=args.fg_minutes, seed=args.seed)
        train_fg_jpeg(jpeg_plan, photos, args.output, device)
    package_run(args, args.output, args.output / "weights", args.strength)
    return 0


def package_run(args: argparse.Namespace, run: Path, folder: Path, strength: float | None) -> None:
    """Calibrate and export the checkpoints of a training folder, and describe the result.

    A folder of weights, which has no checkpoints, is calibrated anew and exported as it is.
    """
    _device("cpu")
    import torch

    from ..evaluate import evaluate, markdown, write_report
    from ..session import load
    from ..train.data import Photos
    from ..train.finish import package, recalibrate
    from ..train.model_card import write_model_card
    from ..weights import MANIFEST, Weights

    if args.frame is not None:
        _check_frame(args.frame)
    photos = Photos(args.val, torch.device("cpu"))
    if (run / MANIFEST).exists():
        recalibrate(Weights(run), photos, folder, args.frame)
    else:
        checkpoints = (run / "checkpoint.pt", run / "fg_jpeg.pt")
        package(*checkpoints, args.frame or FRAME_PX, photos, folder, args.data_note, strength)
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
